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
    let across = across.cloned();
    let value = forward::<T>(x, (weight, bias), &m, false, None)?;
    let (count, [mean, variance]) = (m.count, m.vectors::<T>()?);
    let output = attach3("batch_norm", value, (x, weight, bias), move |x, w, b, _, g| {
        let [dx, dw, db] = backward::<T>(x, (w, b), g, &m, across.as_ref(), false)?;
        Ok((Some(dx), Some(dw), Some(db)))
    })?;
    Ok(BatchNormed { output, mean, variance, count })
}

/// The statistics of each channel.
pub(super) struct Moments {
    /// Elements a channel.
    pub count: f64,
    mean: Vec<f64>,
    variance: Vec<f64>,
    inverse_std: Vec<f64>,
}

impl Moments {
    pub fn of<T: Float>(x: &Tensor, channels: usize, eps: f64, across: Across<'_>) -> Result<Self> {
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

    /// Mean and variance, `[C]`.
    pub fn vectors<T: Float>(&self) -> Result<[Tensor; 2]> {
        Ok([vector::<T>(&self.mean)?, vector::<T>(&self.variance)?])
    }

    /// The line that each channel's elements are put through: factor and offset.
    fn line<T: Float>(&self, weight: &[T], bias: &[T]) -> [Vec<T>; 2] {
        let factor: Vec<f64> = weight.iter().zip(&self.inverse_std).map(|(w, s)| w.as_f64() * s).collect();
        let offset = bias.iter().zip(&factor).zip(&self.mean).map(|((b, f), mean)| T::of(b.as_f64() - f * mean));
        [factor.iter().map(|&f| T::of(f)).collect(), offset.collect()]
    }
}

fn vector<T: Float>(v: &[f64]) -> Result<Tensor> {
    Value::new(v.iter().map(|&v| T::of(v)).collect::<Vec<T>>(), v.len()).tensor()
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

/// `x` normalised, negative values made zero where `relu` says so, then `residual` added.
pub(super) fn forward<T: Float>(
    x: &Tensor,
    (weight, bias): (&Tensor, &Tensor),
    m: &Moments,
    relu: bool,
    residual: Option<&Tensor>,
) -> Result<Value> {
    let data = Data::<T>::contiguous(x)?;
    let residual = residual.map(Data::<T>::contiguous).transpose()?;
    let [factor, offset] = m.line::<T>(&Data::<T>::contiguous(weight)?, &Data::<T>::contiguous(bias)?);
    let c = factor.len().max(1);
    let each = |y: &mut [T]| {
        y.par_chunks_mut(ROWS * c).zip(data.par_chunks(ROWS * c)).enumerate().for_each(|(chunk, (y, x))| {
            let beside = residual.as_ref().map(|r| &r[chunk * ROWS * c..][..x.len()]);
            simd(
                #[inline(always)]
                || {
                    for (i, (y, x)) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)).enumerate() {
                        for ((y, &x), (&f, &o)) in y.iter_mut().zip(x).zip(factor.iter().zip(&offset)) {
                            let line = x.fma(f, o);
                            // so that a NaN stays one
                            *y = if relu && line <= T::ZERO { T::ZERO } else { line };
                        }
                        if let Some(beside) = beside {
                            for (y, &r) in y.iter_mut().zip(&beside[i * c..]) {
                                *y += r;
                            }
                        }
                    }
                },
            );
        });
    };
    #[allow(unsafe_code)]
    // SAFETY: every element is written before it is read.
    let y = unsafe { written(data.len(), each) };
    Ok(Value::new(y, x.dims()))
}

/// The gradient `g` where the line is not below zero, so that the ReLU behind it lets it through.
#[inline(always)]
fn passed<T: Float>(g: T, x: T, factor: T, offset: T) -> T {
    if x.fma(factor, offset) <= T::ZERO { T::ZERO } else { g }
}

