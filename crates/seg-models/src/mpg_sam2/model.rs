//! The whole MPG-SAM 2.

use beit3_encoder::{Beit3, Beit3Features, TextTokens};
use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use hr_decoders::{DecodedMasks, FusedContext, FusionInputs, MpgFusion, PointPrompts, PromptEmbeddings};
use seg_layers::{Dropout, Observer, Unobserved};
use seg_ops::Resize;

use super::config::MpgSam2Config;
use super::prior::{MaskPrior, MaskPriorGenerator};
use super::video::MpgVideo;
use crate::sam2::video::Sam2VideoModel;
use crate::sam2::{Sam2ImageFeatures, Sam2ImageModel};

/// MPG-SAM 2 (arXiv 2501.13667, figure 2; models/evf_sam.py of rongfu-dsb/MPG-SAM2). Reads every tensor of an official file but
/// [`MpgSam2::UNUSED`].
///
/// Keys: `mm_extractor`, `visual_model`, and those of [`MaskPriorGenerator`].
#[derive(Clone, Debug)]
pub struct MpgSam2 {
    cfg: MpgSam2Config,
    beit3: Beit3,
    prior_generator: MaskPriorGenerator,
    sam2: Sam2VideoModel,
    fusion: MpgFusion,
    dropout: Dropout,
}

/// Masks of single images.
#[derive(Clone, Debug)]
pub struct MpgImageMasks {
    /// Logits, `[B, 1, S/4, S/4]`.
    pub low_res_masks: Tensor,
    /// `[B, 1]`.
    pub iou_predictions: Tensor,
    /// `[B, 1]`; the masks do not depend on it.
    pub object_score_logits: Tensor,
    /// What the masks were prompted with.
    pub prior: MaskPrior,
}

impl MpgSam2 {
    /// Parts of official files that nothing uses.
    pub const UNUSED: [&'static str; 1] = ["mm_extractor.beit3.vision_embed.mask_token"];

    /// Reads the model; `vb` is at the root of the official state dict.
    pub fn new(cfg: &MpgSam2Config, vb: VarBuilder) -> Result<Self> {
        cfg.validate()?;
        let visual_model = vb.pp("visual_model");
        Ok(Self {
            cfg: cfg.clone(),
            beit3: Beit3::new(&cfg.beit3, vb.pp("mm_extractor"))?,
            prior_generator: MaskPriorGenerator::new(cfg, vb)?,
            fusion: MpgFusion::new(&cfg.fusion, visual_model.pp("sam_mask_decoder"))?,
            dropout: Dropout::OFF,
            sam2: Sam2VideoModel::new(&cfg.sam2, visual_model)?,
        })
    }

    /// The model in training with `dropout` where the authors have it (0.1): in the prior generator's transformer layer, the three fusions and the memory
    /// attention. BEiT-3, the image encoder and the two-way transformer have none.
    pub fn with_dropout(mut self, dropout: &Dropout) -> Self {
        self.prior_generator.set_dropout(dropout);
        self.fusion.set_dropout(dropout);
        self.sam2.set_dropout(dropout);
        self.dropout = dropout.clone();
        self
    }

    pub(super) fn has_dropout(&self) -> bool {
        self.dropout.is_on()
    }

    /// The configuration it was built with.
    pub fn config(&self) -> &MpgSam2Config {
        &self.cfg
    }

    /// The encoder of images and text.
    pub fn beit3(&self) -> &Beit3 {
        &self.beit3
    }

    /// The prior generator.
    pub fn prior_generator(&self) -> &MaskPriorGenerator {
        &self.prior_generator
    }

    /// SAM 2 with its memory.
    pub fn sam2(&self) -> &Sam2VideoModel {
        &self.sam2
    }

    /// SAM 2's image model.
    pub fn image_model(&self) -> &Sam2ImageModel {
        self.sam2.image_model()
    }

    /// BEiT-3's features of `images [N, 3, 224, 224]` (normalised by ImageNet's mean and deviation), with a text each. Frames may go one by one:
    /// they do not see each other here.
    pub fn look(&self, images: &Tensor, text: &TextTokens) -> Result<Beit3Features> {
        self.beit3.forward(images, text)
    }

    /// The prior of B videos of `frames` frames, from [`Self::look`]'s features `[B·T, …]`, a video's frames one after the other.
    pub fn prior(&self, features: &Beit3Features, frames: usize) -> Result<MaskPrior> {
        self.prior_generator.forward(features, frames, &mut Unobserved)
    }

    /// A video (B = 1) whose frames come one by one: the path of inference, and of training on videos.
    ///
    /// # Errors
    /// Besides candle's, a prior of several videos.
    pub fn video(&self, prior: MaskPrior) -> Result<MpgVideo<'_>> {
        self.video_with(prior, &mut Unobserved)
    }

