use serde::{Deserialize, Serialize};

/// Sizes of TinyViT as an image encoder.
///
/// Source: MobileSAM's `vit_t` (mobile_sam/build_sam.py, mobile_sam/modeling/tiny_vit_sam.py).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TinyVitConfig {
    /// Channels of the four stages.
    pub embed_dims: [usize; 4],
    /// Blocks in each stage.
    pub depths: [usize; 4],
    /// Heads of each stage; the first, convolutional stage has none.
    pub num_heads: [usize; 4],
    /// Window side of each stage, in tokens; the first is not used.
    pub window_sizes: [usize; 4],
    /// Hidden channels of an MLP, as a multiple of its width.
    pub mlp_ratio: usize,
    /// Hidden channels of an MBConv, as a multiple of its width.
    pub mbconv_expand_ratio: usize,
    /// Channels of the image embedding.
    pub out_channels: usize,
}

impl TinyVitConfig {
    /// MobileSAM's encoder: 5 million parameters, 64×64 embedding of a 1024×1024 image.
    pub fn mobile_sam() -> Self {
        Self {
            embed_dims: [64, 128, 160, 320],
            depths: [2, 2, 6, 2],
            num_heads: [2, 4, 5, 10],
            window_sizes: [7, 7, 14, 7],
            mlp_ratio: 4,
            mbconv_expand_ratio: 4,
            out_channels: 256,
        }
    }
}