/// The gradients of `x`, weight and bias. With `h = (x - mean) / std` the normalised input: `dw = Σ g·h`, `db = Σ g`, `dx = w / std · (g - db / n - h · dw / n)`,
/// where `n` and the sums in `dx` are those of all processes. With `relu`, `g` is that of the ReLU's output.
pub(super) fn backward<T: Float>(
    x: &Tensor,
    (weight, bias): (&Tensor, &Tensor),
    g: &Tensor,
    m: &Moments,
    across: Across<'_>,
    relu: bool,
) -> Result<[Tensor; 3]> {
    let (data, grad) = (&*Data::<T>::contiguous(x)?, &*Data::<T>::contiguous(g)?);
    let (weight, bias) = (Data::<T>::contiguous(weight)?, Data::<T>::contiguous(bias)?);
    let line = m.line::<T>(&weight, &bias);
    let [factor, offset] = &line;
    let centre: Vec<T> = m.mean.iter().map(|&v| T::of(v)).collect();
    let channels = weight.len();
    let (db, dw) = match relu {
        false => (
            sums(grad, grad, channels, |sum, g, _, _| *sum += g),
            sums(grad, data, channels, |sum, g, x, c| *sum = g.fma(x - centre[c], *sum)),
        ),
        true => (
            sums(grad, data, channels, |sum, g, x, c| *sum += passed(g, x, factor[c], offset[c])),
            sums(grad, data, channels, |sum, g, x, c| {
                *sum = passed(g, x, factor[c], offset[c]).fma(x - centre[c], *sum);
            }),
        ),
    };
    let dw: Vec<f64> = dw.iter().zip(&m.inverse_std).map(|(d, s)| d * s).collect();
    let n = m.count;
    let (_, both) = totals(x, n, [&dw[..], &db].concat(), across)?;
    let (all_dw, all_db) = both.split_at(channels);
    let scale = |c: usize| weight[c].as_f64() * m.inverse_std[c];
    let of_x = |c: usize| -scale(c) * m.inverse_std[c] * all_dw[c] / n;
    let of_channel = |f: &dyn Fn(usize) -> f64| (0..channels).map(|c| T::of(f(c))).collect::<Vec<T>>();
    let plane =
        [of_channel(&scale), of_channel(&of_x), of_channel(&|c| -scale(c) * all_db[c] / n - of_x(c) * m.mean[c])];
    let dx = Value::new(combine(grad, data, &plane, relu.then_some(&line)), x.dims()).tensor()?;
    Ok([dx, vector::<T>(&dw)?, vector::<T>(&db)?])
}

/// `g · plane[0] + x · plane[1] + plane[2]`, the factors for each channel; of `g` only what has [`passed`] where there is a `line`.
fn combine<T: Float>(g: &[T], x: &[T], plane: &[Vec<T>; 3], line: Option<&[Vec<T>; 2]>) -> Vec<T> {
    let [of_g, of_x, offset] = plane;
    let c = of_g.len().max(1);
    let each = |y: &mut [T]| {
        let chunks = y.par_chunks_mut(ROWS * c).zip(g.par_chunks(ROWS * c).zip(x.par_chunks(ROWS * c)));
        chunks.for_each(|(y, (g, x))| {
            simd(
                #[inline(always)]
                || {
                    for ((y, g), x) in y.chunks_exact_mut(c).zip(g.chunks_exact(c)).zip(x.chunks_exact(c)) {
                        let all = y.iter_mut().zip(g).zip(x).zip(of_g.iter().zip(of_x).zip(offset));
                        if let Some([factor, base]) = line {
                            let all = all.zip(factor.iter().zip(base));
                            for ((((y, &g), &x), ((&f, &o), &d)), (&factor, &base)) in all {
                                *y = passed(g, x, factor, base).fma(f, x.fma(o, d));
                            }
                        } else {
                            for (((y, &g), &x), ((&f, &o), &d)) in all {
                                *y = g.fma(f, x.fma(o, d));
                            }
                        }
                    }
                },
            );
        });
    };
    #[allow(unsafe_code)]
    // SAFETY: every element is written, and none read.
    unsafe {
        written(g.len(), each)
    }
}
