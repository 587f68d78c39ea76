//! Batch normalisation with the statistics of the batch: what training does.

use crate::error::{Result, check_float, check_vector, parameter_error, shape_error};
use crate::narrow::{is_half, wide};
use crate::{composed, cpu};
use candle_core::{D, Tensor};

/// What [`batch_norm`] gives.
#[derive(Clone, Debug)]
pub struct BatchNormed {
    /// The normalised tensor, shape and type of the input.
    pub output: Tensor,
    /// Mean of each channel, `[C]`; no gradient goes through it.
    pub mean: Tensor,
    /// Variance of each channel divided by the number of elements (not one less), `[C]`; no gradient goes through it.
    pub variance: Tensor,
}

/// Normalises each channel of `[..., C]` (channels last) over all other axes: `(x - mean) / sqrt(variance + eps) * weight + bias`.
///
/// Mean and variance are those of `x` itself, and the gradient goes through them, as in PyTorch's `nn.BatchNorm2d` in train mode. In
/// evaluation a batch norm is no operation of its own: it folds into the convolution before it.
///
/// # Errors
/// If shapes or types do not fit together, or `x` has fewer than two elements a channel: they have no variance.
pub fn batch_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<BatchNormed> {
    const OP: &str = "batch_norm";
    check_float(OP, "x", x)?;
    if x.rank() < 2 {
        return shape_error(OP, "x", x, "[..., C], two axes or more");
    }
    let channels = x.dim(D::Minus1)?;
    check_vector(OP, "weight", weight, channels, x)?;
    check_vector(OP, "bias", bias, channels, x)?;
    if eps.is_nan() || eps < 0. {
        return parameter_error(OP, "eps", eps, "0 or more");
    }
    if x.elem_count() < 2 * channels.max(1) {
        return shape_error(OP, "x", x, "at least two elements a channel");
    }
    if is_half(x) {
        let y = cpu::batch_norm::batch_norm(&wide(x)?, &wide(weight)?, &wide(bias)?, eps)?;
        let narrow = |t: Tensor| t.to_dtype(x.dtype());
        return Ok(BatchNormed { output: narrow(y.output)?, mean: narrow(y.mean)?, variance: narrow(y.variance)? });
    }
    let f = if x.device().is_cpu() { cpu::batch_norm::batch_norm } else { composed::batch_norm };
    f(x, weight, bias, eps)
}
