use hiera_encoder::{HieraConfig, ImageEncoderConfig};
use hr_decoders::{MaskDecoderConfig, PromptEncoderConfig};
use serde::{Deserialize, Serialize};

/// Which release the weights are of. The image model is the same in both; the video side differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sam2Version {
    /// July 2024, `sam2_hiera_*.pt`.
    #[serde(rename = "2.0")]
    V2_0,
    /// September 2024, `sam2.1_hiera_*.pt`.
    #[serde(rename = "2.1")]
    V2_1,
}

/// Sizes of a whole SAM 2.
///
/// Source: sam2/configs/sam2/*.yaml and sam2/configs/sam2.1/*.yaml.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sam2Config {
    /// The release.
    pub version: Sam2Version,
    /// Trunk and neck.
    pub image_encoder: ImageEncoderConfig,
    /// Side of the square network input, in pixels.
    pub image_size: usize,
    /// The mask decoder.
    pub mask_decoder: MaskDecoderConfig,
}

impl Sam2Config {
    /// SAM 2 on any trunk, at 1024 pixels.
    pub fn new(version: Sam2Version, trunk: HieraConfig) -> Self {
        Self {
            version,
            image_encoder: ImageEncoderConfig::new(trunk),
            image_size: 1024,
            mask_decoder: MaskDecoderConfig::sam2(),
        }
    }

    /// 39 million parameters.
    pub fn tiny(version: Sam2Version) -> Self {
        Self::new(version, HieraConfig::tiny())
    }

    /// 46 million parameters.
    pub fn small(version: Sam2Version) -> Self {
        Self::new(version, HieraConfig::small())
    }

    /// 81 million parameters.
    pub fn base_plus(version: Sam2Version) -> Self {
        Self::new(version, HieraConfig::base_plus())
    }

    /// 224 million parameters.
    pub fn large(version: Sam2Version) -> Self {
        Self::new(version, HieraConfig::large())
    }

    /// The prompt encoder that goes with `image_size`.
    pub fn prompt_encoder(&self) -> PromptEncoderConfig {
        PromptEncoderConfig { embed_dim: self.image_encoder.d_model, ..PromptEncoderConfig::new(self.image_size) }
    }
}