    /// As [`Self::video`]; the observer sees `patch_linear`, `mmfusion`.
    pub fn video_with(&self, prior: MaskPrior, observer: &mut dyn Observer) -> Result<MpgVideo<'_>> {
        MpgVideo::new(self, prior, observer)
    }

    /// Single images, each with its own text: the path of pre-training. `images [B, 3, S, S]` for SAM 2 and `look_images [B, 3, 224, 224]` for BEiT-3,
    /// both normalised. The mask is the decoder's single one, whatever its object score.
    pub fn segment_images(&self, images: Tensor, look_images: &Tensor, text: &TextTokens) -> Result<MpgImageMasks> {
        self.segment_images_with(images, look_images, text, &mut Unobserved)
    }

    /// As [`Self::segment_images`]; the observer sees what [`MaskPriorGenerator::forward`], [`MpgFusion`] and the frames of [`MpgVideo`] show.
    pub fn segment_images_with(
        &self,
        images: Tensor,
        look_images: &Tensor,
        text: &TextTokens,
        observer: &mut dyn Observer,
    ) -> Result<MpgImageMasks> {
        let features = self.beit3.forward_observed(look_images, text, observer)?;
        let prior = self.prior_generator.forward(&features, 1, observer)?;
        drop(features);
        let context = self.context(&prior, observer)?;
        let features = self.image_model().encode_image(images)?;
        let prompts = self.prompts(&prior.mask_prompts, None, &prior.sentence, observer)?;
        let decoded =
            self.decode(&context, &prior.text, (&features.image_embed, &features), None, &prompts, observer)?;
        let chosen = self.image_model().mask_decoder().select(&decoded, false)?;
        Ok(MpgImageMasks {
            low_res_masks: chosen.masks,
            iou_predictions: chosen.iou_predictions,
            object_score_logits: chosen.object_score_logits,
            prior,
        })
    }

    /// What all frames share.
    pub(super) fn context(&self, prior: &MaskPrior, observer: &mut dyn Observer) -> Result<FusedContext> {
        self.fusion.context(self.image_model().mask_decoder(), &prior.context, prior.side, observer)
    }

    /// Prompts of a sentence `[B, 1, C]` and mask `[B, 1, side, side]`, and points before them.
    pub(super) fn prompts(
        &self,
        mask_prompts: &Tensor,
        points: Option<&PointPrompts>,
        sentence: &Tensor,
        observer: &mut dyn Observer,
    ) -> Result<PromptEmbeddings> {
        let encoder = self.image_model().prompt_encoder();
        // an enlargement, which antialiasing leaves alone: named for its parity with the official call
        let masks =
            seg_ops::resize(mask_prompts, encoder.config().mask_input_size(), &Resize::bilinear().antialiased())?;
        let mut prompts = encoder.forward(points, None, Some(&masks))?;
        prompts.sparse_prompt_embeddings = Tensor::cat(&[&prompts.sparse_prompt_embeddings, sentence], 1)?;
        observer.observe("sparse", &prompts.sparse_prompt_embeddings)?;
        observer.observe("dense", &prompts.dense_prompt_embeddings)?;
        Ok(prompts)
    }

    /// All masks of a frame: `pix_feat [B, C, h, w]` is what they are decoded from.
    pub(super) fn decode(
        &self,
        context: &FusedContext,
        text: &Tensor,
        (pix_feat, features): (&Tensor, &Sam2ImageFeatures),
        history: Option<(&Tensor, &Tensor)>,
        prompts: &PromptEmbeddings,
        observer: &mut dyn Observer,
    ) -> Result<DecodedMasks> {
        let inputs = FusionInputs {
            image_embeddings: pix_feat,
            image_pe: &self.image_model().prompt_encoder().dense_pe()?,
            text,
            history,
            prompts,
            high_res_features: &features.high_res_features,
        };
        let decoded = self.fusion.decode(self.image_model().mask_decoder(), context, &inputs, observer)?;
        observer.observe("twoway_tokens", &decoded.tokens)?;
        observer.observe("twoway_image", &decoded.image_tokens)?;
        observer.observe("raw_masks", &decoded.masks)?;
        observer.observe("raw_ious", &decoded.iou_predictions)?;
        Ok(decoded)
    }
}
