use super::{across, widen};
use crate::batch_norm::totals;
use crate::error::Result;
use crate::{AllReduce, BatchNormed};
use candle_core::{D, Tensor};
use std::sync::Arc;

/// See [`crate::batch_norm`].
pub fn batch_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<BatchNormed> {
    batch_norm_across(x, weight, bias, eps, None)
}

/// See [`crate::batch_norm_across`].
pub fn batch_norm_across(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    group: Option<&Arc<dyn AllReduce>>,
) -> Result<BatchNormed> {
    let rows = widen(x)?.flatten_to(D::Minus2)?;
    let (count, _) = totals(x, rows.dim(0)? as f64, Vec::new(), group)?;
    let sum = |rows: &Tensor| {
        let sum = rows.sum_keepdim(0)?;
        group.map_or_else(|| Ok(sum.clone()), |group| across::sum(&sum, group))
    };
    let mean = (sum(&rows)? / count)?;
    let centred = rows.broadcast_sub(&mean)?;
    let variance = (sum(&centred.sqr()?)? / count)?;
    let normed = centred.broadcast_div(&(&variance + eps)?.sqrt()?)?;
    let output = normed.broadcast_mul(&widen(weight)?)?.broadcast_add(&widen(bias)?)?;
    let narrow = |t: &Tensor| t.detach().squeeze(0)?.to_dtype(x.dtype());
    Ok(BatchNormed {
        output: output.reshape(x.shape())?.to_dtype(x.dtype())?,
        mean: narrow(&mean)?,
        variance: narrow(&variance)?,
        count,
    })
}
