//! The accounting of the SA-V benchmark (Ravi et al., "SAM 2", 2024, after vos-benchmark).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::frame::{ObjectMask, between_the_ends, labels};
use super::statistics::mean;
use crate::bits::BitMask;
use crate::{Error, Plane, Result};

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

/// An object of SA-V's own layout, a folder of masks an object, under evaluation: frames go in one after the other, without
/// the first and the last ([`SavVideo::scored`]). Masks of several objects may overlap.
#[derive(Clone, Debug, Default)]
pub struct SavMasks {
    in_gt: bool,
    seen: bool,
    scores: SavObject,
}

impl SavMasks {
    /// An object without frames.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a frame. Whatever is above 0 is the object.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`]; [`Error::NotBinary`] for an image of more than two values.
    pub fn add(&mut self, pred: Plane<'_>, gt: Plane<'_>) -> Result<()> {
        pred.same_size(gt)?;
        let mask = |plane: Plane<'_>, side| {
            let labels = labels(plane).count();
            let values = labels + usize::from(plane.data().contains(&0));
            if values > 2 { Err(Error::NotBinary { side, values }) } else { Ok(BitMask::from_fn(plane, |l| l > 0)) }
        };
        self.push(mask(pred, "prediction")?, mask(gt, "ground truth")?);
        Ok(())
    }

    /// The scores; `None` for an object that is in no ground truth.
    pub fn finish(self) -> Option<SavObject> {
        self.in_gt.then_some(self.scores)
    }

    fn push(&mut self, pred: BitMask, gt: BitMask) {
        let in_gt = gt.count() > 0;
        self.in_gt |= in_gt;
        self.seen |= in_gt || pred.count() > 0;
        if self.seen {
            let (j, f) = ObjectMask::new(pred).scores(&ObjectMask::new(gt));
            self.scores.j.push(j);
            self.scores.f.push(f);
        }
    }
}

/// A video of label images under evaluation: frames go in one after the other, without the first and the last, which the
/// benchmark leaves out ([`Self::scored`]). 255 is a label as any other, and there is no void.
#[derive(Debug, Default)]
pub struct SavVideo {
    objects: BTreeMap<u8, SavMasks>,
    in_pred: BTreeSet<u8>,
}

impl SavVideo {
    /// A video without frames.
    pub fn new() -> Self {
        Self::default()
    }

    /// Which of `frames` annotated frames count. The predictions of the others are never looked at.
    pub fn scored(frames: usize) -> Range<usize> {
        between_the_ends(frames)
    }

    /// Adds a frame, as label images.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`].
    pub fn add(&mut self, pred: Plane<'_>, gt: Plane<'_>) -> Result<()> {
        pred.same_size(gt)?;
        self.in_pred.extend(labels(pred));
        for label in labels(pred).chain(labels(gt)) {
            self.objects.entry(label).or_default();
        }
        for (&label, object) in &mut self.objects {
            let mask = |plane| BitMask::from_fn(plane, |l| l == label);
            object.push(mask(pred), mask(gt));
        }
        Ok(())
    }

    /// Labels of the prediction that no ground truth has: they count nowhere.
    pub fn superfluous(&self) -> impl Iterator<Item = u8> {
        self.in_pred.iter().copied().filter(|label| self.objects.get(label).is_some_and(|object| !object.in_gt))
    }

    /// The scores of the objects that were in the ground truth, by label.
    pub fn finish(self) -> BTreeMap<u8, SavObject> {
        self.objects.into_iter().filter_map(|(label, object)| Some((label, object.finish()?))).collect()
    }
}
