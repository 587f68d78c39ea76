//! The metrics of shape of a prepared pair: masks are made by the protocol, then measured.

use crate::bits::BitMask;
use crate::evaluate::Scores;
use crate::hce::hce;
use crate::prepare::Prepared;
use crate::protocol::{Metric, Protocol};

/// Adds the results of one metric; nothing where the prediction is not of 8 bits.
pub(crate) fn add(metric: Metric, pair: &Prepared<'_>, protocol: &Protocol, scores: &mut Scores) {
    let Some(pred) = pair.bytes() else { return };
    let gt = pair.foreground();
    let truth = || BitMask::from_fn(gt.plane(), |t| gt.holds(t));
    if metric == Metric::Hce {
        let values = pair.values();
        let effort = if protocol.hce.stretched {
            hce(&BitMask::from_fn(pred, |p| values[usize::from(p)] > 0.5), &truth(), &protocol.hce.rule)
        } else {
            hce(&BitMask::above(pred, 128), &BitMask::above(gt.plane(), 128), &protocol.hce.rule)
        };
        scores.push("hce", effort.total() as f64);
    }
}
