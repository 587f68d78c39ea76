//! The accounting of the SA-V benchmark (Ravi et al., "SAM 2", 2024, after vos-benchmark).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::frame::ObjectMask;
use super::statistics::mean;
use crate::bits::BitMask;
use crate::{Plane, Result};

/// The scores of one object, a value a frame from the one on in which it first was in the ground truth or the
/// prediction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SavObject {
    /// Region similarity, 0..1.
    pub j: Vec<f64>,
    /// Boundary accuracy, 0..1.
    pub f: Vec<f64>,
}

impl SavObject {
    /// Mean region similarity in percent.
    pub fn j_percent(&self) -> f64 {
        100. * mean(&self.j)
    }

    /// Mean boundary accuracy in percent.
    pub fn f_percent(&self) -> f64 {
        100. * mean(&self.f)
    }
}

/// A video under evaluation: frames go in one after the other, without the first and the last, which the benchmark leaves
/// out. 255 is a label as any other, and there is no void.
#[derive(Debug, Default)]
pub struct SavVideo {
    in_gt: BTreeSet<u8>,
    objects: BTreeMap<u8, SavObject>,
}

impl SavVideo {
    /// A video without frames.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a frame, as label images.
    ///
    /// # Errors
    /// [`SizeMismatch`](crate::Error::SizeMismatch).
    pub fn add(&mut self, pred: Plane<'_>, gt: Plane<'_>) -> Result<()> {
        pred.same_size(gt)?;
        for label in labels(pred) {
            self.objects.entry(label).or_default();
        }
        for label in labels(gt) {
            self.objects.entry(label).or_default();
            self.in_gt.insert(label);
        }
        for (&label, scores) in &mut self.objects {
            let mask = |plane| ObjectMask::new(BitMask::from_fn(plane, |l| l == label));
            let (j, f) = mask(pred).scores(&mask(gt));
            scores.j.push(j);
            scores.f.push(f);
        }
        Ok(())
    }

    /// The scores of the objects that were in the ground truth, by label.
    pub fn finish(self) -> BTreeMap<u8, SavObject> {
        let Self { in_gt, mut objects } = self;
        objects.retain(|label, _| in_gt.contains(label));
        objects
    }
}

/// The labels in an image, but 0.
fn labels(plane: Plane<'_>) -> impl Iterator<Item = u8> {
    let mut seen = [false; 256];
    plane.data().iter().for_each(|&l| seen[usize::from(l)] = true);
    (1..=255).filter(move |&l: &u8| seen[usize::from(l)])
}
