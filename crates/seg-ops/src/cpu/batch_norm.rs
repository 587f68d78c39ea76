//! Batch normalisation over rows of channels.

use super::{Data, Value, attach3, dispatch, simd, written};
use crate::batch_norm::totals;
use crate::error::Result;
use crate::float::Float;
use crate::{AllReduce, BatchNormed};
use candle_core::{D, Tensor};
use rayon::prelude::*;
use std::sync::Arc;

/// Rows whose sums are taken in the element type; what is more is added up in f64. It does not depend on the number of threads, so neither do
/// the results.
const ROWS: usize = 512;

/// Processes whose elements are normalised together.
type Across<'a> = Option<&'a Arc<dyn AllReduce>>;

/// See [`crate::batch_norm_across`].
pub(crate) fn batch_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    across: Across<'_>,
) -> Result<BatchNormed> {
    let (x, weight, bias) = (&x.contiguous()?, &weight.contiguous()?, &bias.contiguous()?);
    dispatch!(x, self::typed(x, weight, bias, eps, across))
}

fn typed<T: Float>(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64, across: Across<'_>) -> Result<BatchNormed> {
    let channels = x.dim(D::Minus1)?;
    let m = Moments::of::<T>(x, channels, eps, across)?;
    let count = m.count;
    let across = across.cloned();
    let value = forward::<T>(x, weight, bias, &m)?;
    let vector = |v: &[f64]| Value::new(v.iter().map(|&v| T::of(v)).collect::<Vec<T>>(), channels).tensor();
    let (mean, variance) = (vector(&m.mean)?, vector(&m.variance)?);
    let output = attach3("batch_norm", value, (x, weight, bias), move |x, w, _, _, g| {
        let (dx, dw, db) = backward::<T>(x, w, g, &m, across.as_ref())?;
        Ok((Some(dx), Some(dw), Some(db)))
    })?;
    Ok(BatchNormed { output, mean, variance, count })
}

/// The statistics of each channel.
struct Moments {
    /// Elements a channel.
    count: f64,
    mean: Vec<f64>,
    variance: Vec<f64>,
    inverse_std: Vec<f64>,
}

impl Moments {
    fn of<T: Float>(x: &Tensor, channels: usize, eps: f64, across: Across<'_>) -> Result<Self> {
        let data: &[T] = &Data::<T>::contiguous(x)?;
        let n = (data.len() / channels.max(1)) as f64;
        let (count, sum) = totals(x, n, sums(data, data, channels, |sum, x, _, _| *sum += x), across)?;
        let mean: Vec<f64> = sum.iter().map(|s| s / count).collect();
        let centre: Vec<T> = mean.iter().map(|&m| T::of(m)).collect();
        // about the rounded mean: the exact one differs from it by less than an ulp
        let squares = sums(data, data, channels, |sum, x, _, c| {
            let d = x - centre[c];
            *sum = d.fma(d, *sum);
        });
        let (_, squares) = totals(x, n, squares, across)?;
        let variance: Vec<f64> = squares.iter().map(|s| s / count).collect();
        let inverse_std = variance.iter().map(|v| 1. / (v + eps).sqrt()).collect();
        Ok(Self { count, mean, variance, inverse_std })
    }
}

/// For each channel the sum over all rows of what `add(sum, a, b, channel)` adds.
fn sums<T: Float>(a: &[T], b: &[T], channels: usize, add: impl Fn(&mut T, T, T, usize) + Sync) -> Vec<f64> {
    let c = channels.max(1);
    let parts: Vec<Vec<T>> = a
        .par_chunks(ROWS * c)
        .zip(b.par_chunks(ROWS * c))
        .map(|(a, b)| {
            let mut sum = vec![T::ZERO; c];
            simd(
                #[inline(always)]
                || {
                    for (a, b) in a.chunks_exact(c).zip(b.chunks_exact(c)) {
                        for (channel, ((sum, &a), &b)) in sum.iter_mut().zip(a).zip(b).enumerate() {
                            add(sum, a, b, channel);
                        }
                    }
                },
            );
            sum
        })
        .collect();
    let mut total = vec![0.; channels];
    for part in parts {
        for (total, part) in total.iter_mut().zip(part) {
            *total += part.as_f64();
        }
    }
    total
}

