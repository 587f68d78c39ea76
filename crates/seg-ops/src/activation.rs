//! Pointwise functions.

use crate::error::{Result, check_float};
use crate::narrow::{is_half, wide};
use crate::{Activation, composed, cpu};
use candle_core::Tensor;

/// The exact (error function) GELU of each element, `x Φ(x)`; any shape.
///
/// # Errors
/// If `x` is not of a floating type.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    activate(x, Activation::Gelu)
}

/// `activation` of each element; any shape.
///
/// # Errors
/// If `x` is not of a floating type.
pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    check_float("activate", "x", x)?;
    if activation == Activation::None {
        return Ok(x.clone());
    }
    if is_half(x) {
        return cpu::pointwise::activate(&wide(x)?, activation)?.to_dtype(x.dtype());
    }
    if x.device().is_cpu() { cpu::pointwise::activate(x, activation) } else { composed::activate(x, activation) }
}
