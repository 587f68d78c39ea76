//! Pointwise functions.

use crate::error::{Result, check_float};
use crate::{Activation, composed};
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
    composed::activate(x, activation)
}
