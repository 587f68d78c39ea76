use hiera_encoder::HieraConfig;
use serde::{Deserialize, Serialize};
use vit_encoder::DinoV2Config;

/// Sizes of SAM2-UNeXT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sam2UnextConfig {
    /// SAM 2's trunk.
    pub trunk: HieraConfig,
    /// The auxiliary encoder; its `image_size` is that of its input.
    pub dino: DinoV2Config,
    /// Side of the square images, in pixels: a multiple of 32.
    pub image_size: usize,
    /// Channels of the decoder.
    pub channels: usize,
}

impl Sam2UnextConfig {
    /// Side of DINOv2's input in the published system, in pixels.
    pub const DINO_SIZE: usize = 448;

    /// The published system: Hiera-L at 1024×1024, DINOv2 ViT-L/14 at 448×448.
    pub fn large() -> Self {
        Self::on(HieraConfig::large(), DinoV2Config::vit_l())
    }

    /// The same on other encoders; DINOv2 in the form that timm's feature extractor has, without the final norm.
    pub fn on(trunk: HieraConfig, dino: DinoV2Config) -> Self {
        let dino = DinoV2Config { image_size: Self::DINO_SIZE, final_norm: false, ..dino.timm() };
        Self { trunk, dino, image_size: 1024, channels: 128 }
    }
}
