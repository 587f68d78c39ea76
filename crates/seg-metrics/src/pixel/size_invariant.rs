//! Metrics in which a small object counts as much as a large one: Li et al., "Size-invariance Matters", ICML 2024.

use crate::pixel::confusion::{Confusion, Ratio};
use crate::pixel::fmeasure::{above, adaptive_threshold, at_least, dynamic};
use crate::prepare::{Level, Prepared, with_pixels};
use crate::protocol::Covered;
use crate::regions::regions4;
use crate::tally::{Tally, count_box};

/// Regions of fewer pixels are no targets, unless all are smaller.
const LEAST_AREA: u64 = 50;

/// The results of one pair.
#[derive(Clone, Debug)]
pub(crate) struct SizeInvariant {
    /// Targets in the ground truth.
    pub(crate) components: usize,
    /// Mean absolute error, each target's rectangle and the rest weighted by the paper's rule. NaN where there is no rest and
    /// the protocol says so.
    pub(crate) mae: f64,
    /// Counts of each target at 256 thresholds, at its adaptive threshold, above a half. A pair without targets has one
    /// entry for the whole image.
    pub(crate) targets: Vec<Target>,
}

#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) dynamic: Vec<Confusion>,
    pub(crate) adaptive: Confusion,
    pub(crate) binary: Confusion,
}

impl SizeInvariant {
    /// Means over the targets at the adaptive threshold, above a half, and of the mean and the maximum of each target's
    /// curve.
    pub(crate) fn means(&self, ratio: Ratio) -> [f64; 4] {
        let n = self.targets.len() as f64;
        let mean = |f: &dyn Fn(&Target) -> f64| self.targets.iter().map(f).sum::<f64>() / n;
        let curve = |t: &Target| t.dynamic.iter().map(|c| ratio.of(c)).collect::<Vec<_>>();
        [
            mean(&|t| ratio.of(&t.adaptive)),
            mean(&|t| ratio.of(&t.binary)),
            mean(&|t| curve(t).iter().sum::<f64>() / 256.),
            mean(&|t| curve(t).into_iter().fold(f64::NEG_INFINITY, f64::max)),
        ]
    }
}

/// Measures one pair.
pub(crate) fn size_invariant(pair: &Prepared<'_>, whole: &Tally, covered: Covered) -> SizeInvariant {
    let boxes = targets(pair);
    // outside a target's rectangle everything is 0, which needs not be a level of the image
    let values: Vec<f64> = std::iter::once(0.).chain(pair.values.iter().copied()).collect();
    let quantised: Vec<u8> = values.iter().map(|&v| (v * 255.) as u8).collect();
    let measure = |tally: Tally| Target {
        dynamic: dynamic(&tally, &quantised),
        adaptive: at_least(&tally, &values, adaptive_threshold(&tally, &values)),
        binary: above(&tally, &values, 0.5),
    };
    let padded = |tally: &Tally| Tally {
        fg: std::iter::once(0).chain(tally.fg.iter().copied()).collect(),
        bg: std::iter::once(whole.pixels() - tally.pixels()).chain(tally.bg.iter().copied()).collect(),
    };
    if boxes.is_empty() {
        let mae = crate::pixel::errors::mae(whole, &pair.values);
        return SizeInvariant { components: 0, mae, targets: vec![measure(padded(whole))] };
    }
    let tallies: Vec<Tally> = boxes.iter().map(|&at| count_box(pair, at)).collect();
    let mae = weighted_mae(pair, &boxes, &tallies, covered);
    SizeInvariant { components: boxes.len(), mae, targets: tallies.iter().map(|t| measure(padded(t))).collect() }
}

/// The rectangles of the targets.
fn targets(pair: &Prepared<'_>) -> Vec<[usize; 4]> {
    let regions = regions4(pair.gt);
    let largest = regions.iter().map(|r| r.area).max().unwrap_or(0);
    let least = LEAST_AREA.min(largest);
    regions.into_iter().filter(|r| r.area >= least).map(|r| r.bounds).collect()
}

fn weighted_mae(pair: &Prepared<'_>, boxes: &[[usize; 4]], tallies: &[Tally], covered: Covered) -> f64 {
    let (width, pixels) = (pair.width(), pair.width() * pair.height());
    let mut inside = vec![false; pixels];
    for &[x0, y0, x1, y1] in boxes {
        (y0..y1).for_each(|y| inside[y * width + x0..y * width + x1].fill(true));
    }
    let truth = pair.gt.plane().data();
    let (mut sum, mut outside) = (0., 0usize);
    with_pixels!(pair, levels => {
        for (i, level) in levels.iter().enumerate().filter(|(i, _)| !inside[*i]) {
            let t = f64::from(u8::from(pair.gt.holds(truth[i])));
            sum += (pair.values[level.index()] - t).abs();
            outside += 1;
        }
    });
    let ratio = outside as f64 / (pixels - outside) as f64;
    let factor = 1. / (boxes.len() as f64 + ratio);
    let rest = match (outside, covered) {
        (0, Covered::Zero) => 0.,
        (0, Covered::Undefined) => f64::NAN,
        _ => ratio * sum / outside as f64,
    };
    let each = tallies.iter().map(|t| crate::pixel::errors::mae(t, &pair.values)).sum::<f64>();
    (rest + each) * factor
}
