//! Resizing, one axis after the other.

use super::{Data, Value, attach1, dispatch, simd};
use crate::Resize;
use crate::error::Result;
use crate::float::Float;
use crate::interpolate::Weights;
use candle_core::Tensor;
use rayon::prelude::*;

/// See [`crate::resize`].
pub(crate) fn resize(x: &Tensor, size: (usize, usize), r: &Resize) -> Result<Tensor> {
    let x = &x.contiguous()?;
    let r = *r;
    let value = dispatch!(x, self::forward(x, size, &r))?;
    attach1("resize", value, x, move |x, _, g| dispatch!(g, self::backward(x, g, size, &r)).map(Some))
}

fn weights<T: Float>(x: &Tensor, (h, w): (usize, usize), r: &Resize) -> Result<(Weights<T>, Weights<T>)> {
    let (_, _, ih, iw) = x.dims4()?;
    Ok((Weights::new(ih, h, r, r.scale.map(|s| s.0)), Weights::new(iw, w, r, r.scale.map(|s| s.1))))
}

fn forward<T: Float>(x: &Tensor, size: (usize, usize), r: &Resize) -> Result<Value> {
    let (rows, columns) = weights::<T>(x, size, r)?;
    apply(x, &rows, &columns)
}

/// The same with the weights transposed: which outputs an input went to.
fn backward<T: Float>(x: &Tensor, g: &Tensor, size: (usize, usize), r: &Resize) -> Result<Tensor> {
    let (rows, columns) = weights::<T>(x, size, r)?;
    apply(g, &rows.transposed(), &columns.transposed())?.tensor()
}

fn apply<T: Float>(x: &Tensor, rows: &Weights<T>, columns: &Weights<T>) -> Result<Value> {
    let (b, c, h, w) = x.dims4()?;
    let (oh, ow) = (rows.first.len(), columns.first.len());
    let data = Data::<T>::contiguous(x)?;
    let mut y = vec![T::ZERO; b * c * oh * ow];
    if y.is_empty() {
        return Ok(Value::new(y, (b, c, oh, ow)));
    }
    // bands of output rows, high enough that the input rows two of them share weigh little
    let band = (4 * rows.taps * oh.div_ceil(h)).max(16 * 1024 / ow).clamp(1, oh);
    let bands: Vec<(usize, &mut [T])> = y
        .chunks_mut(oh * ow)
        .enumerate()
        .flat_map(|(plane, y)| {
            y.chunks_mut(band * ow).enumerate().map(move |(i, y)| (plane * oh.div_ceil(band) + i, y))
        })
        .collect();
    bands.into_par_iter().for_each_init(Vec::new, |scratch, (i, y)| {
        let (plane, from) = (i / oh.div_ceil(band), i % oh.div_ceil(band) * band);
        let x = &data[plane * h * w..][..h * w];
        let count = y.len() / ow;
        simd(
            #[inline(always)]
            || {
                if oh < h {
                    // shrinking: rows first, so that the slower sums along a row are fewer
                    scratch.resize(w, T::ZERO);
                    for (o, y) in y.chunks_exact_mut(ow).enumerate() {
                        add_rows(x, w, rows, from + o, 0, scratch);
                        along_row(scratch, columns, y);
                    }
                } else {
                    // an output of zero taps cannot be: the span is from the first row used to the last
                    let span = from..from + count;
                    let first = span.clone().map(|o| rows.first[o]).min().unwrap_or(0);
                    let last = span.map(|o| rows.first[o] + rows.taps).max().unwrap_or(0);
                    scratch.resize((last - first) * ow, T::ZERO);
                    for (y, x) in scratch.chunks_exact_mut(ow).zip(x[first * w..last * w].chunks_exact(w)) {
                        along_row(x, columns, y);
                    }
                    for (o, y) in y.chunks_exact_mut(ow).enumerate() {
                        add_rows(scratch, ow, rows, from + o, first, y);
                    }
                }
            },
        );
    });
    Ok(Value::new(y, (b, c, oh, ow)))
}

/// Row `o` of the output as a sum of rows of `x`, the first of which is row `skipped` of the image.
#[inline(always)]
fn add_rows<T: Float>(x: &[T], width: usize, rows: &Weights<T>, o: usize, skipped: usize, y: &mut [T]) {
    let first = rows.first[o] - skipped;
    for (t, &weight) in rows.row(o).iter().enumerate() {
        let x = &x[(first + t) * width..][..width];
        if t == 0 {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = x * weight;
            }
        } else if weight != T::ZERO {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = x.fma(weight, *y);
            }
        }
    }
}

#[inline(always)]
fn along_row<T: Float>(x: &[T], columns: &Weights<T>, y: &mut [T]) {
    match columns.taps {
        1 => taps::<1, T>(x, columns, y),
        2 => taps::<2, T>(x, columns, y),
        4 => taps::<4, T>(x, columns, y),
        n => {
            for (o, (y, &first)) in y.iter_mut().zip(&columns.first).enumerate() {
                *y = x[first..first + n].iter().zip(columns.row(o)).map(|(&x, &w)| x * w).sum();
            }
        }
    }
}

#[inline(always)]
fn taps<const N: usize, T: Float>(x: &[T], columns: &Weights<T>, y: &mut [T]) {
    for ((y, &first), w) in y.iter_mut().zip(&columns.first).zip(columns.weights.chunks_exact(N)) {
        let x = &x[first..first + N];
        let mut sum = x[0] * w[0];
        for i in 1..N {
            sum = x[i].fma(w[i], sum);
        }
        *y = sum;
    }
}
