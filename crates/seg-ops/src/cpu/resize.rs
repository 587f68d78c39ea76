//! Resizing, one axis after the other.

use super::{Data, Value, attach1, dispatch, simd, written};
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
    if b * c * oh * ow == 0 {
        return Ok(Value::new(Vec::<T>::new(), (b, c, oh, ow)));
    }
    #[allow(unsafe_code)]
    // SAFETY: `bands` writes every row of every plane, and reads none.
    let y = unsafe { written(b * c * oh * ow, |y| bands(&data, y, (h, w), rows, columns)) };
    Ok(Value::new(y, (b, c, oh, ow)))
}

fn bands<T: Float>(data: &[T], y: &mut [T], (h, w): (usize, usize), rows: &Weights<T>, columns: &Weights<T>) {
    let (oh, ow) = (rows.first.len(), columns.first.len());
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
                        blend(x, rows, from + o, 0, scratch);
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
                        blend(scratch, rows, from + o, first, y);
                    }
                }
            },
        );
    });
}

/// Row `o` of the output as a sum of rows of `x`, the first of which is row `skipped` of the image.
#[inline(always)]
fn blend<T: Float>(x: &[T], rows: &Weights<T>, o: usize, skipped: usize, y: &mut [T]) {
    let weights = rows.row(o);
    let used = weights.iter().rposition(|&w| w != T::ZERO).map_or(1, |last| last + 1);
    let width = y.len();
    let mut x = &x[(rows.first[o] - skipped) * width..][..used * width];
    let mut weights = &weights[..used];
    if used == 1 && weights[0] == T::ONE {
        return y.copy_from_slice(x);
    }
    // up to four rows in one pass
    let mut begun = false;
    while !weights.is_empty() {
        let n = weights.len().min(4);
        let (now, later) = weights.split_at(n);
        let (rows, rest) = x.split_at(n * width);
        match n {
            1 => pass::<1, T>(rows, now, begun, y),
            2 => pass::<2, T>(rows, now, begun, y),
            3 => pass::<3, T>(rows, now, begun, y),
            _ => pass::<4, T>(rows, now, begun, y),
        }
        (begun, weights, x) = (true, later, rest);
    }
}

/// `N` rows added to `y`, or written to it if nothing stands there yet.
#[inline(always)]
fn pass<const N: usize, T: Float>(x: &[T], weights: &[T], begun: bool, y: &mut [T]) {
    let width = y.len();
    let mut rows = [x; N];
    let mut w = [T::ZERO; N];
    for i in 0..N {
        rows[i] = &x[i * width..][..width];
        w[i] = weights[i];
    }
    if begun {
        for (j, y) in y.iter_mut().enumerate() {
            let mut sum = *y;
            for i in 0..N {
                sum = rows[i][j].fma(w[i], sum);
            }
            *y = sum;
        }
    } else {
        for (j, y) in y.iter_mut().enumerate() {
            let mut sum = rows[0][j] * w[0];
            for i in 1..N {
                sum = rows[i][j].fma(w[i], sum);
            }
            *y = sum;
        }
    }
}

#[inline(always)]
fn along_row<T: Float>(x: &[T], columns: &Weights<T>, y: &mut [T]) {
    match columns.taps {
        1 => {
            for ((y, &first), &w) in y.iter_mut().zip(&columns.first).zip(&columns.weights) {
                *y = x[first] * w;
            }
        }
        2 => taps::<2, T>(x, columns, y),
        3 => taps::<3, T>(x, columns, y),
        4 => taps::<4, T>(x, columns, y),
        5 => taps::<5, T>(x, columns, y),
        7 => taps::<7, T>(x, columns, y),
        9 => taps::<9, T>(x, columns, y),
        n => {
            for (o, (y, &first)) in y.iter_mut().zip(&columns.first).enumerate() {
                let mut sum = T::ZERO;
                for (&x, &w) in x[first..first + n].iter().zip(columns.row(o)) {
                    sum = x.fma(w, sum);
                }
                *y = sum;
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
