use serde::{Deserialize, Serialize};

/// Sizes of SAM's ViT.
///
/// Source: segment_anything/build_sam.py, segment_anything/modeling/image_encoder.py.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamVitConfig {
    /// Side, in pixels, of the square images that the checkpoint's position tables are for; other sizes interpolate.
    pub image_size: usize,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    /// Channels of a token.
    pub embed_dim: usize,
    /// Blocks.
    pub depth: usize,
    /// Heads of every block.
    pub num_heads: usize,
    /// Hidden channels of an MLP, as a multiple of the width.
    pub mlp_ratio: usize,
    /// Side of a window, in tokens.
    pub window_size: usize,
    /// The blocks, counted from 0, whose attention is over the whole map.
    pub global_attn_indexes: Vec<usize>,
    /// Channels of the image embedding.
    pub out_channels: usize,
}

impl SamVitConfig {
    fn sam(embed_dim: usize, depth: usize, num_heads: usize, global_attn_indexes: [usize; 4]) -> Self {
        Self {
            image_size: 1024,
            patch_size: 16,
            embed_dim,
            depth,
            num_heads,
            mlp_ratio: 4,
            window_size: 14,
            global_attn_indexes: global_attn_indexes.to_vec(),
            out_channels: 256,
        }
    }

    /// ViT-B: 90 million parameters.
    pub fn vit_b() -> Self {
        Self::sam(768, 12, 12, [2, 5, 8, 11])
    }

    /// ViT-L: 308 million parameters.
    pub fn vit_l() -> Self {
        Self::sam(1024, 24, 16, [5, 11, 17, 23])
    }

    /// ViT-H: 637 million parameters.
    pub fn vit_h() -> Self {
        Self::sam(1280, 32, 16, [7, 15, 23, 31])
    }

    /// Side of the position tables, in tokens.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size.max(1)
    }
}
