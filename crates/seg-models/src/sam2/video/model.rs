//! The whole SAM 2.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use hr_decoders::PointPrompts;
use seg_layers::Dropout;
use seg_ops::Resize;
use video_memory::{MemoryBank, MemoryFrame, VideoMemory};

use super::config::Sam2VideoConfig;
use crate::sam2::{ObjectPointerHead, Sam2ImageFeatures, Sam2ImageModel, SamHeadsOutput};

/// SAM 2 with its memory (arXiv 2408.00714, figure 3; sam2/modeling/sam2_base.py). Reads every tensor of an official file.
#[derive(Clone, Debug)]
pub struct Sam2VideoModel {
    cfg: Sam2VideoConfig,
    image_model: Sam2ImageModel,
    heads: ObjectPointerHead,
    memory: VideoMemory,
}

impl Sam2VideoModel {
    /// Reads the model; `vb` is at the root of the official state dict.
    pub fn new(cfg: &Sam2VideoConfig, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            cfg: cfg.clone(),
            image_model: Sam2ImageModel::new(&cfg.sam2, vb.clone())?,
            heads: ObjectPointerHead::new(&cfg.sam2, vb.clone())?,
            memory: VideoMemory::new(&cfg.memory, vb)?,
        })
    }

    /// The configuration it was built with.
    pub fn config(&self) -> &Sam2VideoConfig {
        &self.cfg
    }

    /// The same weights with other rules of tracking.
    pub fn with_tracking(mut self, tracking: super::TrackingConfig) -> Self {
        self.cfg.tracking = tracking;
        self
    }

    /// Dropout for training, where the authors have it: in the memory attention.
    pub fn set_dropout(&mut self, dropout: &Dropout) {
        self.memory.set_dropout(dropout);
    }

    /// The part that segments single images.
    pub fn image_model(&self) -> &Sam2ImageModel {
        &self.image_model
    }

    /// The heads.
    pub fn heads(&self) -> &ObjectPointerHead {
        &self.heads
    }

    /// The memory.
    pub fn memory(&self) -> &VideoMemory {
        &self.memory
    }

    /// The features that a frame of an object is decoded from, `[1, C, h, w]`: conditioned on what the object's bank
    /// remembers, or with the "no memory" term while `at` is `None`. `at` is the frame, the direction of tracking, and the
    /// number of frames if it is known.
    pub fn pix_feat_with_mem(
        &self,
        features: &Sam2ImageFeatures,
        bank: &MemoryBank,
        at: Option<(usize, video_memory::Direction, Option<usize>)>,
    ) -> Result<Tensor> {
        match at {
            None => Ok(features.image_embed.clone()),
            Some((frame, direction, num_frames)) => {
                self.memory.condition(&features.vision_features, &bank.select(frame, direction, num_frames))
            }
        }
    }

    /// Masks from `pix_feat`: with points (and the logits they correct), or without any, in tracking.
    pub fn decode(
        &self,
        features: &Sam2ImageFeatures,
        pix_feat: &Tensor,
        points: Option<&PointPrompts>,
        prev_logits: Option<&Tensor>,
    ) -> Result<SamHeadsOutput> {
        let count = points.map_or(Ok(0), |points| points.labels.dim(1))?;
        let rules = &self.cfg.tracking;
        let multimask = (rules.multimask_min_pt_num..=rules.multimask_max_pt_num).contains(&count);
        let high_res = &features.high_res_features;
        self.heads.forward_sam_heads(&self.image_model, pix_feat, high_res, points, prev_logits, multimask)
    }

    /// A mask `[1, 1, S, S]` of 0 and 1 taken as the answer.
    pub fn use_mask_as_output(&self, features: &Sam2ImageFeatures, mask: &Tensor) -> Result<SamHeadsOutput> {
        let (pix_feat, high_res) = (&features.vision_features, &features.high_res_features);
        self.heads.use_mask_as_output(&self.image_model, pix_feat, high_res, mask)
    }

    /// What is kept of heads' output, holes filled, without a memory map yet.
    pub(super) fn remember(&self, heads: &SamHeadsOutput) -> Result<MemoryFrame> {
        Ok(MemoryFrame {
            maskmem_features: None,
            obj_ptr: heads.obj_ptr.clone(),
            object_score_logits: heads.object_score_logits.clone(),
            pred_masks: Some(self.fill_holes(&heads.low_res_masks)?),
        })
    }

    /// The memory map of a tracked frame, from the full-size logits as the heads gave them.
    pub(super) fn encode_tracked(&self, features: &Sam2ImageFeatures, heads: &SamHeadsOutput) -> Result<Tensor> {
        self.memory.encode(&features.vision_features, &heads.high_res_masks, &heads.object_score_logits, false)
    }

    /// The memory map of a frame with prompts, from the low-resolution logits that the user saw.
    pub(super) fn encode_prompted(
        &self,
        vision_features: &Tensor,
        pred_masks: &Tensor,
        score: &Tensor,
    ) -> Result<Tensor> {
        let size = self.image_model.image_size();
        let high_res = seg_ops::resize(pred_masks, (size, size), &Resize::bilinear())?;
        self.memory.encode(vision_features, &high_res, score, true)
    }

    /// `[1, 1, h, w]` logits, holes given 0.1.
    fn fill_holes(&self, low_res_masks: &Tensor) -> Result<Tensor> {
        const FILLED: f32 = 0.1;
        let area = self.cfg.tracking.fill_hole_area;
        if area == 0 {
            return Ok(low_res_masks.clone());
        }
        let (_, _, h, w) = low_res_masks.dims4()?;
        let mut logits = low_res_masks.flatten_all()?.to_vec1::<f32>()?;
        for mask in logits.chunks_exact_mut((h * w).max(1)) {
            seg_data::components::fill_holes(mask, w as u32, h as u32, 0.0, area, FILLED)
                .map_err(candle_core::Error::wrap)?;
        }
        Tensor::from_vec(logits, low_res_masks.shape(), low_res_masks.device())
    }
}
