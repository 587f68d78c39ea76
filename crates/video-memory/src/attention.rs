//! Memory attention: a frame's features look at the memory.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Dropout, Epilogue, LayerNorm, Mlp, Observer, Unobserved, trace};

use crate::config::MemoryAttentionConfig;
use crate::memory::MemoryTokens;
use crate::rope_attention::{AxialRope, RopeAttention, RopeCache};

const EPS: f64 = 1e-5;

/// Weight of the sine position that is added to the features once, at the input.
const INPUT_POSITION: f64 = 0.1;

/// One pre-norm layer: tokens among themselves, tokens to memory, MLP.
#[derive(Clone, Debug)]
struct MemoryAttentionLayer {
    self_attn: RopeAttention,
    cross_attn_image: RopeAttention,
    mlp: Mlp,
    norm1: LayerNorm,
    norm2: LayerNorm,
    norm3: LayerNorm,
    dropout: Dropout,
}

impl MemoryAttentionLayer {
    fn new(cfg: &MemoryAttentionConfig, vb: VarBuilder) -> Result<Self> {
        let (dim, heads) = (cfg.d_model, cfg.num_heads);
        let widths = [dim, cfg.dim_feedforward, dim];
        Ok(Self {
            self_attn: RopeAttention::new(dim, dim, heads, vb.pp("self_attn"))?,
            cross_attn_image: RopeAttention::new(dim, cfg.kv_in_dim, heads, vb.pp("cross_attn_image"))?,
            mlp: Mlp::with_names(&widths, &["linear1", "linear2"], Activation::Relu, vb.clone())?,
            norm1: LayerNorm::new(dim, EPS, vb.pp("norm1"))?,
            norm2: LayerNorm::new(dim, EPS, vb.pp("norm2"))?,
            norm3: LayerNorm::new(dim, EPS, vb.pp("norm3"))?,
            dropout: Dropout::OFF,
        })
    }

    fn set_dropout(&mut self, dropout: &Dropout) {
        self.self_attn.set_dropout(dropout);
        self.cross_attn_image.set_dropout(dropout);
        self.mlp.set_dropout(dropout);
        self.dropout = dropout.clone();
    }

    /// `x [B, HW, C]`; `keys` are the memory with its positions.
    fn forward(&self, x: Tensor, keys: &Tensor, memory: &MemoryTokens, rope: &AxialRope) -> Result<Tensor> {
        let normed = self.norm1.forward(&x)?;
        let x = self.dropout.residual(&x, |last| self.self_attn.forward(&normed, &normed, &normed, rope, 0, last))?;
        let normed = self.norm2.forward(&x)?;
        let (values, pointers) = (&memory.tokens, memory.num_obj_ptr_tokens);
        let look = |last: Epilogue<'_>| self.cross_attn_image.forward(&normed, keys, values, rope, pointers, last);
        let x = self.dropout.residual(&x, look)?;
        let normed = self.norm3.forward(&x)?;
        self.dropout.residual(&x, |last| self.mlp.forward_with(normed, last))
    }
}

/// SAM 2's memory attention (sam2/modeling/memory_attention.py): layers of RoPE self-attention, RoPE cross-attention
/// to the memory, and an MLP; positions are added to the memory's keys, never to the features inside.
///
/// Keys: `layers.N.{self_attn,cross_attn_image}.{q,k,v,out}_proj`, `layers.N.linear{1,2}`, `layers.N.norm{1,2,3}`, `norm`.
#[derive(Clone, Debug)]
pub struct MemoryAttention {
    layers: Vec<MemoryAttentionLayer>,
    norm: LayerNorm,
    rope_theta: f64,
    rope: RopeCache,
}

impl MemoryAttention {
    /// Reads the module; `vb` is at `memory_attention`.
    pub fn new(cfg: &MemoryAttentionConfig, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            layers: (0..cfg.num_layers)
                .map(|i| MemoryAttentionLayer::new(cfg, vb.pp("layers").pp(i)))
                .collect::<Result<_>>()?,
            norm: LayerNorm::new(cfg.d_model, EPS, vb.pp("norm"))?,
            rope_theta: cfg.rope_theta,
            rope: RopeCache::default(),
        })
    }

    /// Dropout for training, the same in all places: of attention weights, of the MLP's hidden numbers, and of what is added to the features.
    pub fn set_dropout(&mut self, dropout: &Dropout) {
        self.layers.iter_mut().for_each(|layer| layer.set_dropout(dropout));
    }

    /// The features of a frame, `curr [B, HW, C]` with their sine position `curr_pos [1 or B, HW, C]`, conditioned on
    /// `memory`: `[B, HW, C]`. `size` is `(H, W)`.
    ///
    /// # Errors
    /// If the tokens are not a map of `size`, or the memory is not of whole maps of that size and pointers.
    pub fn forward(
        &self,
        curr: &Tensor,
        curr_pos: &Tensor,
        size: (usize, usize),
        memory: &MemoryTokens,
    ) -> Result<Tensor> {
        self.forward_with(curr, curr_pos, size, memory, &mut Unobserved)
    }

    /// As [`Self::forward`]; `observer` gets `layerN` `[B, HW, C]`.
    pub fn forward_with(
        &self,
        curr: &Tensor,
        curr_pos: &Tensor,
        size: (usize, usize),
        memory: &MemoryTokens,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let _module = trace::module("memory_attention");
        if curr.dim(1)? != size.0 * size.1 {
            candle_core::bail!("memory attention: {} tokens, expected a map of {size:?}", curr.dim(1)?);
        }
        let mut x = curr.broadcast_add(&(curr_pos * INPUT_POSITION)?)?;
        let rope = self.rope(size, &x)?;
        let keys = memory.tokens.broadcast_add(&memory.positions)?; // the same in every layer
        for (i, layer) in self.layers.iter().enumerate() {
            let _layer = trace::part("layers", i);
            x = layer.forward(x, &keys, memory, &rope)?;
            observer.observe(&format!("layer{i}"), &x)?;
        }
        self.norm.forward(&x)
    }

    /// The rotation tables for a map of `size` tokens.
    fn rope(&self, size: (usize, usize), like: &Tensor) -> Result<AxialRope> {
        let Some(layer) = self.layers.first() else {
            candle_core::bail!("memory attention: 0 layers, expected at least 1");
        };
        self.rope.get(size, || AxialRope::new(layer.self_attn.head_dim()?, self.rope_theta, size, like))
    }
}
