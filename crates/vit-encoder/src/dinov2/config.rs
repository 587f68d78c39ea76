use serde::{Deserialize, Serialize};

/// Whose names the weights have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DinoKeys {
    /// facebookresearch/dinov2: `register_tokens`, `mlp.{w12,w3}`; the position table always has a row for the class token.
    #[default]
    Original,
    /// timm: `reg_token`, `mlp.{fc1,fc2}`; with registers the position table has patches alone.
    Timm,
}

/// How the position table is made to fit a map of another size; bicubic in both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PositionInterpolation {
    /// With antialiasing: timm, and the original's models with registers.
    Antialiased,
    /// Without, the factor being `(side + 0.1) / table's side`: the original's models without registers.
    Offset,
}

/// The MLP of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeedForward {
    /// Two layers, GELU between them, hidden width four times the token's.
    Mlp,
    /// `(silu(a) ⊙ b)·W₃` with `[a, b] = x·W₁₂`, hidden width 8/3 of the token's, rounded up to a multiple of 8.
    SwiGlu,
}

/// Sizes of DINOv2.
///
/// Source: dinov2/hub/backbones.py, dinov2/models/vision_transformer.py.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DinoV2Config {
    /// Side, in pixels, of the square images that the checkpoint's position table is for; other sizes interpolate.
    pub image_size: usize,
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    /// Channels of a token.
    pub embed_dim: usize,
    /// Blocks.
    pub depth: usize,
    /// Heads of every block.
    pub num_heads: usize,
    /// The blocks' MLP.
    pub feed_forward: FeedForward,
    /// Tokens beside the class token that belong to no patch.
    pub register_tokens: usize,
    /// Interpolation of the position table.
    pub interpolation: PositionInterpolation,
    /// Names of the weights.
    pub keys: DinoKeys,
    /// Whether the checkpoint has the norm behind the last block; files of timm's feature extractors do not.
    pub final_norm: bool,
    /// Added to the variance in every norm.
    pub layer_norm_eps: f64,
}

impl DinoV2Config {
    fn original(embed_dim: usize, depth: usize, num_heads: usize) -> Self {
        Self {
            image_size: 518,
            patch_size: 14,
            embed_dim,
            depth,
            num_heads,
            feed_forward: FeedForward::Mlp,
            register_tokens: 0,
            interpolation: PositionInterpolation::Offset,
            keys: DinoKeys::Original,
            final_norm: true,
            layer_norm_eps: 1e-6,
        }
    }

    /// `dinov2_vits14`: 22 million parameters.
    pub fn vit_s() -> Self {
        Self::original(384, 12, 6)
    }

    /// `dinov2_vitb14`: 87 million parameters.
    pub fn vit_b() -> Self {
        Self::original(768, 12, 12)
    }

    /// `dinov2_vitl14`: 304 million parameters.
    pub fn vit_l() -> Self {
        Self::original(1024, 24, 16)
    }

    /// `dinov2_vitg14`: 1.1 billion parameters.
    pub fn vit_g() -> Self {
        Self { feed_forward: FeedForward::SwiGlu, ..Self::original(1536, 40, 24) }
    }

    /// The variant with four register tokens (arXiv 2309.16588): `dinov2_vits14_reg` and so on.
    #[must_use]
    pub fn with_registers(self) -> Self {
        Self { register_tokens: 4, interpolation: PositionInterpolation::Antialiased, ..self }
    }

    /// The same network from a file of timm's (`vit_large_patch14_dinov2`): its names, its interpolation.
    #[must_use]
    pub fn timm(self) -> Self {
        Self { keys: DinoKeys::Timm, interpolation: PositionInterpolation::Antialiased, ..self }
    }

    /// Side of the position table, in tokens.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size.max(1)
    }

    /// Whether the position table has a row for the class token.
    pub fn class_position(&self) -> bool {
        self.keys == DinoKeys::Original || self.register_tokens == 0
    }

    /// Refuses sizes that cannot be built.
    pub fn validate(&self) -> candle_core::Result<()> {
        let Self { image_size, patch_size, depth, .. } = self;
        if *patch_size == 0 || *image_size == 0 || !image_size.is_multiple_of(*patch_size) {
            candle_core::bail!(
                "DINOv2: a position table for images of {image_size} pixels with patches of {patch_size}, expected a multiple of the patch"
            );
        }
        if *depth == 0 {
            candle_core::bail!("DINOv2: no blocks, expected at least one");
        }
        Ok(())
    }
}