/// `y = a · factor + b · other + offset`, the last three for each channel.
fn combine<T: Float>(a: &[T], b: &[T], [factor, other, offset]: [&[T]; 3]) -> Vec<T> {
    let c = factor.len().max(1);
    #[allow(unsafe_code)]
    // SAFETY: every element is written, and none read.
    unsafe {
        written(a.len(), |y| {
            y.par_chunks_mut(ROWS * c).zip(a.par_chunks(ROWS * c).zip(b.par_chunks(ROWS * c))).for_each(
                |(y, (a, b))| {
                    simd(
                        #[inline(always)]
                        || {
                            for ((y, a), b) in y.chunks_exact_mut(c).zip(a.chunks_exact(c)).zip(b.chunks_exact(c)) {
                                let scales = factor.iter().zip(other).zip(offset);
                                for (((y, &a), &b), ((&f, &o), &d)) in y.iter_mut().zip(a).zip(b).zip(scales) {
                                    *y = a.fma(f, b.fma(o, d));
                                }
                            }
                        },
                    );
                },
            );
        })
    }
}

fn forward<T: Float>(x: &Tensor, weight: &Tensor, bias: &Tensor, m: &Moments) -> Result<Value> {
    let (data, weight, bias) =
        (Data::<T>::contiguous(x)?, Data::<T>::contiguous(weight)?, Data::<T>::contiguous(bias)?);
    let factor: Vec<f64> = weight.iter().zip(&m.inverse_std).map(|(w, s)| w.as_f64() * s).collect();
    let offset: Vec<T> =
        bias.iter().zip(&factor).zip(&m.mean).map(|((b, f), mean)| T::of(b.as_f64() - f * mean)).collect();
    let factor: Vec<T> = factor.into_iter().map(T::of).collect();
    let none = vec![T::ZERO; factor.len()];
    Ok(Value::new(combine(&data, &data, [&factor, &none, &offset]), x.dims()))
}

/// With `h = (x - mean) / std` the normalised input: `dw = Σ g·h`, `db = Σ g`, `dx = w / std · (g - db / n - h · dw / n)`, where `n` and the sums in `dx` are those
/// of all processes.
fn backward<T: Float>(
    x: &Tensor,
    weight: &Tensor,
    g: &Tensor,
    m: &Moments,
    across: Across<'_>,
) -> Result<(Tensor, Tensor, Tensor)> {
    let (data, weight, grad) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(weight)?, Data::<T>::contiguous(g)?);
    let channels = weight.len();
    let n = m.count;
    let centre: Vec<T> = m.mean.iter().map(|&v| T::of(v)).collect();
    let db = sums(&grad, &grad, channels, |sum, g, _, _| *sum += g);
    let dw = sums(&grad, &data, channels, |sum, g, x, c| *sum = g.fma(x - centre[c], *sum));
    let dw: Vec<f64> = dw.iter().zip(&m.inverse_std).map(|(d, s)| d * s).collect();
    let (_, both) = totals(x, n, [&dw[..], &db].concat(), across)?;
    let (all_dw, all_db) = both.split_at(channels);
    let scale = |c: usize| weight[c].as_f64() * m.inverse_std[c];
    let of_x = |c: usize| -scale(c) * m.inverse_std[c] * all_dw[c] / n;
    let vector = |f: &dyn Fn(usize) -> f64| (0..channels).map(|c| T::of(f(c))).collect::<Vec<T>>();
    let factors = [vector(&scale), vector(&of_x), vector(&|c| -scale(c) * all_db[c] / n - of_x(c) * m.mean[c])];
    let dx = combine(&grad, &data, [&factors[0], &factors[1], &factors[2]]);
    let sums = |v: &[f64]| Value::new(v.iter().map(|&v| T::of(v)).collect::<Vec<T>>(), channels).tensor();
    Ok((Value::new(dx, x.dims()).tensor()?, sums(&dw)?, sums(&db)?))
}
