//! The evaluation of DAVIS 2017 (Pont-Tuset et al., "The 2017 DAVIS Challenge on Video Object Segmentation"; Caelles et
//! al., "The 2019 DAVIS Challenge on VOS: Unsupervised Multi-Object Segmentation").

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::assignment::assign;
use super::frame::{ObjectMask, between_the_ends, labels};
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

    /// Which of `frames` frames count. The predictions of the others are never looked at.
    pub fn scored(self, frames: usize) -> Range<usize> {
        match self {
            Self::SemiSupervised => between_the_ends(frames),
            Self::Unsupervised => 0..frames,
        }
    }
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
    size: Option<(usize, usize)>,
    /// Of each frame that counts.
    frames: Vec<Scores>,
    /// The frame before, which does not count if it is the last.
    pending: Option<Scores>,
    /// The highest label that was predicted.
    proposals: u8,
    /// Whether the last frame counts in any case, for none is added that does not.
    ends_left_out: bool,
    /// Labels of the first ground truth, and of all.
    in_first: BTreeSet<u8>,
    in_gt: BTreeSet<u8>,
}

/// J and F of every proposal against every object in a frame: `[proposal][object]`. Proposals beyond are empty; the last
/// row is that of an empty one.
type Scores = Vec<Vec<(f64, f64)>>;

impl DavisSequence {
    /// A sequence without frames.
    pub fn new(task: DavisTask) -> Self {
        Self {
            task,
            objects: None,
            size: None,
            frames: Vec::new(),
            pending: None,
            proposals: 0,
            ends_left_out: false,
            in_first: BTreeSet::new(),
            in_gt: BTreeSet::new(),
        }
    }

    /// A sequence to which only frames are added that count ([`DavisTask::scored`]), after a look at the first ground
    /// truth, as a label image. So no prediction is needed for a frame that does not count.
    pub fn from_first(task: DavisTask, gt: Plane<'_>) -> Self {
        let mut out = Self { ends_left_out: true, size: Some((gt.width(), gt.height())), ..Self::new(task) };
        out.look_at(gt);
        out
    }

    /// Takes the labels of a ground truth down, and the objects from the first; the number of objects.
    fn look_at(&mut self, gt: Plane<'_>) -> u8 {
        let labels: Vec<u8> = labels(gt).filter(|&l| l != VOID).collect();
        self.in_gt.extend(&labels);
        *self.objects.get_or_insert_with(|| {
            self.in_first.extend(&labels);
            labels.last().copied().unwrap_or(0)
        })
    }

    /// How many objects there are, once the first ground truth is known: its highest label.
    pub fn objects(&self) -> Option<u8> {
        self.objects
    }

    /// Objects that count although the first ground truth, of label images, does not have them: it has a higher label.
    /// In a frame in which neither side has such an object its scores are 1.
    pub fn absent(&self) -> impl Iterator<Item = u8> {
        (1..=self.objects.unwrap_or(0)).filter(|label| !self.in_gt.is_empty() && !self.in_first.contains(label))
    }

    /// Labels of later ground truths that are no objects, because the first has none as high.
    pub fn late(&self) -> impl Iterator<Item = u8> {
        self.in_gt.iter().copied().filter(|&label| self.objects.is_some_and(|objects| label > objects))
    }

    /// Adds the next frame, as label images. Objects are those up to the highest label of the first ground truth; label
    /// 255 of the ground truth is void.
    ///
    /// In the semi-supervised task the first frame serves only to tell the objects, and its prediction is not looked at; the
    /// last one that is added is left out of the result (see [`Self::from_first`]).
    ///
    /// # Errors
    /// [`Error::SizeMismatch`]; [`Error::Label`] for a prediction with more objects than the ground truth
    /// (semi-supervised) or than [`DavisTask::MAX_PROPOSALS`].
    pub fn add(&mut self, pred: Plane<'_>, gt: Plane<'_>) -> Result<()> {
        let first = self.objects.is_none();
        let objects = self.look_at(gt);
        if first && self.task == DavisTask::SemiSupervised {
            self.size = Some((gt.width(), gt.height()));
            return Ok(());
        }
        pred.same_size(gt)?;
        // 255 in a prediction is a label like any other, and too high
        let proposals = labels(pred).last().unwrap_or(0);
        self.check_labels(proposals, objects)?;
        let masks = |plane, up_to| (1..=up_to).map(|label| BitMask::from_fn(plane, |l| l == label)).collect::<Vec<_>>();
        let void = BitMask::from_fn(gt, |l| l == VOID);
        self.add_frame(&masks(pred, proposals), &masks(gt, objects), &void, false)
    }

    /// Adds the next frame, as one mask for each proposal and one for each object; masks may overlap. Every frame has the
    /// same number of objects.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_masks(&mut self, pred: &[BitMask], gt: &[BitMask], void: &BitMask) -> Result<()> {
        self.add_frame(pred, gt, void, self.objects.is_none())
    }

    fn add_frame(&mut self, pred: &[BitMask], gt: &[BitMask], void: &BitMask, first: bool) -> Result<()> {
        let (width, height) = *self.size.get_or_insert((void.width(), void.height()));
        for mask in pred.iter().chain(gt).chain([void]) {
            if (mask.width(), mask.height()) != (width, height) {
                return Err(Error::SizeMismatch {
                    pred_width: mask.width(),
                    pred_height: mask.height(),
                    gt_width: width,
                    gt_height: height,
                });
            }
        }
        let count = |masks: &[BitMask]| masks.len().try_into().unwrap_or(u8::MAX);
        let objects = *self.objects.get_or_insert(count(gt));
        self.check_labels(count(pred), objects)?;
        if gt.len() != usize::from(objects) {
            return Err(Error::Label { label: count(gt), limit: objects });
        }
        match self.task {
            DavisTask::SemiSupervised if first => {}
            DavisTask::SemiSupervised => {
                self.frames.extend(self.pending.take());
                self.pending = Some(frame_scores(pred, gt, None));
            }
            DavisTask::Unsupervised => self.frames.push(frame_scores(pred, gt, Some(void))),
        }
        self.proposals = self.proposals.max(count(pred));
        Ok(())
    }

    fn check_labels(&self, highest: u8, objects: u8) -> Result<()> {
        let limit = match self.task {
            DavisTask::SemiSupervised => objects,
            DavisTask::Unsupervised => DavisTask::MAX_PROPOSALS,
        };
        if highest > limit { Err(Error::Label { label: highest, limit }) } else { Ok(()) }
    }

    /// The scores of all objects of the sequence.
    pub fn finish(mut self) -> Vec<ObjectScores> {
        if self.ends_left_out {
            self.frames.extend(self.pending.take());
        }
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

/// All proposals of a frame, and an empty one, against all objects. Nothing of it is for one pair alone but counting
/// words: boundaries and their neighbourhoods are made once a mask.
fn frame_scores(pred: &[BitMask], gt: &[BitMask], void: Option<&BitMask>) -> Scores {
    let made = |mask: &BitMask| ObjectMask::new(void.map_or_else(|| mask.clone(), |void| mask.and_not(void)));
    let Some(first) = gt.first() else { return vec![Vec::new()] };
    let empty = BitMask::new(first.width(), first.height());
    let gt: Vec<ObjectMask> = gt.iter().map(made).collect();
    pred.iter().chain([&empty]).map(made).map(|p| gt.iter().map(|g| p.scores(g)).collect()).collect()
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
