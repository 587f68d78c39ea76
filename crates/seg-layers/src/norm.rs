//! Layer norms.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;

use crate::trace;

/// Layer norm over the last dimension, `[..., C]` to `[..., C]`; differentiable, unlike candle-nn 0.11's fused one.
///
/// In a channels-last map `[B, H, W, C]` this is also SAM's `LayerNorm2d`.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Reads `weight [C]` and `bias [C]`. `eps` has no default on purpose: the official code mixes 1e-6 and 1e-5.
    pub fn new(channels: usize, eps: f64, vb: VarBuilder) -> Result<Self> {
        Ok(Self { weight: vb.get(channels, "weight")?, bias: vb.get(channels, "bias")?, eps })
    }

    /// `[C]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// What is added to the variance.
    pub(crate) fn eps(&self) -> f64 {
        self.eps
    }

    /// `[C]`: what a zero-variance token becomes, for instance the zeros that pad a window.
    pub fn bias(&self) -> &Tensor {
        &self.bias
    }
}

impl Module for LayerNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let _span = trace::layer("layer_norm", || 0);
        seg_ops::layer_norm(x, &self.weight, Some(&self.bias), self.eps)
    }
}

/// SAM's `LayerNorm2d`: per pixel over the channels of `[B, C, H, W]`, biased variance.
#[derive(Clone, Debug)]
pub struct LayerNorm2d {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm2d {
    /// Reads `weight [C]` and `bias [C]`.
    pub fn new(channels: usize, eps: f64, vb: VarBuilder) -> Result<Self> {
        Ok(Self { weight: vb.get(channels, "weight")?, bias: vb.get(channels, "bias")?, eps })
    }
}

impl Module for LayerNorm2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let _span = trace::layer("layer_norm_2d", || 0);
        seg_ops::layer_norm_2d(x, &self.weight, &self.bias, self.eps)
    }
}
