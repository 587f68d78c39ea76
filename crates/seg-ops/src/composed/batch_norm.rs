use super::widen;
use crate::BatchNormed;
use crate::error::Result;
use candle_core::{D, Tensor};

/// See [`crate::batch_norm`].
pub fn batch_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<BatchNormed> {
    let rows = widen(x)?.flatten_to(D::Minus2)?;
    let n = rows.dim(0)? as f64;
    let mean = (rows.sum_keepdim(0)? / n)?;
    let centred = rows.broadcast_sub(&mean)?;
    let variance = (centred.sqr()?.sum_keepdim(0)? / n)?;
    let normed = centred.broadcast_div(&(&variance + eps)?.sqrt()?)?;
    let output = normed.broadcast_mul(&widen(weight)?)?.broadcast_add(&widen(bias)?)?;
    let narrow = |t: &Tensor| t.detach().squeeze(0)?.to_dtype(x.dtype());
    Ok(BatchNormed {
        output: output.reshape(x.shape())?.to_dtype(x.dtype())?,
        mean: narrow(&mean)?,
        variance: narrow(&variance)?,
    })
}
