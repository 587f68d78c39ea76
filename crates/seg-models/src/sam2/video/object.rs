//! One object of a session.

use candle_core::Tensor;
use std::collections::BTreeMap;
use video_memory::{MemoryBank, MemoryFrame, TrackedFrames};

use super::model::Sam2VideoModel;
use crate::error::Result;

/// A frame with prompts whose memory map is not made yet: that waits until the tracking goes on, so that clicks are quick.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// Whether it becomes a conditioning frame.
    pub conditioning: bool,
    pub memory: MemoryFrame,
    /// `[1, C, h, w]`
    pub vision_features: Tensor,
}

/// What a session knows of an object.
#[derive(Clone, Debug)]
pub(super) struct TrackedObject {
    pub id: u32,
    pub bank: MemoryBank,
    pub pending: BTreeMap<usize, Pending>,
    pub tracked: TrackedFrames,
}

impl TrackedObject {
    /// The logits that new prompts on `frame` correct, `[1, 1, 4h, 4w]`, if any are remembered.
    pub fn prev_logits(&self, frame: usize) -> Option<&Tensor> {
        let pending = self.pending.get(&frame).map(|pending| &pending.memory);
        pending.or_else(|| self.bank.get(frame))?.pred_masks.as_ref()
    }

    /// Makes the memory maps of the frames with new prompts and puts these into the bank.
    pub fn commit(&mut self, model: &Sam2VideoModel) -> Result<()> {
        while let Some((frame, pending)) = self.pending.pop_first() {
            let Pending { conditioning, mut memory, vision_features } = pending;
            if let Some(masks) = &memory.pred_masks {
                let map = model.encode_prompted(&vision_features, masks, &memory.object_score_logits)?;
                memory.maskmem_features = Some(map);
            }
            if conditioning {
                self.bank.insert_conditioning(frame, memory);
            } else {
                self.bank.correct(frame, memory);
            }
        }
        Ok(())
    }

    /// The first frame that tells what the object is.
    pub fn first_frame(&self) -> Option<usize> {
        let pending = self.pending.iter().filter(|(_, p)| p.conditioning).map(|(frame, _)| *frame).min();
        let known = self.bank.conditioning().keys().next().copied();
        pending.into_iter().chain(known).min()
    }
}
