//! Fully connected layer.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_ops::Epilogue;

use crate::trace;

/// `y = x·Wᵀ + b` over the last dimension: `[..., in_dim]` to `[..., out_dim]`.
///
/// Keys: `weight [out_dim, in_dim]`, `bias [out_dim]` (torch's `nn.Linear`).
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Reads `weight` and `bias`.
    pub fn new(in_dim: usize, out_dim: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self { weight: vb.get((out_dim, in_dim), "weight")?, bias: Some(vb.get(out_dim, "bias")?) })
    }

    /// Reads `weight` alone.
    pub fn new_no_bias(in_dim: usize, out_dim: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self { weight: vb.get((out_dim, in_dim), "weight")?, bias: None })
    }

    /// The layer of tensors that are there already: `weight [out_dim, in_dim]`, `bias [out_dim]`.
    pub(crate) fn of(weight: Tensor, bias: Tensor) -> Self {
        Self { weight, bias: Some(bias) }
    }

    /// The layer followed by `epilogue` (activation, scale, residual) in the same pass.
    pub fn forward_with(&self, x: &Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
        let (out_dim, in_dim) = self.weight.dims2()?;
        let _span = trace::sized_layer(|| {
            let rows = x.elem_count() / in_dim.max(1);
            (format!("linear {in_dim} -> {out_dim}"), trace::product_flops(rows, out_dim, in_dim))
        });
        seg_ops::linear(x, &self.weight, self.bias.as_ref(), epilogue)
    }

    /// `[out_dim, in_dim]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// `[out_dim]`.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }
}

impl Module for Linear {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_with(x, Epilogue::NONE)
    }
}
