//! The transformer block: attention over all tokens and an MLP, each with a learned factor for every channel.

use candle_core::{D, Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Epilogue, LayerNorm, Linear, Mlp};
use seg_ops::QkvOrder;

use super::config::{DinoKeys, DinoV2Config, FeedForward};
use crate::attention::{Attention, Positions};

/// `x + γ₁ ⊙ attention(norm1(x))`, `x + γ₂ ⊙ mlp(norm2(x))`.
///
/// Keys: `norm1`, `attn.{qkv,proj}`, `ls1.gamma`, `norm2`, `mlp.{fc1,fc2}` (or `mlp.{w12,w3}`), `ls2.gamma`.
#[derive(Clone, Debug)]
pub(super) struct Block {
    norm1: LayerNorm,
    attn: Attention,
    ls1: Tensor, // [C]
    norm2: LayerNorm,
    mlp: FeedForwardLayers,
    ls2: Tensor, // [C]
}

impl Block {
    pub fn new(cfg: &DinoV2Config, vb: VarBuilder) -> Result<Self> {
        let (dim, eps) = (cfg.embed_dim, cfg.layer_norm_eps);
        Ok(Self {
            norm1: LayerNorm::new(dim, eps, vb.pp("norm1"))?,
            attn: Attention::new("DINOv2's block", dim, cfg.num_heads, 0, QkvOrder::SplitHeads, vb.pp("attn"))?,
            ls1: vb.get(dim, "ls1.gamma")?,
            norm2: LayerNorm::new(dim, eps, vb.pp("norm2"))?,
            mlp: FeedForwardLayers::new(cfg, vb.pp("mlp"))?,
            ls2: vb.get(dim, "ls2.gamma")?,
        })
    }

    /// `[B, 1, N, C]` to the same: to the attention the tokens are a map of one row.
    pub fn forward(&self, x: Tensor) -> Result<Tensor> {
        let x = self.attn.forward_residual(x, &self.norm1, None, &Positions::None, Some(&self.ls1))?;
        self.mlp.forward_with(self.norm2.forward(&x)?, Epilogue::NONE.with_scale(&self.ls2).with_residual(&x))
    }
}

#[derive(Clone, Debug)]
enum FeedForwardLayers {
    Mlp(Mlp),
    SwiGlu { w12: Linear, w3: Linear },
}

impl FeedForwardLayers {
    fn new(cfg: &DinoV2Config, vb: VarBuilder) -> Result<Self> {
        let dim = cfg.embed_dim;
        Ok(match cfg.feed_forward {
            FeedForward::Mlp => {
                Self::Mlp(Mlp::with_names(&[dim, 4 * dim, dim], &["fc1", "fc2"], Activation::Gelu, vb)?)
            }
            FeedForward::SwiGlu => {
                let hidden = (4 * dim * 2 / 3).next_multiple_of(8);
                let (w12, w3) = match cfg.keys {
                    DinoKeys::Original => ("w12", "w3"),
                    DinoKeys::Timm => ("fc1", "fc2"),
                };
                Self::SwiGlu {
                    w12: Linear::new(dim, 2 * hidden, vb.pp(w12))?,
                    w3: Linear::new(hidden, dim, vb.pp(w3))?,
                }
            }
        })
    }

    fn forward_with(&self, x: Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
        match self {
            Self::Mlp(mlp) => mlp.forward_with(x, epilogue),
            Self::SwiGlu { w12, w3 } => {
                let both = w12.forward(&x)?;
                drop(x);
                let hidden = both.dim(D::Minus1)? / 2;
                let gate = both.narrow(D::Minus1, 0, hidden)?.contiguous()?;
                let silu = (seg_ops::activate(&gate, Activation::Sigmoid)? * gate)?;
                w3.forward_with(&(silu * both.narrow(D::Minus1, hidden, hidden)?)?, epilogue)
            }
        }
    }
}
