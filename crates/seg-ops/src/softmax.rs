//! Softmax.

use crate::error::{Result, check_float, shape_error};
use crate::narrow::{is_half, wide};
use crate::{composed, cpu};
use candle_core::Tensor;

/// Softmax over the last dimension.
///
/// # Errors
/// If `x` is a scalar or not of a floating type.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    check_float("softmax", "x", x)?;
    if x.rank() == 0 {
        return shape_error("softmax", "x", x, "at least one dimension");
    }
    if is_half(x) {
        return cpu::softmax::softmax(&wide(x)?)?.to_dtype(x.dtype());
    }
    if x.device().is_cpu() { cpu::softmax::softmax(x) } else { composed::softmax(x) }
}
