//! The memory bank of one object: what is kept of which frame, and what a new frame looks at.

use candle_core::{Device, Result, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::config::{MemoryBankConfig, Retention};

/// Which way the tracking goes through the video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Towards later frames.
    #[default]
    Forward,
    /// Towards earlier frames.
    Backward,
}

impl Direction {
    /// The frame `steps` before `frame` in this direction; `None` before the first.
    fn back(self, frame: usize, steps: usize) -> Option<usize> {
        match self {
            Self::Forward => frame.checked_sub(steps),
            Self::Backward => frame.checked_add(steps),
        }
    }
}

/// What is kept of a frame for one object (or a batch of B that are tracked together).
#[derive(Clone, Debug)]
pub struct MemoryFrame {
    /// The memory map, `[B, Cm, h, w]`, bfloat16; `None` where only the pointer is kept.
    pub maskmem_features: Option<Tensor>,
    /// The object pointer, `[B, C]`.
    pub obj_ptr: Tensor,
    /// Logit of "the object is there", `[B, 1]`.
    pub object_score_logits: Tensor,
    /// Low-resolution logits, `[B, 1, 4h, 4w]`: what a correction starts from. Kept as long as the map.
    pub pred_masks: Option<Tensor>,
}

impl MemoryFrame {
    /// The same on `device`.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let moved = |t: &Option<Tensor>| t.as_ref().map(|t| t.to_device(device)).transpose();
        Ok(Self {
            maskmem_features: moved(&self.maskmem_features)?,
            obj_ptr: self.obj_ptr.to_device(device)?,
            object_score_logits: self.object_score_logits.to_device(device)?,
            pred_masks: moved(&self.pred_masks)?,
        })
    }
}

/// A memory map with its temporal slot.
#[derive(Clone, Copy, Debug)]
pub struct SlottedMap<'a> {
    /// Index of the temporal embedding: k − 1 for the frame k back, the last one for a conditioning frame.
    pub slot: usize,
    /// `[B, Cm, h, w]`.
    pub maskmem_features: &'a Tensor,
}

/// An object pointer with its distance.
#[derive(Clone, Copy, Debug)]
pub struct PastPointer<'a> {
    /// How many frames back it lies, in the direction of tracking; negative for one yet to come.
    pub distance: i64,
    /// `[B, C]`.
    pub obj_ptr: &'a Tensor,
}

/// What a frame looks at.
#[derive(Clone, Debug, Default)]
pub struct Selection<'a> {
    /// Conditioning frames, then the others, oldest first.
    pub maps: Vec<SlottedMap<'a>>,
    /// Conditioning frames, then the others, newest first.
    pub pointers: Vec<PastPointer<'a>>,
    /// The distance that counts as 1 in position encodings: the pointers looked at less one, of the video if it is shorter.
    pub pointer_span: usize,
}

/// The memory bank of one object (section 4 of arXiv 2408.00714; `_prepare_memory_conditioned_features` in
/// sam2/modeling/sam2_base.py): frames with the user's prompts, which condition the others, and a window of tracked frames.
#[derive(Clone, Debug)]
pub struct MemoryBank {
    cfg: MemoryBankConfig,
    retention: Retention,
    conditioning: BTreeMap<usize, MemoryFrame>,
    tracked: BTreeMap<usize, MemoryFrame>,
    anchors: BTreeSet<usize>,
}

impl MemoryBank {
    /// An empty bank.
    pub fn new(cfg: &MemoryBankConfig, retention: Retention) -> Self {
        Self {
            cfg: cfg.clone(),
            retention,
            conditioning: BTreeMap::new(),
            tracked: BTreeMap::new(),
            anchors: BTreeSet::new(),
        }
    }

    /// Frames with prompts, by number.
    pub fn conditioning(&self) -> &BTreeMap<usize, MemoryFrame> {
        &self.conditioning
    }

    /// Tracked frames that are kept, by number.
    pub fn tracked(&self) -> &BTreeMap<usize, MemoryFrame> {
        &self.tracked
    }

    /// What is kept of `frame`, of whichever kind.
    pub fn get(&self, frame: usize) -> Option<&MemoryFrame> {
        self.conditioning.get(&frame).or_else(|| self.tracked.get(&frame))
    }

    /// Puts in a frame with prompts. What was tracked there before is dropped.
    pub fn insert_conditioning(&mut self, frame: usize, memory: MemoryFrame) {
        self.tracked.remove(&frame);
        self.conditioning.insert(frame, memory);
    }

    /// Puts in a tracked frame, and drops what is out of reach from there, see [`Retention`].
    pub fn insert_tracked(&mut self, frame: usize, memory: MemoryFrame) {
        self.tracked.insert(frame, memory);
        self.retain_around(frame);
    }

    /// Puts in a correction of a tracked frame: what is out of reach from there stays until the tracking goes on. A
    /// conditioning frame is not changed by it, as in the official code.
    pub fn correct(&mut self, frame: usize, memory: MemoryFrame) {
        if !self.conditioning.contains_key(&frame) {
            self.tracked.insert(frame, memory);
        }
    }

