//! Layer normalisation over rows, and over the channels of each pixel.

use super::product::add_up;
use super::wide;
use super::{Data, Value, attach2, attach3, dispatch, simd, written};
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

/// Mean and reciprocal standard deviation, in two passes, so that a large mean does not eat the variance; to be called under [`simd`].
#[inline(always)]
fn moments<T: Float>(x: &[T], eps: T) -> (T, T) {
    let n = T::of_usize(x.len());
    let mean = wide::fold(x, T::ZERO, |a, b| a + b) / n;
    let squares = wide::sum_of(
        x,
        #[inline(always)]
        |x, sum| (x - mean).fma(x - mean, sum),
    );
    (mean, T::ONE / (squares / n + eps).sqrt())
}

fn forward<T: Float>(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f64) -> Result<Value> {
    let c = x.dim(D::Minus1)?.max(1);
    let bias = bias.map(Tensor::contiguous).transpose()?;
    let (data, w) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(weight)?);
    let bias = bias.as_ref().map(Data::<T>::contiguous).transpose()?;
    let (w, bias) = (&w[..], bias.as_deref());
    let rows = c * CHUNK.div_ceil(c);
    let each = |y: &mut [T]| {
        y.par_chunks_mut(rows).zip(data.par_chunks(rows)).for_each(|(y, x)| {
            simd(
                #[inline(always)]
                || {
                    for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
                        let (mean, inverse) = moments(x, T::of(eps));
                        match bias {
                            Some(b) => {
                                for (((y, &x), &w), &b) in y.iter_mut().zip(x).zip(w).zip(b) {
                                    *y = ((x - mean) * inverse).fma(w, b);
                                }
                            }
                            None => {
                                for ((y, &x), &w) in y.iter_mut().zip(x).zip(w) {
                                    *y = (x - mean) * inverse * w;
                                }
                            }
                        }
                    }
                },
            );
        });
    };
    #[allow(unsafe_code)]
    // SAFETY: whole rows, and weight and bias are as long as a row.
    let y = unsafe { written(data.len(), each) };
    Ok(Value::new(y, x.dims()))
}

/// Partial sums of the gradients of weight and bias at most, whatever the number of threads.
const PARTS: usize = 64;

/// In one visit to each row: its moments, then the sums along it and its part of the gradients of weight and bias, then its own gradient.
fn backward<T: Float>(x: &Tensor, weight: &Tensor, g: &Tensor, eps: f64) -> Result<(Tensor, Tensor, Tensor)> {
    let channels = x.dim(D::Minus1)?;
    let c = channels.max(1);
    let (data, w, g) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(weight)?, Data::<T>::contiguous(g)?);
    let w = &w[..];
    let rows = c * CHUNK.div_ceil(c).max((data.len() / c).div_ceil(PARTS));
    // per chunk the gradients of weight and bias, one after the other
    let mut sums: Vec<Vec<T>> = Vec::new();
    let each = |dx: &mut [T]| {
        dx.par_chunks_mut(rows)
            .zip(data.par_chunks(rows).zip(g.par_chunks(rows)))
            .map(|(dx, (x, g))| {
                let mut sums = vec![T::ZERO; 2 * c];
                simd(
                    #[inline(always)]
                    || {
                        let (dw, db) = sums.split_at_mut(c);
                        for ((dx, x), g) in dx.chunks_exact_mut(c).zip(x.chunks_exact(c)).zip(g.chunks_exact(c)) {
                            row_backward(dx, x, g, w, dw, db, T::of(eps));
                        }
                    },
                );
                sums
            })
            .collect_into_vec(&mut sums);
    };
    #[allow(unsafe_code)]
    // SAFETY: input and gradient are of one length, in whole rows, each of which `row_backward` writes.
    let dx = unsafe { written(data.len(), each) };
    let mut dw = add_up(sums, 2 * c);
    dw.truncate(2 * channels);
    let db = dw.split_off(channels);
    Ok((Value::new(dx, x.dims()).tensor()?, Value::new(dw, channels).tensor()?, Value::new(db, channels).tensor()?))
}

/// All slices are of one length.
#[inline(always)]
fn row_backward<T: Float>(dx: &mut [T], x: &[T], g: &[T], w: &[T], dw: &mut [T], db: &mut [T], eps: T) {
    let n = T::of_usize(x.len());
    let (mean, inverse) = moments(x, eps);
    for (((dw, db), &x), &g) in dw.iter_mut().zip(db).zip(x).zip(g) {
        *dw = g.fma((x - mean) * inverse, *dw);
        *db += g;
    }
    // the mean of g w, and of g w times the normalised row
    let total = wide::dot(g, w) / n;
    let along = wide::sum3(
        g,
        w,
        x,
        #[inline(always)]
        |g, w, x, sum| (g * w).fma((x - mean) * inverse, sum),
    ) / n;
    for (((d, &g), &w), &x) in dx.iter_mut().zip(g).zip(w).zip(x) {
        *d = inverse * (g * w - total - (x - mean) * inverse * along);
    }
}
