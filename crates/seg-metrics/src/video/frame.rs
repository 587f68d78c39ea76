//! One object in one frame.

use std::ops::Range;

use crate::Plane;
use crate::bits::{BitMask, shifted_down};
use crate::overlap::Overlap;

/// How far a boundary may be off, as a share of the image's diagonal.
pub const BOUNDARY_TOLERANCE: f64 = 0.008;

/// The frames between the first and the last.
pub(super) fn between_the_ends(frames: usize) -> Range<usize> {
    1..frames.saturating_sub(1).max(1)
}

/// The labels in an image, but 0, in ascending order.
pub(super) fn labels(plane: Plane<'_>) -> impl Iterator<Item = u8> {
    let mut seen = [false; 256];
    plane.data().iter().for_each(|&l| seen[usize::from(l)] = true);
    (1..=255).filter(move |&l: &u8| seen[usize::from(l)])
}

/// The pixels in which a mask differs from its right, lower or lower right neighbour. In the last row only the right
/// neighbour counts, in the last column only the lower one.
pub fn boundary_map(mask: &BitMask) -> BitMask {
    let (stride, last) = (mask.stride(), (mask.width() - 1) % 64);
    mask.map_rows(|_, here, below, out| {
        for i in 0..stride {
            // beyond the last column a pixel has itself as its right neighbour
            let beyond = |row: &[u64]| if i + 1 == stride { row[i] & 1 << last } else { 0 };
            let right = here[i] ^ (shifted_down(here, i) | beyond(here));
            out[i] = match below {
                None => right,
                Some(below) => {
                    let diagonal = here[i] ^ (shifted_down(below, i) | beyond(here));
                    right | diagonal | (here[i] ^ below[i])
                }
            };
        }
    })
}

/// The radius of the disc in which boundaries may be off: the tolerance times the diagonal, rounded up.
pub fn tolerance_radius(width: usize, height: usize) -> usize {
    (BOUNDARY_TOLERANCE * ((width * width + height * height) as f64).sqrt()).ceil() as usize
}

/// Half widths of the disc `dx^2 + dy^2 <= radius^2`.
fn disc(radius: usize) -> Vec<usize> {
    (0..=radius).map(|dy| (radius * radius - dy * dy).isqrt()).collect()
}

/// Region similarity: intersection over union, 1 where both masks are empty.
///
/// # Panics
/// When the masks differ in size.
pub fn region_j(pred: &BitMask, gt: &BitMask) -> f64 {
    Overlap::new(pred, gt).iou_or(1.)
}

/// Boundary accuracy (Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation",
/// CVPR 2016): the F of boundary pixels that have one of the other mask's near by.
///
/// # Panics
/// When the masks differ in size.
pub fn boundary_f(pred: &BitMask, gt: &BitMask) -> f64 {
    f_of(&ObjectMask::new(pred.clone()), &ObjectMask::new(gt.clone()))
}

/// A mask with its boundary and the neighbourhood of that, for use against several others.
pub struct ObjectMask {
    mask: BitMask,
    boundary: BitMask,
    near: BitMask,
    boundary_pixels: u64,
}

impl ObjectMask {
    /// Of a mask.
    pub fn new(mask: BitMask) -> Self {
        let boundary = boundary_map(&mask);
        let near = boundary.dilate_spans(&disc(tolerance_radius(mask.width(), mask.height())));
        let boundary_pixels = boundary.count();
        Self { mask, boundary, near, boundary_pixels }
    }

    /// J and F against the ground truth.
    ///
    /// # Panics
    /// When the masks differ in size.
    pub fn scores(&self, gt: &Self) -> (f64, f64) {
        (region_j(&self.mask, &gt.mask), f_of(self, gt))
    }
}

fn f_of(pred: &ObjectMask, gt: &ObjectMask) -> f64 {
    let (precision, recall) = match (pred.boundary_pixels, gt.boundary_pixels) {
        (0, 0) => (1., 1.),
        (0, _) => (1., 0.),
        (_, 0) => (0., 1.),
        (p, g) => {
            (pred.boundary.count_and(&gt.near) as f64 / p as f64, gt.boundary.count_and(&pred.near) as f64 / g as f64)
        }
    };
    if precision + recall == 0. { 0. } else { 2. * precision * recall / (precision + recall) }
}
