//! A post-norm transformer block in which tokens look at others.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Attention, Dropout, Epilogue, LayerNorm, Mlp};
use serde::{Deserialize, Serialize};

/// Tokens that look at a time: scores and hidden maps of a long sequence never exist as a whole.
const BLOCK: usize = 2048;

/// Sizes of a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FusionConfig {
    /// Channels of all tokens.
    pub dim: usize,
    /// Heads of the attention.
    pub num_heads: usize,
    /// Hidden channels of the feed-forward part.
    pub ffn_dim: usize,
}

/// `x = norm1(x + attention(x, memory))`, `x = norm2(x + linear2(relu(linear1(x))))`: torch's post-norm layer, with self-attention where the memory
/// is `x` itself (`VisionLanguageFusionModule` in models/sam2/modeling/sam/mask_decoder.py, `TransformerEncoderLayer` in models/evf_sam.py of MPG-SAM2).
///
/// Keys: the attention's (see [`Attention::packed`]), `linear1`, `linear2`, `norm1`, `norm2`.
#[derive(Clone, Debug)]
pub struct FusionBlock {
    attention: Attention,
    ffn: Mlp,
    norm1: LayerNorm,
    norm2: LayerNorm,
    dropout: Dropout,
}

/// What a block's tokens look at, projected: `[B, heads, M, d]` each. To be made once where many look at the same.
#[derive(Clone, Debug)]
pub struct ProjectedMemory {
    keys: Tensor,
    values: Tensor,
}

impl ProjectedMemory {
    /// This memory with more behind it.
    pub fn followed_by(&self, other: &Self) -> Result<Self> {
        let join = |a: &Tensor, b: &Tensor| Tensor::cat(&[a, b], 2);
        Ok(Self { keys: join(&self.keys, &other.keys)?, values: join(&self.values, &other.values)? })
    }
}

impl FusionBlock {
    /// Reads the block; its attention is below `attention` (`multihead_attn`, `self_attn`).
    pub fn new(cfg: &FusionConfig, attention: &str, vb: VarBuilder) -> Result<Self> {
        const EPS: f64 = 1e-5;
        let FusionConfig { dim, num_heads, ffn_dim } = *cfg;
        Ok(Self {
            attention: Attention::packed(dim, num_heads, vb.pp(attention))?,
            ffn: Mlp::with_names(&[dim, ffn_dim, dim], &["linear1", "linear2"], Activation::Relu, vb.clone())?,
            norm1: LayerNorm::new(dim, EPS, vb.pp("norm1"))?,
            norm2: LayerNorm::new(dim, EPS, vb.pp("norm2"))?,
            dropout: Dropout::OFF,
        })
    }

    /// Dropout for training: of attention weights, of the hidden numbers, and of what is added to the tokens.
    pub fn set_dropout(&mut self, dropout: &Dropout) {
        self.attention.set_dropout(dropout);
        self.ffn.set_dropout(dropout);
        self.dropout = dropout.clone();
    }

    /// Keys and values of tokens `[B, M, C]`.
    pub fn project(&self, keys: &Tensor, values: &Tensor) -> Result<ProjectedMemory> {
        Ok(ProjectedMemory { keys: self.attention.keys(keys)?, values: self.attention.values(values)? })
    }

    /// Tokens `x [B, N, C]` look at `memory`; `position [1 or B, N, C]` is added to them for the looking alone.
    pub fn forward(&self, x: &Tensor, position: Option<&Tensor>, memory: &ProjectedMemory) -> Result<Tensor> {
        let n = x.dim(1)?;
        if n <= BLOCK {
            return self.block(x, position, memory);
        }
        let blocks = (0..n).step_by(BLOCK).map(|from| {
            let part = |tokens: &Tensor| tokens.narrow(1, from, BLOCK.min(n - from))?.contiguous();
            self.block(&part(x)?, position.map(part).transpose()?.as_ref(), memory)
        });
        Tensor::cat(&blocks.collect::<Result<Vec<_>>>()?, 1)
    }

    fn block(&self, x: &Tensor, position: Option<&Tensor>, memory: &ProjectedMemory) -> Result<Tensor> {
        let queries = match position {
            Some(position) => self.attention.queries(&x.broadcast_add(position)?)?,
            None => self.attention.queries(x)?,
        };
        let attend = |epilogue: Epilogue<'_>| self.attention.attend(&queries, &memory.keys, &memory.values, epilogue);
        let x = self.norm1.forward(&self.dropout.residual(x, attend)?)?;
        self.norm2.forward(&self.dropout.residual(&x, |epilogue| self.ffn.forward_with(x.clone(), epilogue))?)
    }

    /// Tokens `[B, N, C]` look at each other.
    pub fn forward_self(&self, x: &Tensor) -> Result<Tensor> {
        self.forward(x, None, &self.project(x, x)?)
    }
}
