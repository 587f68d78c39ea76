//! Layer normalisation.

use crate::error::{Result, check_float, check_vector, parameter_error, shape_error};
use crate::narrow::{is_half, wide, wide_option};
use crate::{composed, cpu};
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
    if is_half(x) {
        let (x32, weight, bias) = (wide(x)?, wide(weight)?, wide_option(bias)?);
        return cpu::norm::layer_norm(&x32, &weight, bias.as_ref(), eps)?.to_dtype(x.dtype());
    }
    let f = if x.device().is_cpu() { cpu::norm::layer_norm } else { composed::layer_norm };
    f(x, weight, bias, eps)
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
    if is_half(x) {
        return cpu::norm2d::layer_norm_2d(&wide(x)?, &wide(weight)?, &wide(bias)?, eps)?.to_dtype(x.dtype());
    }
    let f = if x.device().is_cpu() { cpu::norm2d::layer_norm_2d } else { composed::layer_norm_2d };
    f(x, weight, bias, eps)
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
