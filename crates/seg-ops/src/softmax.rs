//! Softmax.

use crate::composed;
use crate::error::{Result, check_float, shape_error};
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
    composed::softmax(x)
}
