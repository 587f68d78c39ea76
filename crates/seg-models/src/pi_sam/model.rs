//! The trainable half: decoder and Precise Interactor under one state dict.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use detail_refine::{Clicks, PreciseInteractor};
use hr_decoders::{PiSamCoarse, PiSamDecoder, PromptEmbeddings};
use seg_layers::Observer;

use super::config::PiSamConfig;
use super::encoder::PiSamFeatures;

/// What the decoder gives for a batch of prompts.
#[derive(Clone, Debug)]
pub struct PiSamOutput {
    /// Logits at a quarter of the input's size, `[B, 1, 4h, 4w]`; clicks do not change them.
    pub masks: Tensor,
    /// Logits at the input's size, `[B, 1, 16h, 16w]`.
    pub masks_large: Tensor,
}

/// Pi-SAM's mask decoder with its Precise Interactor (`MaskDecoderAE`), as the authors save it: no prefix, the interactor below `interact_2`.
///
/// For training, [`PiSamMaskDecoder::coarse`] gives the masks that clicks are simulated on, and [`PiSamMaskDecoder::finish`] goes on with these clicks, or
/// without. Weights that are variables get gradients: the authors train everything outside SAM's own decoder ([`PiSamMaskDecoder::STAGE_1`]) first, then
/// the interactor alone ([`PiSamMaskDecoder::STAGE_2`]).
#[derive(Clone, Debug)]
pub struct PiSamMaskDecoder {
    decoder: PiSamDecoder,
    interactor: Option<PreciseInteractor>,
}

impl PiSamMaskDecoder {
    /// Beginnings of keys in official files that nothing reads.
    pub const UNUSED: [&'static str; 3] = [PiSamDecoder::UNUSED[0], PiSamDecoder::UNUSED[1], "interact_2.bnd_op."];

    /// Beginnings of the keys that the first stage of the authors' training moves.
    pub const STAGE_1: [&'static str; 9] = [
        "hf_token.",
        "hf_mlp.",
        "compress_vit_feat.",
        "embedding_encoder.",
        "embedding_maskfeature.",
        "embedding_act.",
        "mask_aspp.",
        "output_upscaling_2.",
        "out_act.",
    ];

    /// Beginning of the keys that the second stage moves; `interact_2.img_pe` and `interact_2.pe_layer` are buffers and stay.
    pub const STAGE_2: [&'static str; 1] = ["interact_2."];

    /// Reads the decoder; `vb` is at the root of its state dict.
    pub fn new(cfg: &PiSamConfig, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            decoder: PiSamDecoder::new(&cfg.decoder, vb.clone())?,
            interactor: match &cfg.interactor {
                Some(cfg) => Some(PreciseInteractor::new(cfg, vb.pp("interact_2"))?),
                None => None,
            },
        })
    }

    /// The decoder without the interactor.
    pub fn decoder(&self) -> &PiSamDecoder {
        &self.decoder
    }

    /// The Precise Interactor, if the decoder has one.
    pub fn interactor(&self) -> Option<&PreciseInteractor> {
        self.interactor.as_ref()
    }

    /// The first half, for images whose features belong to one batch row each (or one image for all prompts).
    pub fn coarse(
        &self,
        features: &PiSamFeatures,
        image_pe: &Tensor,
        prompts: &PromptEmbeddings,
        observer: &mut dyn Observer,
    ) -> Result<PiSamCoarse> {
        let shared = self.decoder.image_features(&features.image_embeddings, &features.vit_features, &mut *observer)?;
        self.decoder.coarse(&features.image_embeddings, &shared, image_pe, prompts, observer)
    }

    /// The second half: corrected by `clicks` if there are any, then to the input's size. `rgb_embedding [B or 1, 8, 16h, 16w]`; the result is
    /// `[B, 1, 16h, 16w]`.
    ///
    /// # Errors
    /// Clicks for a decoder without interactor.
    pub fn finish(
        &self,
        coarse: &PiSamCoarse,
        rgb_embedding: &Tensor,
        clicks: Option<&Clicks>,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        match (clicks, &self.interactor) {
            (None, _) => self.decoder.finish(&coarse.object_embedding, rgb_embedding, observer),
            (Some(clicks), Some(interactor)) => {
                let (map, token) = (&coarse.object_embedding, &coarse.mask_token);
                let corrected = interactor.forward(map, token, clicks, &mut *observer)?;
                self.decoder.finish(&corrected, rgb_embedding, observer)
            }
            (Some(_), None) => candle_core::bail!("Pi-SAM: clicks for a decoder that has no Precise Interactor"),
        }
    }

    /// Both halves.
    pub fn forward(
        &self,
        features: &PiSamFeatures,
        image_pe: &Tensor,
        prompts: &PromptEmbeddings,
        clicks: Option<&Clicks>,
        observer: &mut dyn Observer,
    ) -> Result<PiSamOutput> {
        let coarse = self.coarse(features, image_pe, prompts, &mut *observer)?;
        let masks_large = self.finish(&coarse, &features.rgb_embedding, clicks, observer)?;
        Ok(PiSamOutput { masks: coarse.masks, masks_large })
    }
}
