//! Human correction effort (Qin et al., "Highly Accurate Dichotomous Image Segmentation", ECCV 2022): roughly, the clicks
//! that it takes to put a mask right.

use serde::{Deserialize, Serialize};

use crate::bits::BitMask;
use crate::borders::{Regions, follow};
use crate::polyline::{ChordDistance, Scratch, simplified_len};
use crate::thin::thin;

/// What the implementations of HCE disagree about, and its two parameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HceRule {
    /// Faults that this many steps of the 3x3 cross take away are forgiven; the paper's gamma.
    pub relax: usize,
    /// Tolerance, in pixels, when borders are simplified.
    pub epsilon: f64,
    /// How the simplification measures.
    pub distance: ChordDistance,
    /// Whether a fault that covers the whole image counts as one region. The original code misses it.
    pub full_is_region: bool,
}

impl Default for HceRule {
    /// As PySODMetrics.
    fn default() -> Self {
        Self { relax: 5, epsilon: 2.0, distance: ChordDistance::Line, full_is_region: true }
    }
}

impl HceRule {
    /// As the original code of IS-Net, and BiRefNet.
    pub fn dis() -> Self {
        Self { full_is_region: false, ..Self::default() }
    }
}

/// The parts of the human correction effort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hce {
    /// Vertices to set along false positives that touch right regions.
    pub fp_points: u64,
    /// False positive regions that stand alone: a click each.
    pub fp_independent: u64,
    /// Vertices to set along false negatives that touch right background.
    pub fn_points: u64,
    /// False negative regions that stand alone.
    pub fn_independent: u64,
}

impl Hce {
    /// The effort itself.
    pub fn total(&self) -> u64 {
        self.fp_points + self.fp_independent + self.fn_points + self.fn_independent
    }
}

/// The effort of correcting `pred` to `gt`.
///
/// # Panics
/// When the masks differ in size.
pub fn hce(pred: &BitMask, gt: &BitMask, rule: &HceRule) -> Hce {
    let ((right, fp, missed), skeleton) = rayon::join(
        || {
            let (right, fp, missed) = (pred.and(gt), pred.and_not(gt), gt.and_not(pred));
            let mut core = pred.or(gt);
            for _ in 0..rule.relax {
                core = core.erode_cross();
            }
            let fp = relaxed(&fp, &core, &gt.not(), rule.relax);
            let missed = relaxed(&missed, &core, &pred.not(), rule.relax);
            (right, fp, missed)
        },
        || thin(gt),
    );
    // thin structures are never forgiven
    let missed = missed.or(&skeleton.and_not(&right));
    let ((fp_points, fp_independent), (fn_points, fn_independent)) = rayon::join(
        || effort(&fp, &right.or(&missed), rule),
        || effort(&missed, &right.or(&fp).or(&missed).not(), rule),
    );
    Hce { fp_points, fp_independent, fn_points, fn_independent }
}

/// The part of `fault` that erosion leaves, grown back inside `allowed`.
fn relaxed(fault: &BitMask, core: &BitMask, allowed: &BitMask, steps: usize) -> BitMask {
    let mut grown = fault.and(core);
    for _ in 0..steps {
        grown = grown.dilate_cross_within(allowed);
    }
    grown.and(fault)
}

/// Vertices along the borders of `fault` where it touches `other`, and regions that do not touch it.
fn effort(fault: &BitMask, other: &BitMask, rule: &HceRule) -> (u64, u64) {
    if fault.is_full() {
        return (0, u64::from(rule.full_is_region));
    }
    let regions = Regions::new(fault);
    // border pixels that have not been used yet: a pixel belongs to the first border that comes by
    let mut free = other.dilate_cross();
    let touched = regions.touched_by(&free);
    let (mut chains, mut points) = (Chains::default(), 0);
    for &border in regions.borders().iter().filter(|b| touched[b.region]) {
        chains.clear();
        follow(fault, border, |x, y| {
            if free.get(x as isize, y as isize) {
                free.clear(x, y);
                chains.push((x as i32, y as i32));
            } else {
                chains.end();
            }
        });
        points += chains.vertices(rule);
    }
    let independent = touched.iter().filter(|&&t| !t).count();
    (points, independent as u64)
}

/// The open polylines of one border.
#[derive(Default)]
struct Chains {
    points: Vec<(i32, i32)>,
    /// Where chains end.
    ends: Vec<usize>,
    joined: Vec<(i32, i32)>,
    scratch: Scratch,
}

impl Chains {
    fn clear(&mut self) {
        self.points.clear();
        self.ends.clear();
    }

    fn push(&mut self, point: (i32, i32)) {
        self.points.push(point);
    }

    /// Ends the chain that is being built, if there is one.
    fn end(&mut self) {
        if self.ends.last().copied().unwrap_or(0) < self.points.len() {
            self.ends.push(self.points.len());
        }
    }

    /// Vertices of all chains when they are simplified.
    fn vertices(&mut self, rule: &HceRule) -> u64 {
        self.end();
        let Self { points, ends, joined, scratch } = self;
        let mut count = |chain: &[(i32, i32)]| simplified_len(chain, rule.epsilon, rule.distance, scratch) as u64;
        let mut chains: &[usize] = ends;
        let mut start = 0;
        let mut total = 0;
        if ends.len() > 1 {
            let (first, last_start) = (ends[0], ends[ends.len() - 2]);
            let ((x0, y0), (x1, y1)) = (points[0], points[points.len() - 1]);
            if (x0 - x1).abs().max((y0 - y1).abs()) == 1 {
                // the first chain is appended backwards, as in the reference: the line jumps to its far end
                joined.clear();
                joined.extend_from_slice(&points[last_start..]);
                joined.extend(points[..first].iter().rev());
                total += count(joined);
                chains = &ends[1..ends.len() - 1];
                start = first;
            }
        }
        for &end in chains {
            total += count(&points[start..end]);
            start = end;
        }
        total
    }
}
