//! 16-bit types on the CPU.

use crate::error::Result;
use candle_core::{DType, Tensor};

/// Whether the CPU's kernels must be given `x` as f32.
pub(crate) fn is_half(x: &Tensor) -> bool {
    x.device().is_cpu() && matches!(x.dtype(), DType::F16 | DType::BF16)
}

/// `x` as f32.
pub(crate) fn wide(x: &Tensor) -> Result<Tensor> {
    x.to_dtype(DType::F32)
}

/// An optional tensor as f32.
pub(crate) fn wide_option(x: Option<&Tensor>) -> Result<Option<Tensor>> {
    x.map(wide).transpose()
}
