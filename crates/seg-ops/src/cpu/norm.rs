//! Layer normalisation over rows, and over the channels of each pixel.

use super::product::add_up;
use super::softmax::{dot, reduce};
use super::{Data, Value, attach2, attach3, dispatch, simd};
use crate::error::Result;
use crate::float::Float;
use candle_core::{D, Tensor};
use rayon::prelude::*;

/// Elements a task.
const CHUNK: usize = 16 * 1024;

/// See [`crate::layer_norm`].
pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    let (x, weight) = (&x.contiguous()?, &weight.contiguous()?);
    let value = dispatch!(x, self::forward(x, weight, bias, eps))?;
    match bias {
        Some(bias) => attach3("layer_norm", value, (x, weight, bias), move |x, w, _, _, g| {
            let (dx, dw, db) = dispatch!(x, self::backward(x, w, g, eps))?;
            Ok((Some(dx), Some(dw), Some(db)))
        }),
        None => attach2("layer_norm", value, x, weight, move |x, w, _, g| {
            let (dx, dw, _) = dispatch!(x, self::backward(x, w, g, eps))?;
            Ok((Some(dx), Some(dw)))
        }),
    }
}

/// Mean and reciprocal standard deviation; to be called under [`simd`].
#[inline(always)]
fn moments<T: Float>(x: &[T], eps: T) -> (T, T) {
    let n = T::of_usize(x.len());
    let mean = reduce(x, T::ZERO, |a, b| a + b) / n;
    let mut squares = [T::ZERO; super::softmax::LANES];
    let mut chunks = x.chunks_exact(squares.len());
    for chunk in &mut chunks {
        for (s, &x) in squares.iter_mut().zip(chunk) {
            *s = (x - mean).fma(x - mean, *s);
        }
    }
    for (s, &x) in squares.iter_mut().zip(chunks.remainder()) {
        *s = (x - mean).fma(x - mean, *s);
    }
    let variance = squares.iter().copied().sum::<T>() / n;
    (mean, T::ONE / (variance + eps).sqrt())
}

fn forward<T: Float>(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f64) -> Result<Value> {
    let c = x.dim(D::Minus1)?.max(1);
    let bias = bias.map(Tensor::contiguous).transpose()?;
    let (data, w) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(weight)?);
    let bias = bias.as_ref().map(Data::<T>::contiguous).transpose()?;
    let rows = c * CHUNK.div_ceil(c);
    let mut y = vec![T::ZERO; data.len()];
    y.par_chunks_mut(rows).zip(data.par_chunks(rows)).for_each(|(y, x)| {
        simd(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
                    let (mean, inverse) = moments(x, T::of(eps));
                    match &bias {
                        Some(b) => {
                            for (((y, &x), &w), &b) in y.iter_mut().zip(x).zip(&w[..]).zip(&b[..]) {
                                *y = ((x - mean) * inverse).fma(w, b);
                            }
                        }
                        None => {
                            for ((y, &x), &w) in y.iter_mut().zip(x).zip(&w[..]) {
                                *y = (x - mean) * inverse * w;
                            }
                        }
                    }
                }
            },
        );
    });
    Ok(Value::new(y, x.dims()))
}

fn backward<T: Float>(x: &Tensor, weight: &Tensor, g: &Tensor, eps: f64) -> Result<(Tensor, Tensor, Tensor)> {
    let channels = x.dim(D::Minus1)?;
    let c = channels.max(1);
    let (data, w, g) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(weight)?, Data::<T>::contiguous(g)?);
    let rows = c * CHUNK.div_ceil(c);
    let mut dx = vec![T::ZERO; data.len()];
    // per chunk the gradients of weight and bias, one after the other
    let sums: Vec<Vec<T>> = dx
        .par_chunks_mut(rows)
        .zip(data.par_chunks(rows).zip(g.par_chunks(rows)))
        .map(|(dx, (x, g))| {
            let mut sums = vec![T::ZERO; 2 * c];
            let (dw, db) = sums.split_at_mut(c);
            let mut weighted = vec![T::ZERO; c];
            simd(
                #[inline(always)]
                || {
                    let n = T::of_usize(c);
                    for ((dx, x), g) in dx.chunks_exact_mut(c).zip(x.chunks_exact(c)).zip(g.chunks_exact(c)) {
                        let (mean, inverse) = moments(x, T::of(eps));
                        for i in 0..c {
                            // dx holds the normalised row until it is needed no more
                            dx[i] = (x[i] - mean) * inverse;
                            dw[i] += g[i] * dx[i];
                            db[i] += g[i];
                            weighted[i] = g[i] * w[i];
                        }
                        let along = dot(&weighted, dx) / n;
                        let mean = reduce(&weighted, T::ZERO, |a, b| a + b) / n;
                        for (d, &g) in dx.iter_mut().zip(&weighted) {
                            *d = inverse * (g - mean - *d * along);
                        }
                    }
                },
            );
            sums
        })
        .collect();
    let mut dw = add_up(sums, 2 * c);
    dw.truncate(2 * channels);
    let db = dw.split_off(channels);
    Ok((Value::new(dx, x.dims()).tensor()?, Value::new(dw, channels).tensor()?, Value::new(db, channels).tensor()?))
}
