//! The evaluation of DAVIS 2017 (Pont-Tuset et al., "The 2017 DAVIS Challenge on Video Object Segmentation"; Caelles et
//! al., "The 2019 DAVIS Challenge on VOS: Unsupervised Multi-Object Segmentation").

use serde::{Deserialize, Serialize};

use super::assignment::assign;
use super::frame::ObjectMask;
use super::statistics::{Decay, Statistics, mean};
use crate::bits::BitMask;
use crate::{Error, Plane, Result};

/// The label of pixels that do not count.
const VOID: u8 = 255;

/// Which rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DavisTask {
    /// The first frame is given: label k of the prediction is object k. The first and the last frame do not count; void
    /// pixels do.
    SemiSupervised,
    /// Proposals are matched to objects by the mean of J and F, once a sequence. All frames count; void pixels do not.
    Unsupervised,
}

impl DavisTask {
    /// How many proposals a prediction may have in the unsupervised task.
    pub const MAX_PROPOSALS: u8 = 20;
}

/// The scores of one object, a value a frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectScores {
    /// The label of the prediction that was taken for this object, from 1.
    pub proposal: u8,
    /// Region similarity.
    pub j: Vec<f64>,
    /// Boundary accuracy.
    pub f: Vec<f64>,
}

/// A sequence under evaluation: frames go in one after the other, and none is kept.
#[derive(Debug)]
pub struct DavisSequence {
    task: DavisTask,
    /// From the first frame.
    objects: Option<u8>,
    size: (usize, usize),
    /// Of each frame that counts.
    frames: Vec<Scores>,
    /// The frame before, which does not count if it is the last.
    pending: Option<Scores>,
    /// The highest label that was predicted.
    proposals: u8,
}

/// J and F of every proposal against every object in a frame: `[proposal][object]`. Proposals beyond are empty; the last
/// row is that of an empty one.
type Scores = Vec<Vec<(f64, f64)>>;

impl DavisSequence {
    /// A sequence without frames.
    pub fn new(task: DavisTask) -> Self {
        Self { task, objects: None, size: (0, 0), frames: Vec::new(), pending: None, proposals: 0 }
    }

    /// Adds the next frame, as label images. Objects are those up to the highest label of the first ground truth.
    ///
    /// In the semi-supervised task the first frame serves only to tell the objects; the last one that is added is left
    /// out of the result.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`]; [`Error::Label`] for a prediction with more objects than the ground truth
    /// (semi-supervised) or than [`DavisTask::MAX_PROPOSALS`].
    pub fn add(&mut self, pred: Plane<'_>, gt: Plane<'_>) -> Result<()> {
        pred.same_size(gt)?;
        if self.objects.is_some() {
            let (width, height) = self.size;
            if (width, height) != (gt.width(), gt.height()) {
                return Err(Error::SizeMismatch {
                    pred_width: gt.width(),
                    pred_height: gt.height(),
                    gt_width: width,
                    gt_height: height,
                });
            }
        }
        let first = self.objects.is_none();
        let objects = *self.objects.get_or_insert_with(|| {
            self.size = (gt.width(), gt.height());
            gt.data().iter().copied().filter(|&l| l != VOID).max().unwrap_or(0)
        });
        match self.task {
            DavisTask::SemiSupervised => {
                if first {
                    return Ok(());
                }
                self.count_labels(pred, objects)?;
                self.frames.extend(self.pending.take());
                self.pending = Some(frame_scores(pred, gt, objects, None));
            }
            DavisTask::Unsupervised => {
                self.count_labels(pred, DavisTask::MAX_PROPOSALS)?;
                self.frames.push(frame_scores(pred, gt, objects, Some(VOID)));
            }
        }
        Ok(())
    }

    fn count_labels(&mut self, pred: Plane<'_>, limit: u8) -> Result<()> {
        let highest = pred.data().iter().copied().max().unwrap_or(0);
        if highest > limit {
            return Err(Error::Label { label: highest, limit });
        }
        self.proposals = self.proposals.max(highest);
        Ok(())
    }

    /// The scores of all objects of the sequence.
    pub fn finish(self) -> Vec<ObjectScores> {
        let objects = usize::from(self.objects.unwrap_or(0));
        let of = |proposal: usize, object: usize| {
            let (j, f) = (self.frames.iter()).map(|frame| frame[proposal.min(frame.len() - 1)][object]).unzip();
            ObjectScores { proposal: proposal as u8 + 1, j, f }
        };
        match self.task {
            DavisTask::SemiSupervised => (0..objects).map(|o| of(o, o)).collect(),
            DavisTask::Unsupervised => {
                let proposals = objects.max(usize::from(self.proposals));
                let all: Vec<ObjectScores> =
                    (0..objects).flat_map(|o| (0..proposals).map(move |p| (p, o))).map(|(p, o)| of(p, o)).collect();
                let means: Vec<f64> = all.iter().map(|s| (mean(&s.j) + mean(&s.f)) / 2.).collect();
                let assigned = assign(&means, objects, proposals);
                assigned.iter().enumerate().map(|(o, p)| all[o * proposals + p].clone()).collect()
            }
        }
    }
}

/// All proposals of a frame against all objects; in the semi-supervised task only equal labels are asked for, but others
/// are computed as well where there are several objects: the neighbourhoods, which cost most, are shared.
fn frame_scores(pred: Plane<'_>, gt: Plane<'_>, objects: u8, void: Option<u8>) -> Scores {
    let counted = void.map(|void| BitMask::from_fn(gt, |l| l != void));
    let masks = |plane: Plane<'_>, up_to: u8| -> Vec<ObjectMask> {
        (1..=up_to)
            .map(|label| {
                let mask = BitMask::from_fn(plane, |l| l == label);
                ObjectMask::new(counted.as_ref().map_or(mask.clone(), |counted| mask.and(counted)))
            })
            .collect()
    };
    let gt = masks(gt, objects);
    let mut proposals = masks(pred, pred.data().iter().copied().max().unwrap_or(0));
    proposals.push(ObjectMask::new(BitMask::new(pred.width(), pred.height())));
    proposals.iter().map(|p| gt.iter().map(|g| p.scores(g)).collect()).collect()
}

/// The scores of a data set: means over objects, not over sequences.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DavisSummary {
    /// Of the region similarity.
    pub j: Statistics,
    /// Of the boundary accuracy.
    pub f: Statistics,
    /// Mean of the two means.
    pub jf: f64,
}

impl DavisSummary {
    /// Of all objects of all sequences; NaN without any.
    pub fn new<'a>(objects: impl IntoIterator<Item = &'a ObjectScores>, decay: Decay) -> Self {
        let (j, f): (Vec<Statistics>, Vec<Statistics>) =
            objects.into_iter().map(|o| (Statistics::new(&o.j, decay), Statistics::new(&o.f, decay))).unzip();
        let over = |all: &[Statistics], part: fn(&Statistics) -> f64| mean(&all.iter().map(part).collect::<Vec<_>>());
        let all = |all: &[Statistics]| Statistics {
            mean: over(all, |s| s.mean),
            recall: over(all, |s| s.recall),
            decay: over(all, |s| s.decay),
        };
        let (j, f) = (all(&j), all(&f));
        Self { j, f, jf: (j.mean + f.mean) / 2. }
    }
}
