use crate::transformer::{MlpKeys, TwoWayTransformerConfig};
use serde::{Deserialize, Serialize};

/// Sizes of Pi-SAM's decoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PiSamDecoderConfig {
    /// SAM's two-way transformer; its width C is the decoder's.
    pub transformer: TwoWayTransformerConfig,
    /// SAM's own mask tokens, which go through the transformer although no mask is made of them.
    pub num_mask_tokens: usize,
    /// Channels of the image encoder's blocks.
    pub vit_dim: usize,
}

impl PiSamDecoderConfig {
    fn new(vit_dim: usize) -> Self {
        Self { transformer: TwoWayTransformerConfig::sam(MlpKeys::Lin), num_mask_tokens: 4, vit_dim }
    }

    /// On SAM's ViT-B: 5.62 million parameters, the Precise Interactor included.
    pub fn vit_b() -> Self {
        Self::new(768)
    }

    /// On SAM's ViT-L: 5.88 million parameters.
    pub fn vit_l() -> Self {
        Self::new(1024)
    }

    /// On SAM's ViT-H: 6.15 million parameters.
    pub fn vit_h() -> Self {
        Self::new(1280)
    }

    /// Channels of the maps at a quarter of the input's size: C/8.
    pub fn map_channels(&self) -> usize {
        self.transformer.embedding_dim / 8
    }

    /// Channels of the maps at the input's size, and of the embedded pixels: C/32.
    pub fn pixel_channels(&self) -> usize {
        self.transformer.embedding_dim / 32
    }
}
