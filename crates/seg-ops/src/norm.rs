//! Layer normalisation.

use crate::composed;
use crate::error::{Result, check_float, check_vector, parameter_error, shape_error};
use candle_core::Tensor;

/// `(x - mean) / sqrt(variance + eps) * weight + bias` over the last dimension, with the biased variance: `[..., C]`, weight and bias `[C]`.
///
/// # Errors
/// If shapes or types do not fit together, or `eps` is negative.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    const OP: &str = "layer_norm";
    check_float(OP, "x", x)?;
    let Some(&channels) = x.dims().last() else {
        return shape_error(OP, "x", x, "[..., C]");
    };
    check(OP, x, weight, bias, channels, eps)?;
    composed::layer_norm(x, weight, bias, eps)
}

/// Layer normalisation over the channels of each pixel, with the biased variance: `[B, C, H, W]`, weight and bias `[C]`.
///
/// It is SAM's `LayerNorm2d`.
///
/// # Errors
/// If shapes or types do not fit together, or `eps` is negative.
pub fn layer_norm_2d(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    const OP: &str = "layer_norm_2d";
    check_float(OP, "x", x)?;
    let [_, channels, _, _] = *x.dims() else {
        return shape_error(OP, "x", x, "[B, C, H, W]");
    };
    check(OP, x, weight, Some(bias), channels, eps)?;
    composed::layer_norm_2d(x, weight, bias, eps)
}

fn check(
    op: &'static str,
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    channels: usize,
    eps: f64,
) -> Result<()> {
    check_vector(op, "weight", weight, channels, x)?;
    if let Some(bias) = bias {
        check_vector(op, "bias", bias, channels, x)?;
    }
    if eps.is_nan() || eps < 0. {
        return parameter_error(op, "eps", eps, "0 or more");
    }
    Ok(())
}
