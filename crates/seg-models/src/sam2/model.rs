//! SAM 2's image model.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use hiera_encoder::ImageEncoder;
use hr_decoders::{MaskDecoder, MaskDecoderOutput, PromptEmbeddings, PromptEncoder};

use super::config::Sam2Config;

/// The part of SAM 2 and 2.1 that segments a single image (arXiv 2408.00714, figure 3 without the memory;
/// sam2/modeling/sam2_base.py).
///
/// Keys: `image_encoder`, `sam_prompt_encoder`, `sam_mask_decoder`, `no_mem_embed`.
#[derive(Clone, Debug)]
pub struct Sam2ImageModel {
    image_encoder: ImageEncoder,
    prompt_encoder: PromptEncoder,
    mask_decoder: MaskDecoder,
    no_mem_embed: Tensor, // [1, 1, C]
    image_size: usize,
}

/// What the decoder needs of an image.
#[derive(Clone, Debug)]
pub struct Sam2ImageFeatures {
    /// The stride-16 map without any memory term, `[B, 256, H/16, W/16]`.
    pub vision_features: Tensor,
    /// The same plus the learned "no memory" term: what an image, or a first frame, is decoded from.
    pub image_embed: Tensor,
    /// `[B, 32, H/4, W/4]`, `[B, 64, H/8, W/8]`.
    pub high_res_features: [Tensor; 2],
}

impl Sam2ImageModel {
    /// Prefixes of an official file that only video needs: absent from this model, and not missed.
    pub const VIDEO_PREFIXES: [&'static str; 9] = [
        "memory_attention.",
        "memory_encoder.",
        "maskmem_tpos_enc",
        "no_mem_pos_enc",
        "no_obj_ptr",
        "no_obj_embed_spatial",
        "mask_downsample.",
        "obj_ptr_proj.",
        "obj_ptr_tpos_proj.",
    ];

    /// Prefix that image-only files leave out: no mask of a still image depends on it.
    pub const OPTIONAL_PREFIX: &'static str = "sam_mask_decoder.pred_obj_score_head.";

    /// Reads the model; `vb` is at the root of the official state dict.
    pub fn new(cfg: &Sam2Config, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            image_encoder: ImageEncoder::new(&cfg.image_encoder, vb.pp("image_encoder"))?,
            prompt_encoder: PromptEncoder::new(&cfg.prompt_encoder(), vb.pp("sam_prompt_encoder"))?,
            mask_decoder: MaskDecoder::new(&cfg.mask_decoder, vb.pp("sam_mask_decoder"))?,
            no_mem_embed: vb.get((1, 1, cfg.image_encoder.d_model), "no_mem_embed")?,
            image_size: cfg.image_size,
        })
    }

    /// Side of the square input, in pixels.
    pub fn image_size(&self) -> usize {
        self.image_size
    }

    /// The prompt encoder.
    pub fn prompt_encoder(&self) -> &PromptEncoder {
        &self.prompt_encoder
    }

    /// The mask decoder.
    pub fn mask_decoder(&self) -> &MaskDecoder {
        &self.mask_decoder
    }

    /// Images `[B, 3, S, S]`, normalised by ImageNet's mean and standard deviation; freed as soon as the first layer has seen them.
    pub fn encode_image(&self, images: Tensor) -> Result<Sam2ImageFeatures> {
        let (_, channels, h, w) = images.dims4()?;
        let size = self.image_size;
        if channels != 3 || (h, w) != (size, size) {
            candle_core::bail!("SAM 2: images of shape {:?}, expected [B, 3, {size}, {size}]", images.shape());
        }
        let output = self.image_encoder.forward_projected(images, &self.mask_decoder.high_res_convs()?)?;
        let [high_res0, high_res1, vision_features] = output.backbone_fpn.as_slice() else {
            candle_core::bail!("SAM 2: {} pyramid levels, expected 3", output.backbone_fpn.len());
        };
        // channels lie side by side in the encoder's maps: added there, nothing is turned round
        let embed = vision_features.permute((0, 2, 3, 1))?.broadcast_add(&self.no_mem_embed)?;
        Ok(Sam2ImageFeatures {
            vision_features: vision_features.clone(),
            image_embed: embed.permute((0, 3, 1, 2))?,
            high_res_features: [high_res0.clone(), high_res1.clone()],
        })
    }

    /// Masks for a batch of prompts; `image_embed` and `high_res_features` have the prompts' batch or 1.
    pub fn decode(
        &self,
        image_embed: &Tensor,
        high_res_features: &[Tensor; 2],
        prompts: &PromptEmbeddings,
        multimask_output: bool,
    ) -> Result<MaskDecoderOutput> {
        let image_pe = self.prompt_encoder.dense_pe()?;
        self.mask_decoder.forward(image_embed, &image_pe, prompts, Some(high_res_features), multimask_output)
    }
}
