use hr_decoders::{MaskDecoderConfig, PromptEncoderConfig};
use serde::{Deserialize, Serialize};
use vit_encoder::TinyVitConfig;

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
}

impl SamConfig {
    /// MobileSAM (arXiv 2306.14289): 10 million parameters.
    pub fn mobile_sam() -> Self {
        Self {
            image_encoder: SamEncoderConfig::TinyVit(TinyVitConfig::mobile_sam()),
            image_size: 1024,
            prompt_encoder: PromptEncoderConfig::new(1024),
            mask_decoder: MaskDecoderConfig::sam(),
        }
    }

    /// The same model for a square input of another size.
    pub fn with_image_size(self, image_size: usize) -> Self {
        Self { image_size, prompt_encoder: PromptEncoderConfig::new(image_size), ..self }
    }
}
