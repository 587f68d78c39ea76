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

    /// `image [B, M, C]` with its position, and what both cross attentions make of it.
    fn project(&self, image: Tensor, image_pe: &Tensor) -> Result<ProjectedImage> {
        let placed = image.broadcast_add(image_pe)?;
        Ok(ProjectedImage {
            keys: self.cross_attn_token_to_image.keys(&placed)?,
            values: self.cross_attn_token_to_image.values(&image)?,
            queries: self.cross_attn_image_to_token.queries(&placed)?,
            image,
        })
    }

    /// `queries [B, N, C]` with their position and an image, `[B or 1, M, C]`, to new queries and image tokens.
    fn forward(&self, queries: &Tensor, query_pe: &Tensor, image: &ProjectedImage) -> Result<(Tensor, Tensor)> {
        let queries = if self.skip_first_layer_pe {
            // the first layer replaces the tokens: no position, no residual
            self.self_attn.forward(queries, queries, queries, Epilogue::NONE)?
        } else {
            let q = (queries + query_pe)?;
            self.self_attn.forward(&q, &q, queries, Epilogue::NONE.with_residual(queries))?
        };
        let queries = self.norm1.forward(&queries)?;

        let image = image.shared_by(queries.dim(0)?)?;
        let (to_image, to_tokens) = (&self.cross_attn_token_to_image, &self.cross_attn_image_to_token);
        let q = to_image.queries(&(&queries + query_pe)?)?;
        let queries = to_image.attend(&q, &image.keys, &image.values, Epilogue::NONE.with_residual(&queries))?;
        let queries = self.norm2.forward(&queries)?;

        let queries = self.norm3.forward(&self.mlp.forward_residual(queries.clone(), &queries)?)?;

        let (k, v) = (to_tokens.keys(&(&queries + query_pe)?)?, to_tokens.values(&queries)?);
        let tokens = to_tokens.attend(&image.queries, &k, &v, Epilogue::NONE.with_residual(&image.image))?;
        let tokens = self.norm4.forward(&tokens)?;
        Ok((queries, tokens))
    }
}

/// An image before a layer, `[B, M, C]`, and what the layer's cross attentions make of it whatever the tokens are.
#[derive(Clone, Debug)]
pub struct ProjectedImage {
    image: Tensor,
    keys: Tensor,    // [B, heads, M, d], of tokens to image
    values: Tensor,  // [B, heads, M, d]
    queries: Tensor, // [B, heads, M, d], of image to tokens
}

impl ProjectedImage {
    /// The same for each of `batch` prompts, if it is one image's.
    fn shared_by(&self, batch: usize) -> Result<Self> {
        let share = |x: &Tensor| {
            let mut dims = x.dims().to_vec();
            dims[0] = batch;
            x.broadcast_as(dims)
        };
        Ok(Self {
            image: share(&self.image)?,
            keys: share(&self.keys)?,
            values: share(&self.values)?,
            queries: share(&self.queries)?,
        })
    }

    /// Number of images.
    pub fn batch(&self) -> Result<usize> {
        self.image.dim(0)
    }

    /// Whether gradients flow through it.
    pub fn is_tracked(&self) -> bool {
        [&self.image, &self.keys, &self.values, &self.queries].iter().any(|part| part.track_op())
    }

    /// Memory that it takes.
    pub fn bytes(&self) -> usize {
        let parts = [&self.image, &self.keys, &self.values, &self.queries];
        parts.iter().map(|part| part.elem_count() * part.dtype().size_in_bytes()).sum()
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
        self.forward_projected(&self.project(image, image_pe)?, image_pe, tokens)
    }

    /// The part of [`Self::forward`] that no token has a say in: a quarter of its products where the tokens are few.
    pub fn project(&self, image: &Tensor, image_pe: &Tensor) -> Result<ProjectedImage> {
        let Some(first) = self.layers.first() else {
            candle_core::bail!("two-way transformer: depth 0, expected 1 or more")
        };
        let _transformer = trace::module("transformer");
        first.project(image.clone(), image_pe)
    }

    /// The rest of [`Self::forward`]; an image of batch 1 serves all tokens.
    pub fn forward_projected(
        &self,
        image: &ProjectedImage,
        image_pe: &Tensor,
        tokens: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let _transformer = trace::module("transformer");
        let (mut queries, mut keys) = (tokens.clone(), image.image.clone());
        for (i, layer) in self.layers.iter().enumerate() {
            let _layer = trace::part("layers", i);
            (queries, keys) = match i {
                0 => layer.forward(&queries, tokens, image)?,
                _ => layer.forward(&queries, tokens, &layer.project(keys, image_pe)?)?,
            };
        }
        let q = (&queries + tokens)?;
        let k = keys.broadcast_add(image_pe)?;
        let queries = self.final_attn_token_to_image.forward(&q, &k, &keys, Epilogue::NONE.with_residual(&queries))?;
        Ok((self.norm_final_attn.forward(&queries)?, keys))
    }
}
