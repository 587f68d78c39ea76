//! Batch normalisation with the statistics of the batch: what training does.

use crate::error::{Result, check_float, check_vector, parameter_error, shape_error};
use crate::narrow::{is_half, wide};
use crate::{AllReduce, composed, cpu};
use candle_core::{D, Tensor};
use std::sync::Arc;

/// What [`batch_norm`] gives.
#[derive(Clone, Debug)]
pub struct BatchNormed {
    /// The normalised tensor, shape and type of the input.
    pub output: Tensor,
    /// Mean of each channel, `[C]`; no gradient goes through it.
    pub mean: Tensor,
    /// Variance of each channel divided by the number of elements (not one less), `[C]`; no gradient goes through it.
    pub variance: Tensor,
    /// Elements a channel that these were taken of, those of all processes together.
    pub count: f64,
}

/// Normalises each channel of `[..., C]` (channels last) over all other axes: `(x - mean) / sqrt(variance + eps) * weight + bias`.
///
/// Mean and variance are those of `x` itself, and the gradient goes through them, as in PyTorch's `nn.BatchNorm2d` in train mode. In
/// evaluation a batch norm is no operation of its own: it folds into the convolution before it.
///
/// # Errors
/// If shapes or types do not fit together, or `x` has fewer than two elements a channel: they have no variance.
pub fn batch_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<BatchNormed> {
    batch_norm_across(x, weight, bias, eps, None)
}

/// [`batch_norm`] with mean and variance of the `x` of all processes (PyTorch's `SyncBatchNorm`). The gradient of `x` is that of the sum of all processes' losses; those of
/// `weight` and `bias` are this process's part of it, so that all gradients are added up in the same way afterwards.
///
/// All processes come to the operation, and to its backward pass, in the same order among their sums.
///
/// # Errors
/// As [`batch_norm`], the elements of all processes counted together; a group that has broken.
pub fn batch_norm_across(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    across: Option<&Arc<dyn AllReduce>>,
) -> Result<BatchNormed> {
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
    if across.is_none() && x.elem_count() < 2 * channels.max(1) {
        return shape_error(OP, "x", x, "at least two elements a channel");
    }
    if is_half(x) {
        let y = cpu::batch_norm::batch_norm(&wide(x)?, &wide(weight)?, &wide(bias)?, eps, across)?;
        let narrow = |t: Tensor| t.to_dtype(x.dtype());
        let BatchNormed { output, mean, variance, count } = y;
        return Ok(BatchNormed { output: narrow(output)?, mean: narrow(mean)?, variance: narrow(variance)?, count });
    }
    let f = if x.device().is_cpu() { cpu::batch_norm::batch_norm } else { composed::batch_norm_across };
    f(x, weight, bias, eps, across)
}

/// Elements a channel and sums, those of all processes added up; at least two elements a channel, else they have no variance.
pub(crate) fn totals(
    x: &Tensor,
    count: f64,
    sums: Vec<f64>,
    across: Option<&Arc<dyn AllReduce>>,
) -> Result<(f64, Vec<f64>)> {
    let Some(across) = across else { return Ok((count, sums)) };
    let mut all = across.sum_numbers(&[&[count], &sums[..]].concat())?;
    let count = all.remove(0);
    if count < 2. {
        return shape_error("batch_norm", "x", x, "at least two elements a channel in all processes together");
    }
    Ok((count, all))
}
