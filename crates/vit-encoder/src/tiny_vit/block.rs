//! The transformer block: windowed attention with learned offset biases, a depthwise convolution, an MLP.

use candle_core::{Device, Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Conv2dBn, LayerNorm, Mlp, Observer, bands, conv};
use seg_ops::QkvOrder;

use crate::attention::{Attention, Positions, pad_to_windows};

/// Windowed attention whose scores carry a learned bias for every distance between two tokens.
///
/// Keys: `norm`, `qkv` (per head: query, key, value), `proj`, `attention_biases [heads, window²]`.
#[derive(Clone, Debug)]
struct BiasedAttention {
    norm: LayerNorm,
    attn: Attention,
    attention_biases: Tensor,
    bias_index: Tensor, // [window² * window²] of offsets, u32
}

impl BiasedAttention {
    fn new(dim: usize, num_heads: usize, window: usize, vb: VarBuilder) -> Result<Self> {
        const OWNER: &str = "TinyViT's block";
        if window == 0 {
            candle_core::bail!("{OWNER}: windows of 0, expected at least one token");
        }
        Ok(Self {
            norm: LayerNorm::new(dim, 1e-5, vb.pp("norm"))?,
            attn: Attention::new(OWNER, dim, num_heads, window, QkvOrder::HeadsSplit, vb.clone())?,
            attention_biases: vb.get((num_heads, window * window), "attention_biases")?,
            bias_index: offset_index(window, vb.device())?,
        })
    }

    /// `[heads, window², window²]`: gathered from the loaded biases, every time that they may have changed.
    fn bias(&self) -> Result<Positions<'static>> {
        let (heads, tokens) = (self.attn.heads(), self.attn.window().pow(2));
        let bias = self.attention_biases.index_select(&self.bias_index, 1)?.reshape((heads, tokens, tokens))?;
        Ok(Positions::Bias(bias))
    }

    /// A zero token that pads a window: the norm turns it into its bias, `[3C]` after `qkv`.
    fn pad_row(&self) -> Result<Tensor> {
        self.attn.qkv.forward(&self.norm.bias().unsqueeze(0)?)?.squeeze(0)
    }

    /// `x + attention(norm(x))`, `[B, H, W, C]` to the same.
    fn forward_residual(&self, x: Tensor) -> Result<Tensor> {
        self.attn.forward_residual(x, &self.norm, Some(&self.pad_row()?), &self.bias()?, None)
    }

    /// The output of every window with its padding, `[B * windows, window², C]`. For observers only.
    fn forward_windows(&self, x: &Tensor) -> Result<Tensor> {
        let padded = pad_to_windows(x, self.attn.window())?;
        self.attn.forward_windows(&self.norm.forward(&padded)?, &self.bias()?)?.flatten(1, 2)
    }
}

/// Which bias belongs to each pair of a window's tokens: that of `(|Δy|, |Δx|)`, row-major. `[window⁴]`, u32.
pub fn offset_index(window: usize, device: &Device) -> Result<Tensor> {
    let tokens = window * window;
    let mut index = Vec::with_capacity(tokens * tokens);
    for a in 0..tokens {
        for b in 0..tokens {
            let dy = (a / window).abs_diff(b / window);
            let dx = (a % window).abs_diff(b % window);
            index.push((dy * window + dx) as u32);
        }
    }
    Tensor::from_vec(index, tokens * tokens, device)
}

/// `x + attention(x)`, a depthwise 3×3 convolution with its batch norm (no residual, no activation), `x + mlp(x)`.
///
/// Keys: `attn`, `local_conv`, `mlp.{norm,fc1,fc2}`.
#[derive(Clone, Debug)]
pub struct TinyVitBlock {
    attn: BiasedAttention,
    local_conv: Conv2dBn,
    mlp_norm: LayerNorm,
    mlp: Mlp,
}

impl TinyVitBlock {
    /// Reads a block of `dim` channels.
    pub fn new(dim: usize, num_heads: usize, window: usize, mlp_ratio: usize, vb: VarBuilder) -> Result<Self> {
        let mlp = vb.pp("mlp");
        Ok(Self {
            attn: BiasedAttention::new(dim, num_heads, window, vb.pp("attn"))?,
            local_conv: Conv2dBn::new(dim, dim, 3, conv::depthwise_nhwc(dim, 3, 1), vb.pp("local_conv"))?,
            mlp_norm: LayerNorm::new(dim, 1e-5, mlp.pp("norm"))?,
            mlp: Mlp::with_names(&[dim, mlp_ratio * dim, dim], &["fc1", "fc2"], Activation::Gelu, mlp)?,
        })
    }

    /// `[B, H, W, C]` to the same; the observer sees `{name}`, `[B, H * W, C]`, and one that wants it `{name}.attn`,
    /// `[B * windows, window², C]`.
    pub fn forward_with(&self, x: Tensor, name: &str, observer: &mut dyn Observer) -> Result<Tensor> {
        let attn_name = format!("{name}.attn");
        if observer.wants(&attn_name) {
            observer.observe(&attn_name, &self.attn.forward_windows(&x)?)?;
        }
        let x = self.attn.forward_residual(x)?;
        let x = self.local_conv.forward(&x)?;
        let mlp = |x: Tensor| self.mlp.forward_residual(self.mlp_norm.forward(&x)?, &x);
        let x = match bands::rows(&x, 1)? {
            Some(rows) if !self.mlp_norm.weight().track_op() => bands::map(x, rows, mlp)?,
            _ => mlp(x)?,
        };
        observer.observe(name, &x.flatten(1, 2)?)?;
        Ok(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_numbered_as_the_reference_meets_them() -> Result<()> {
        let index = offset_index(2, &Device::Cpu)?.to_vec1::<u32>()?;
        assert_eq!(index, [0, 1, 2, 3, 1, 0, 3, 2, 2, 3, 0, 1, 3, 2, 1, 0]);
        Ok(())
    }
}
