//! The two-way transformer between prompt tokens and image tokens.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Attention, Epilogue, LayerNorm, Mlp, trace};
use serde::{Deserialize, Serialize};

/// Under which names a layer's MLP is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MlpKeys {
    /// `mlp.lin1`, `mlp.lin2`: SAM and its descendants.
    Lin,
    /// `mlp.layers.0`, `mlp.layers.1`: SAM 2 and its descendants.
    Layers,
}

/// Sizes of the transformer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwoWayTransformerConfig {
    /// Number of two-way layers.
    pub depth: usize,
    /// Channels of both token sets.
    pub embedding_dim: usize,
    /// Heads of every attention.
    pub num_heads: usize,
    /// Hidden channels of a layer's MLP.
    pub mlp_dim: usize,
    /// The cross attentions work on `embedding_dim / attention_downsample_rate` channels.
    pub attention_downsample_rate: usize,
    /// Names of the MLP's layers.
    pub mlp_keys: MlpKeys,
}

impl TwoWayTransformerConfig {
    /// SAM's sizes: 2 layers, 256 channels, 8 heads.
    pub fn sam(mlp_keys: MlpKeys) -> Self {
        Self { depth: 2, embedding_dim: 256, num_heads: 8, mlp_dim: 2048, attention_downsample_rate: 2, mlp_keys }
    }
}

const EPS: f64 = 1e-5;

/// One layer: tokens among themselves, tokens to image, MLP, image to tokens.
#[derive(Clone, Debug)]
struct TwoWayAttentionBlock {
    self_attn: Attention,
    norm1: LayerNorm,
    cross_attn_token_to_image: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
    norm3: LayerNorm,
    norm4: LayerNorm,
    cross_attn_image_to_token: Attention,
    skip_first_layer_pe: bool,
}

impl TwoWayAttentionBlock {
    fn new(cfg: &TwoWayTransformerConfig, skip_first_layer_pe: bool, vb: VarBuilder) -> Result<Self> {
        let (dim, heads) = (cfg.embedding_dim, cfg.num_heads);
        let inner = dim / cfg.attention_downsample_rate.max(1);
        let norm = |name: &str| LayerNorm::new(dim, EPS, vb.pp(name));
        let mlp_names = match cfg.mlp_keys {
            MlpKeys::Lin => ["lin1", "lin2"],
            MlpKeys::Layers => ["layers.0", "layers.1"],
        };
        Ok(Self {
            self_attn: Attention::new(dim, dim, heads, vb.pp("self_attn"))?,
            norm1: norm("norm1")?,
            cross_attn_token_to_image: Attention::new(dim, inner, heads, vb.pp("cross_attn_token_to_image"))?,
            norm2: norm("norm2")?,
            mlp: Mlp::with_names(&[dim, cfg.mlp_dim, dim], &mlp_names, Activation::Relu, vb.pp("mlp"))?,
            norm3: norm("norm3")?,
            norm4: norm("norm4")?,
            cross_attn_image_to_token: Attention::new(dim, inner, heads, vb.pp("cross_attn_image_to_token"))?,
            skip_first_layer_pe,
        })
    }

    /// `queries [B, N, C]` and `keys [B, M, C]` with their positions, to new queries and keys.
    fn forward(&self, queries: &Tensor, keys: &Tensor, query_pe: &Tensor, key_pe: &Tensor) -> Result<(Tensor, Tensor)> {
        let queries = if self.skip_first_layer_pe {
            // the first layer replaces the tokens: no position, no residual
            self.self_attn.forward(queries, queries, queries, Epilogue::NONE)?
        } else {
            let q = (queries + query_pe)?;
            self.self_attn.forward(&q, &q, queries, Epilogue::NONE.with_residual(queries))?
        };
        let queries = self.norm1.forward(&queries)?;

        let q = (&queries + query_pe)?;
        let k = keys.broadcast_add(key_pe)?;
        let queries = self.cross_attn_token_to_image.forward(&q, &k, keys, Epilogue::NONE.with_residual(&queries))?;
        let queries = self.norm2.forward(&queries)?;

        let queries = self.norm3.forward(&self.mlp.forward_residual(queries.clone(), &queries)?)?;

        let q = (&queries + query_pe)?;
        let keys = self.cross_attn_image_to_token.forward(&k, &q, &queries, Epilogue::NONE.with_residual(keys))?;
        let keys = self.norm4.forward(&keys)?;
        Ok((queries, keys))
    }
}

/// SAM's decoder transformer (segment_anything/modeling/transformer.py).
///
/// Keys: `layers.N.*`, `final_attn_token_to_image`, `norm_final_attn`.
#[derive(Clone, Debug)]
pub struct TwoWayTransformer {
    layers: Vec<TwoWayAttentionBlock>,
    final_attn_token_to_image: Attention,
    norm_final_attn: LayerNorm,
}

impl TwoWayTransformer {
    /// Reads the transformer; `vb` is at `mask_decoder.transformer` (SAM) or `sam_mask_decoder.transformer` (SAM 2).
    pub fn new(cfg: &TwoWayTransformerConfig, vb: VarBuilder) -> Result<Self> {
        let dim = cfg.embedding_dim;
        let inner = dim / cfg.attention_downsample_rate.max(1);
        let final_vb = vb.pp("final_attn_token_to_image");
        Ok(Self {
            layers: (0..cfg.depth)
                .map(|i| TwoWayAttentionBlock::new(cfg, i == 0, vb.pp("layers").pp(i)))
                .collect::<Result<_>>()?,
            final_attn_token_to_image: Attention::new(dim, inner, cfg.num_heads, final_vb)?,
            norm_final_attn: LayerNorm::new(dim, EPS, vb.pp("norm_final_attn"))?,
        })
    }

    /// `image [B, HW, C]` with its position encoding `image_pe [1, HW, C]` and `tokens [B, N, C]`, to the new
    /// tokens and image tokens, of the same shapes. The tokens are their own position encoding.
    pub fn forward(&self, image: &Tensor, image_pe: &Tensor, tokens: &Tensor) -> Result<(Tensor, Tensor)> {
        let (mut queries, mut keys) = (tokens.clone(), image.clone());
        let _transformer = trace::module("transformer");
        for (i, layer) in self.layers.iter().enumerate() {
            let _layer = trace::part("layers", i);
            (queries, keys) = layer.forward(&queries, &keys, tokens, image_pe)?;
        }
        let q = (&queries + tokens)?;
        let k = keys.broadcast_add(image_pe)?;
        let queries = self.final_attn_token_to_image.forward(&q, &k, &keys, Epilogue::NONE.with_residual(&queries))?;
        Ok((self.norm_final_attn.forward(&queries)?, keys))
    }
}
