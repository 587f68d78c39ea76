//! A video, frame by frame.

use candle_core::{Result, Tensor};
use hr_decoders::{FusedContext, PointPrompts};
use seg_layers::{Observer, Unobserved, trace};
use video_memory::{Direction, MemoryBank, MemoryFrame, Retention, Selection};

use super::model::MpgSam2;
use super::prior::MaskPrior;
use crate::sam2::{Sam2ImageFeatures, SamHeadsOutput};

/// One object of a video, followed from its first frame.
///
/// Kept are the prior of all frames (a third of a megabyte a frame), the memory map of the first frame and of the
/// last six, and the pointers of the last fifteen; no frame's image features.
#[derive(Clone, Debug)]
pub struct MpgVideo<'a> {
    model: &'a MpgSam2,
    prior: MaskPrior,
    context: FusedContext,
    bank: MemoryBank,
    next: usize,
}

impl<'a> MpgVideo<'a> {
    pub(super) fn new(model: &'a MpgSam2, prior: MaskPrior, observer: &mut dyn Observer) -> Result<Self> {
        let (count, frames) = (prior.mask_prompts.dim(0)?, prior.frames);
        if count != frames {
            candle_core::bail!(
                "MPG-SAM 2: a prior of {count} images for a video of {frames} frames, expected one video"
            );
        }
        let context = model.context(&prior, observer)?;
        let bank = MemoryBank::new(&model.config().sam2.memory.bank, Retention::Reach);
        Ok(Self { model, prior, context, bank, next: 0 })
    }

    /// The model.
    pub fn model(&self) -> &'a MpgSam2 {
        self.model
    }

    /// What is remembered of the frames so far.
    pub fn bank(&self) -> &MemoryBank {
        &self.bank
    }

    /// Goes on at frame `next` with what was remembered of those before it.
    pub(super) fn resume(&mut self, next: usize, bank: MemoryBank) {
        (self.next, self.bank) = (next, bank);
    }

    /// The frame that comes next; the number of frames at the end.
    pub fn next_frame(&self) -> usize {
        self.next
    }

    /// Frames of the video.
    pub fn frames(&self) -> usize {
        self.prior.frames
    }

    /// What the frames are prompted with.
    pub fn prior(&self) -> &MaskPrior {
        &self.prior
    }

    /// What all frames share.
    pub fn context(&self) -> &FusedContext {
        &self.context
    }

    /// Segments the next frame: the best of three masks by predicted IoU, all logits [`crate::sam2::NO_OBJ_SCORE`] where the object is not there.
    /// `features` are SAM 2's of the frame, batch 1.
    ///
    /// # Errors
    /// Besides candle's, a frame behind the last.
    pub fn step(&mut self, features: &Sam2ImageFeatures) -> Result<SamHeadsOutput> {
        self.step_with(features, &mut Unobserved)
    }

    /// As [`Self::step`]; the observer sees `pix_feat_with_mem`, `obj_memory` and `obj_memory_pos` (`[B, P, C]`), `sparse`, `dense`, `vtlfusion`,
    /// `objfusion`, `twoway_tokens`, `twoway_image`, `raw_masks`, `raw_ious`, and `maskmem_features_f32`, the memory before it is rounded.
    pub fn step_with(&mut self, features: &Sam2ImageFeatures, observer: &mut dyn Observer) -> Result<SamHeadsOutput> {
        let _step = trace::module("track");
        let (t, frames) = (self.next, self.prior.frames);
        if t >= frames {
            candle_core::bail!("MPG-SAM 2: frame {t} of a video of {frames} frames, expected none behind the last");
        }
        if t > 0 && self.model.has_dropout() {
            // each frame's look at the context leaves out other numbers
            self.context = self.model.context(&self.prior, observer)?;
        }
        let sam2 = self.model.sam2();
        let seen = (t > 0).then(|| self.bank.select(t, Direction::Forward, Some(frames)));
        let pix_feat = match &seen {
            Some(selection) => sam2.memory().condition(&features.vision_features, selection)?,
            None => features.image_embed.clone(),
        };
        observer.observe("pix_feat_with_mem", &pix_feat)?;
        let history = seen.as_ref().map(|s: &Selection<'_>| s.pointer_history(&pix_feat)).transpose()?;
        if let Some(history) = &history {
            observer.observe("obj_memory", &history.pointers)?;
            observer.observe("obj_memory_pos", &history.positions)?;
        }
        let history = history.as_ref().map(|h| (&h.pointers, &h.positions));

        let of_frame = |all: &Tensor| all.narrow(0, t, 1)?.contiguous();
        let points = PointPrompts::padding(1, pix_feat.device())?;
        let (mask, sentence) = (of_frame(&self.prior.mask_prompts)?, of_frame(&self.prior.sentence)?);
        let prompts = self.model.prompts(&mask, Some(&points), &sentence, observer)?;
        let text = of_frame(&self.prior.text)?;
        let decoded = self.model.decode(&self.context, &text, (&pix_feat, features), history, &prompts, observer)?;
        let image_model = sam2.image_model();
        let chosen = image_model.mask_decoder().select(&decoded, true)?;
        let heads = sam2.heads().finish(image_model.image_size(), &chosen)?;
        self.remember(features, &heads, observer)?;
        self.next += 1;
        Ok(heads)
    }

    /// Puts the frame into the memory, unless it is the last: nothing looks back at that.
    fn remember(
        &mut self,
        features: &Sam2ImageFeatures,
        heads: &SamHeadsOutput,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        const EXACT: &str = "maskmem_features_f32";
        let memory = self.model.sam2().memory();
        let (pix_feat, masks, score) = (&features.vision_features, &heads.high_res_masks, &heads.object_score_logits);
        if observer.wants(EXACT) {
            observer.observe(EXACT, &memory.encode_exact(pix_feat, masks, score, false)?)?;
        }
        if self.next + 1 == self.prior.frames {
            return Ok(());
        }
        let frame = MemoryFrame {
            // bfloat16 whatever the model's type, as the official code keeps it: later frames see the rounding
            maskmem_features: Some(memory.encode(pix_feat, masks, score, false)?),
            obj_ptr: heads.obj_ptr.clone(),
            object_score_logits: score.clone(),
            pred_masks: None,
        };
        match self.next {
            0 => self.bank.insert_conditioning(0, frame),
            t => self.bank.insert_tracked(t, frame),
        }
        Ok(())
    }
}
