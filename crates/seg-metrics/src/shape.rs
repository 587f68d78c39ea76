//! The metrics of shape of a prepared pair: masks are made by the protocol, then measured.

use crate::bits::BitMask;
use crate::boundary::{boundary_iou, gray_boundary_curve, mean_boundary_accuracy};
use crate::evaluate::{Counts, Scores};
use crate::hce::hce;
use crate::msiou::{EdgePyramid, msiou, msiou_curve};
use crate::overlap::Overlap;
use crate::pixel::fmeasure::adaptive_threshold;
use crate::prepare::Prepared;
use crate::protocol::{Metric, Protocol};

/// The level above which the 8-bit prediction is foreground in the metrics of masks.
const HALF: u8 = 128;
/// Share of the diagonal that is boundary, as in the paper on boundary IoU.
const BOUNDARY: f64 = 0.02;

/// Adds the results of one metric; nothing where the prediction is not of 8 bits.
pub(crate) fn add(metric: Metric, pair: &Prepared<'_>, counts: &Counts, protocol: &Protocol, scores: &mut Scores) {
    let Some(pred) = pair.bytes() else { return };
    let (gt, values) = (pair.foreground(), pair.values());
    let truth = || BitMask::from_fn(gt.plane(), |t| gt.holds(t));
    let raw = || BitMask::above(pred, HALF);
    let halved = || BitMask::from_fn(pred, |p| values[usize::from(p)] > 0.5);
    let levels = || -> [u8; 256] {
        let quantised = pair.quantised();
        std::array::from_fn(|level| quantised[level])
    };
    match metric {
        Metric::Hce if protocol.hce.stretched => {
            scores.push("hce", hce(&halved(), &truth(), &protocol.hce.rule).total() as f64);
        }
        Metric::Hce => {
            let gt = BitMask::above(gt.plane(), HALF);
            scores.push("hce", hce(&raw(), &gt, &protocol.hce.rule).total() as f64);
        }
        Metric::BoundaryIou => scores.push("boundary_iou", boundary_iou(&raw(), &truth(), BOUNDARY).iou()),
        Metric::MaskIou => {
            let overlap = Overlap::new(&raw(), &truth());
            scores.push("mask_iou", overlap.iou());
            scores.overlap = Some(overlap);
        }
        Metric::Biou => {
            let curve = gray_boundary_curve(pred, &levels(), &truth());
            scores.push_curve("biou.curve", "biou.mean", "biou.max", curve);
        }
        Metric::Mba => {
            let gt = BitMask::above(gt.plane(), HALF);
            scores.push("mba", mean_boundary_accuracy(&raw(), &gt));
        }
        Metric::Msiou => {
            let gt = EdgePyramid::new(&truth());
            let threshold = adaptive_threshold(&counts.tallies.whole, values);
            let adaptive = BitMask::from_fn(pred, |p| values[usize::from(p)] >= threshold);
            scores.push("msiou.adaptive", msiou(&adaptive, &gt, protocol.msiou));
            scores.push("msiou.binary", msiou(&halved(), &gt, protocol.msiou));
            let curve = msiou_curve(pred, &levels(), &gt, protocol.msiou);
            scores.push_curve("msiou.dynamic", "msiou.dynamic_mean", "msiou.dynamic_max", curve);
        }
        _ => {}
    }
}
