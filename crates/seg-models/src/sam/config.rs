use hr_decoders::{MaskDecoderConfig, PromptEncoderConfig};
use serde::{Deserialize, Serialize};
use vit_encoder::{SamVitConfig, TinyVitConfig};

/// Sizes of a SAM of the first generation.
///
/// Source: segment_anything/build_sam.py, mobile_sam/build_sam.py.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamConfig {
    /// The image encoder.
    pub image_encoder: SamEncoderConfig,
    /// Side of the square network input, in pixels.
    pub image_size: usize,
    /// The prompt encoder.
    pub prompt_encoder: PromptEncoderConfig,
    /// The mask decoder.
    pub mask_decoder: MaskDecoderConfig,
}

/// Sizes of the image encoders that SAM runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamEncoderConfig {
    /// MobileSAM's.
    TinyVit(TinyVitConfig),
    /// SAM's own.
    Vit(SamVitConfig),
}

impl SamConfig {
    fn new(image_encoder: SamEncoderConfig) -> Self {
        Self {
            image_encoder,
            image_size: 1024,
            prompt_encoder: PromptEncoderConfig::new(1024),
            mask_decoder: MaskDecoderConfig::sam(),
        }
    }

    /// MobileSAM (arXiv 2306.14289): 10 million parameters.
    pub fn mobile_sam() -> Self {
        Self::new(SamEncoderConfig::TinyVit(TinyVitConfig::mobile_sam()))
    }

    /// SAM ViT-B: 94 million parameters.
    pub fn vit_b() -> Self {
        Self::new(SamEncoderConfig::Vit(SamVitConfig::vit_b()))
    }

    /// SAM ViT-L: 312 million parameters.
    pub fn vit_l() -> Self {
        Self::new(SamEncoderConfig::Vit(SamVitConfig::vit_l()))
    }

    /// SAM ViT-H: 641 million parameters.
    pub fn vit_h() -> Self {
        Self::new(SamEncoderConfig::Vit(SamVitConfig::vit_h()))
    }

    /// The same model for a square input of another size, a multiple of 16; the ViT interpolates its position tables.
    pub fn with_image_size(self, image_size: usize) -> Self {
        Self { image_size, prompt_encoder: PromptEncoderConfig::new(image_size), ..self }
    }
}
