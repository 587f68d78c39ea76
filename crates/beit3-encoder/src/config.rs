use serde::{Deserialize, Serialize};

/// Sizes of BEiT-3.
///
/// Source: unilm/beit3/modeling_utils.py, torchscale 0.2's `EncoderConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beit3Config {
    /// Side, in pixels, of the square images that the checkpoint's position table is for; other sizes interpolate.
    pub image_size: usize,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    /// Channels of a token.
    pub embed_dim: usize,
    /// Layers.
    pub depth: usize,
    /// Heads of every layer.
    pub num_heads: usize,
    /// Hidden width of a layer's feed-forward part.
    pub ffn_dim: usize,
    /// Rows of the text's embedding table.
    pub vocab_size: usize,
    /// Rows of the text's position table; the first [`Beit3Config::POSITION_OFFSET`] are never used.
    pub max_text_positions: usize,
    /// Added to the variance in every norm.
    pub layer_norm_eps: f64,
}

impl Beit3Config {
    /// The row of a position table that the first token takes (fairseq counts from there).
    pub const POSITION_OFFSET: usize = 2;

    fn published(embed_dim: usize, depth: usize, num_heads: usize) -> Self {
        Self {
            image_size: 224,
            patch_size: 16,
            embed_dim,
            depth,
            num_heads,
            ffn_dim: 4 * embed_dim,
            vocab_size: 64010,
            max_text_positions: 1024,
            layer_norm_eps: 1e-5,
        }
    }

    /// BEiT-3 base: 221 million parameters, 49 million of them the text's embedding table.
    pub fn base() -> Self {
        Self::published(768, 12, 12)
    }

    /// BEiT-3 large: 673 million parameters.
    pub fn large() -> Self {
        Self::published(1024, 24, 16)
    }

    /// Side of the vision position table, in patches.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size.max(1)
    }

    /// Rows of the vision position table: the unused ones, the class token's, one a patch.
    pub fn vision_positions(&self) -> usize {
        Self::POSITION_OFFSET + 1 + self.grid().pow(2)
    }

    /// Tokens that a text can have at most: 1022 in the published models.
    pub fn max_text_tokens(&self) -> usize {
        self.max_text_positions.saturating_sub(Self::POSITION_OFFSET)
    }

    /// Refuses sizes that cannot be built.
    pub fn validate(&self) -> candle_core::Result<()> {
        let Self { image_size, patch_size, embed_dim, depth, num_heads, ffn_dim, vocab_size, .. } = self;
        if *patch_size == 0 || *image_size == 0 || !image_size.is_multiple_of(*patch_size) {
            candle_core::bail!(
                "BEiT-3: a position table for images of {image_size} pixels with patches of {patch_size}, expected a multiple of the patch"
            );
        }
        if *num_heads == 0 || *embed_dim == 0 || !embed_dim.is_multiple_of(*num_heads) {
            candle_core::bail!(
                "BEiT-3: width {embed_dim} and {num_heads} heads, expected a width that the heads divide"
            );
        }
        if *depth == 0 || *ffn_dim == 0 || *vocab_size == 0 || self.max_text_tokens() == 0 {
            candle_core::bail!(
                "BEiT-3: depth {depth}, hidden width {ffn_dim}, vocabulary {vocab_size}, {} text positions, expected positive sizes and positions above {}",
                self.max_text_positions,
                Self::POSITION_OFFSET
            );
        }
        Ok(())
    }
}
