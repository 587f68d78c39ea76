use super::widen;
use crate::error::Result;
use candle_core::{D, Tensor};

/// See [`crate::layer_norm`].
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    let wide = widen(x)?;
    let n = wide.dim(D::Minus1)? as f64;
    let centred = wide.broadcast_sub(&(wide.sum_keepdim(D::Minus1)? / n)?)?;
    let variance = (centred.sqr()?.sum_keepdim(D::Minus1)? / n)?;
    let normed = centred.broadcast_div(&(variance + eps)?.sqrt()?)?.broadcast_mul(&widen(weight)?)?;
    match bias {
        Some(bias) => normed.broadcast_add(&widen(bias)?)?.to_dtype(x.dtype()),
        None => normed.to_dtype(x.dtype()),
    }
}

/// See [`crate::layer_norm_2d`].
pub fn layer_norm_2d(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let wide = widen(x)?;
    let n = wide.dim(1)? as f64;
    let per_channel = |v: &Tensor| widen(v)?.reshape((1, v.elem_count(), 1, 1));
    let centred = wide.broadcast_sub(&(wide.sum_keepdim(1)? / n)?)?;
    let variance = (centred.sqr()?.sum_keepdim(1)? / n)?;
    let normed = centred.broadcast_div(&(variance + eps)?.sqrt()?)?;
    normed.broadcast_mul(&per_channel(weight)?)?.broadcast_add(&per_channel(bias)?)?.to_dtype(x.dtype())
}

/// See [`crate::softmax`].
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    if x.elem_count() == 0 {
        return Ok(x.clone());
    }
    let wide = widen(x)?;
    // the shift by the maximum does not change the result: no gradient through it
    let shifted = wide.broadcast_sub(&wide.detach().max_keepdim(D::Minus1)?)?;
    let e = shifted.exp()?;
    e.broadcast_div(&e.sum_keepdim(D::Minus1)?)?.to_dtype(x.dtype())
}