    /// What lies within reach of these frames is kept too: tracking may start there, as it does where another object has its prompts.
    pub fn keep_around(&mut self, frames: &BTreeSet<usize>) {
        if self.anchors != *frames {
            self.anchors.clone_from(frames);
        }
    }

    /// Makes a tracked frame of a conditioning one, whose prompts are gone. False when there is none.
    pub fn downgrade(&mut self, frame: usize) -> bool {
        let memory = self.conditioning.remove(&frame);
        let found = memory.is_some();
        self.tracked.extend(memory.map(|memory| (frame, memory)));
        found
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.conditioning.clear();
        self.tracked.clear();
    }

    fn retain_around(&mut self, head: usize) {
        if self.retention == Retention::Everything {
            return;
        }
        let (maps, pointers) = (self.cfg.map_reach(), self.cfg.pointer_reach());
        let (conditioning, anchors) = (&self.conditioning, &self.anchors);
        let within = |frame: usize, reach: usize| {
            let window = frame.saturating_sub(reach)..=frame.saturating_add(reach);
            window.contains(&head)
                || conditioning.range(window.clone()).next().is_some()
                || anchors.range(window).next().is_some()
        };
        self.tracked.retain(|&frame, memory| {
            if !within(frame, maps) {
                memory.maskmem_features = None;
                memory.pred_masks = None;
            }
            within(frame, maps.max(pointers))
        });
    }

    /// What `frame` looks at when it is tracked in `direction`, in a video of `num_frames` (`None`: more than one can look back).
    /// Frames that are not there are left out.
    pub fn select(&self, frame: usize, direction: Direction, num_frames: Option<usize>) -> Selection<'_> {
        let chosen = self.nearest_conditioning(frame);
        // a conditioning frame that was not chosen may still stand for itself as a frame before this one
        let before =
            |t: usize| self.tracked.get(&t).or_else(|| self.conditioning.get(&t).filter(|_| !chosen.contains(&t)));
        let conditioning = || chosen.iter().filter_map(|t| Some((*t, self.conditioning.get(t)?)));

        let last_slot = self.cfg.num_maskmem.saturating_sub(1);
        let mut maps: Vec<SlottedMap<'_>> = conditioning().filter_map(|(_, m)| SlottedMap::of(last_slot, m)).collect();
        for k in (1..self.cfg.num_maskmem).rev() {
            let memory = self.map_frame(frame, k, direction).and_then(before);
            maps.extend(memory.and_then(|memory| SlottedMap::of(k - 1, memory)));
        }

        let limit = num_frames.map_or(self.cfg.max_obj_ptrs_in_encoder, |n| n.min(self.cfg.max_obj_ptrs_in_encoder));
        let signed = |t: usize| match direction {
            Direction::Forward => frame as i64 - t as i64,
            Direction::Backward => t as i64 - frame as i64,
        };
        let mut pointers: Vec<PastPointer<'_>> = conditioning()
            .map(|(t, memory)| PastPointer { distance: signed(t), obj_ptr: &memory.obj_ptr })
            .filter(|pointer| pointer.distance >= 0 || !self.cfg.only_obj_ptrs_in_the_past)
            .collect();
        for k in 1..limit {
            let Some(t) = direction.back(frame, k).filter(|t| num_frames.is_none_or(|n| *t < n)) else { break };
            pointers.extend(before(t).map(|m| PastPointer { distance: k as i64, obj_ptr: &m.obj_ptr }));
        }
        Selection { maps, pointers, pointer_span: limit.saturating_sub(1) }
    }

    /// The frame in the k-th slot before `frame`: the last one, or one at a multiple of the stride.
    fn map_frame(&self, frame: usize, k: usize, direction: Direction) -> Option<usize> {
        let stride = self.cfg.memory_temporal_stride.max(1);
        if k == 1 {
            return direction.back(frame, 1);
        }
        let second = direction.back(frame, 2)?;
        let rounded = match direction {
            Direction::Forward => second / stride * stride,
            Direction::Backward => second.div_ceil(stride) * stride,
        };
        direction.back(rounded, (k - 2) * stride)
    }

    /// The conditioning frames that are looked at: the nearest before, the nearest after, then the nearest others.
    fn nearest_conditioning(&self, frame: usize) -> Vec<usize> {
        let all = || self.conditioning.keys().copied();
        let limit = match self.cfg.max_cond_frames_in_attn {
            Some(limit) if limit < self.conditioning.len() => limit,
            _ => return all().collect(),
        };
        let mut chosen: Vec<usize> = all().filter(|t| *t < frame).max().into_iter().collect();
        chosen.extend(all().find(|t| *t >= frame));
        let mut others: Vec<usize> = all().filter(|t| !chosen.contains(t)).collect();
        others.sort_by_key(|t| t.abs_diff(frame));
        chosen.extend(others);
        chosen.truncate(limit);
        chosen.sort_unstable();
        chosen
    }
}

impl<'a> SlottedMap<'a> {
    fn of(slot: usize, memory: &'a MemoryFrame) -> Option<Self> {
        memory.maskmem_features.as_ref().map(|maskmem_features| Self { slot, maskmem_features })
    }
}
