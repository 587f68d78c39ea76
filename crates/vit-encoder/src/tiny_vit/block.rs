//! The transformer block: windowed attention with learned offset biases, a depthwise convolution, an MLP.

use candle_core::{Device, Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Conv2dBn, Epilogue, LayerNorm, Linear, Mlp, Observer, bands, conv, trace};
use seg_ops::{QkvOrder, WindowAttention};

/// Windowed attention whose scores carry a learned bias for every distance between two tokens.
///
/// Keys: `norm`, `qkv` (per head: query, key, value), `proj`, `attention_biases [heads, window²]`.
#[derive(Clone, Debug)]
struct Attention {
    norm: LayerNorm,
    qkv: Linear,
    proj: Linear,
    attention_biases: Tensor,
    bias_index: Tensor, // [window² * window²] of offsets, u32
    params: WindowAttention,
}

impl Attention {
    fn new(dim: usize, num_heads: usize, window: usize, vb: VarBuilder) -> Result<Self> {
        if num_heads == 0 || !dim.is_multiple_of(num_heads) || window == 0 {
            candle_core::bail!(
                "TinyViT attention: width {dim}, {num_heads} heads, window {window}: expected a width that the heads \
                 divide and a positive window"
            );
        }
        Ok(Self {
            norm: LayerNorm::new(dim, 1e-5, vb.pp("norm"))?,
            qkv: Linear::new(dim, 3 * dim, vb.pp("qkv"))?,
            proj: Linear::new(dim, dim, vb.pp("proj"))?,
            attention_biases: vb.get((num_heads, window * window), "attention_biases")?,
            bias_index: offset_index(window, vb.device())?,
            params: WindowAttention {
                heads: num_heads,
                window,
                query_pool: 1,
                order: QkvOrder::HeadsSplit,
                scale: ((dim / num_heads) as f64).powf(-0.5),
            },
        })
    }

    /// `[heads, window², window²]`: gathered from the loaded biases, every time that they may have changed.
    fn bias(&self) -> Result<Tensor> {
        let heads = self.params.heads;
        let tokens = self.params.window * self.params.window;
        self.attention_biases.index_select(&self.bias_index, 1)?.reshape((heads, tokens, tokens))
    }

    /// A zero token that pads a window: the norm turns it into its bias, `[3C]` after `qkv`.
    fn pad_row(&self) -> Result<Tensor> {
        self.qkv.forward(&self.norm.bias().unsqueeze(0)?)?.squeeze(0)
    }

    /// `x + attention(x)`, `[B, H, W, C]` to the same; large maps in bands of whole windows.
    fn forward_residual(&self, x: Tensor) -> Result<Tensor> {
        let (pad, bias) = (self.pad_row()?, self.bias()?);
        let attend = |x: Tensor| {
            let qkv = self.qkv.forward(&self.norm.forward(&x)?)?;
            let attended = {
                let (b, h, w, c) = x.dims4()?;
                let (heads, keys) = (self.params.heads, self.params.window * self.params.window);
                let _span = trace::layer("attention", || trace::attention_flops(b * heads, h * w, keys, c / heads));
                seg_ops::window_attention(&qkv, &self.params, Some(&pad), Some(&bias))?
            };
            drop(qkv);
            self.proj.forward_with(&attended, Epilogue::NONE.with_residual(&x))
        };
        match bands::rows(&x, self.params.window)? {
            Some(rows) if !self.qkv.weight().track_op() => bands::map(x, rows, attend),
            _ => attend(x),
        }
    }

    /// The output of every window with its padding, `[B * windows, window², C]`: what the reference calls the
    /// attention's output. For observers only.
    fn forward_windows(&self, x: &Tensor) -> Result<Tensor> {
        let w = self.params.window;
        let (b, height, width, c) = x.dims4()?;
        let (rows, columns) = (height.div_ceil(w), width.div_ceil(w));
        let x = x.pad_with_zeros(1, 0, rows * w - height)?.pad_with_zeros(2, 0, columns * w - width)?;
        let qkv = self.qkv.forward(&self.norm.forward(&x)?)?;
        let attended = seg_ops::window_attention(&qkv, &self.params, None, Some(&self.bias()?))?;
        self.proj.forward(&attended)?.reshape(vec![b, rows, w, columns, w, c])?.transpose(2, 3)?.reshape((
            b * rows * columns,
            w * w,
            c,
        ))
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
    attn: Attention,
    local_conv: Conv2dBn,
    mlp_norm: LayerNorm,
    mlp: Mlp,
}

impl TinyVitBlock {
    /// Reads a block of `dim` channels.
    pub fn new(dim: usize, num_heads: usize, window: usize, mlp_ratio: usize, vb: VarBuilder) -> Result<Self> {
        let mlp = vb.pp("mlp");
        Ok(Self {
            attn: Attention::new(dim, num_heads, window, vb.pp("attn"))?,
            local_conv: Conv2dBn::new(dim, dim, 3, conv::depthwise_nhwc(dim, 3, 1), vb.pp("local_conv"))?,
            mlp_norm: LayerNorm::new(dim, 1e-5, mlp.pp("norm"))?,
            mlp: Mlp::with_names(&[dim, mlp_ratio * dim, dim], &["fc1", "fc2"], Activation::Gelu, mlp)?,
        })
    }

    /// `[B, H, W, C]` to the same; an active observer sees `{name}.attn`, `[B * windows, window², C]`, and `{name}`,
    /// `[B, H * W, C]`.
    pub fn forward_with(&self, x: Tensor, name: &str, observer: &mut dyn Observer) -> Result<Tensor> {
        if observer.active() {
            observer.observe(&format!("{name}.attn"), &self.attn.forward_windows(&x)?)?;
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
