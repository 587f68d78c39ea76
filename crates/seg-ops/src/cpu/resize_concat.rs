//! Resizing of channels-last maps, into all of the output's channels or a part of them.

use super::{Data, Value, attach1, attach2, dispatch, simd, written};
use crate::Resize;
use crate::error::Result;
use crate::float::Float;
use crate::interpolate::Weights;
use candle_core::Tensor;
use rayon::prelude::*;

/// See [`crate::resize_concat`].
pub(crate) fn resize_concat(x: &Tensor, skip: &Tensor) -> Result<Tensor> {
    let (x, skip) = (&x.contiguous()?, &skip.contiguous()?);
    let (_, h, w, _) = skip.dims4()?;
    let r = Resize::bilinear();
    let value = dispatch!(x, self::forward(x, Some(skip), (h, w), &r))?;
    attach2("resize_concat", value, x, skip, move |x, _, _, g| {
        let [dx, dskip] = dispatch!(x, self::split(x, g))?;
        Ok((Some(dx), Some(dskip)))
    })
}

/// The gradients of both maps from that of what they are together.
pub(super) fn split<T: Float>(x: &Tensor, g: &Tensor) -> Result<[Tensor; 2]> {
    let c = x.dim(3)?;
    let dskip = g.narrow(3, c, g.dim(3)? - c)?.contiguous()?;
    Ok([backward::<T>(x, g, &Resize::bilinear())?, dskip])
}

/// See [`crate::resize_nhwc`].
pub(crate) fn resize_nhwc(x: &Tensor, size: (usize, usize), r: &Resize) -> Result<Tensor> {
    let x = &x.contiguous()?;
    let r = *r;
    let value = dispatch!(x, self::forward(x, None, size, &r))?;
    attach1("resize_nhwc", value, x, move |x, _, g| dispatch!(x, self::backward(x, g, &r)).map(Some))
}

fn weights<T: Float>((h, w): (usize, usize), (oh, ow): (usize, usize), r: &Resize) -> (Weights<T>, Weights<T>) {
    (Weights::new(h, oh, r, r.scale.map(|s| s.0)), Weights::new(w, ow, r, r.scale.map(|s| s.1)))
}

fn forward<T: Float>(x: &Tensor, skip: Option<&Tensor>, (oh, ow): (usize, usize), r: &Resize) -> Result<Value> {
    let (b, h, w, c) = x.dims4()?;
    let d = skip.map_or(Ok(0), |skip| skip.dim(3))?;
    let (rows, columns) = weights::<T>((h, w), (oh, ow), r);
    let data = Data::<T>::contiguous(x)?;
    let skip = skip.map(Data::<T>::contiguous).transpose()?;
    let skip = skip.as_deref().unwrap_or(&[]);
    let size = b * oh * ow * (c + d);
    let each = |y: &mut [T]| {
        if y.is_empty() {
            return;
        }
        y.par_chunks_mut(ow * (c + d)).enumerate().for_each_init(Vec::new, |scratch, (row, y)| {
            let x = &data[row / oh * h * w * c..][..h * w * c];
            let beside = &skip[row * ow * d..][..ow * d];
            blend(x, (w, c, c), &rows, row % oh, scratch);
            simd(
                #[inline(always)]
                || {
                    for (o, y) in y.chunks_exact_mut(c + d).enumerate() {
                        let (y, rest) = y.split_at_mut(c);
                        along(scratch, &columns, o, y);
                        rest.copy_from_slice(&beside[o * d..][..d]);
                    }
                },
            );
        });
    };
    #[allow(unsafe_code)]
    // SAFETY: every row is written: a sum in its first channels, which is begun by a plain write, a copy in the others.
    let y = unsafe { written(size, each) };
    Ok(Value::new(y, (b, oh, ow, c + d)))
}

/// The same with the weights transposed, from the first channels of the gradient.
fn backward<T: Float>(x: &Tensor, g: &Tensor, r: &Resize) -> Result<Tensor> {
    let (b, h, w, c) = x.dims4()?;
    let (_, oh, ow, all) = g.dims4()?;
    let (rows, columns) = weights::<T>((h, w), (oh, ow), r);
    let (rows, columns) = (rows.transposed(), columns.transposed());
    let data = Data::<T>::contiguous(g)?;
    let mut dx = vec![T::ZERO; b * h * w * c];
    if !dx.is_empty() {
        dx.par_chunks_mut(w * c).enumerate().for_each_init(Vec::new, |scratch, (row, dx)| {
            let g = &data[row / h * oh * ow * all..][..oh * ow * all];
            blend(g, (ow, c, all), &rows, row % h, scratch);
            simd(
                #[inline(always)]
                || {
                    for (o, dx) in dx.chunks_exact_mut(c).enumerate() {
                        along(scratch, &columns, o, dx);
                    }
                },
            );
        });
    }
    Value::new(dx, x.dims()).tensor()
}

/// Row `o` of the output at the input's width: a sum of rows of `x`, of whose pixels (`stride` elements each) the first `c` channels count.
fn blend<T: Float>(x: &[T], (w, c, stride): (usize, usize, usize), rows: &Weights<T>, o: usize, y: &mut Vec<T>) {
    y.clear();
    y.resize(w * c, T::ZERO);
    simd(
        #[inline(always)]
        || {
            let used = rows.row(o).iter().enumerate().filter(|(_, weight)| **weight != T::ZERO);
            for (tap, &weight) in used {
                let x = &x[(rows.first[o] + tap) * w * stride..][..w * stride];
                for (y, x) in y.chunks_exact_mut(c.max(1)).zip(x.chunks_exact(stride.max(1))) {
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y = x.fma(weight, *y);
                    }
                }
            }
        },
    );
}

/// Pixel `o` of a row as a sum of pixels of `x`.
#[inline(always)]
fn along<T: Float>(x: &[T], columns: &Weights<T>, o: usize, y: &mut [T]) {
    let c = y.len();
    let (first, weights) = (columns.first[o] * c, columns.row(o));
    if let [left, right] = *weights {
        // twice as large, or thereabouts: what decoders ask for
        let (a, b) = (&x[first..][..c], &x[first + c..][..c]);
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = b.fma(right, a * left);
        }
        return;
    }
    for (tap, &weight) in weights.iter().enumerate() {
        let x = &x[first + tap * c..][..c];
        if tap == 0 {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = x * weight;
            }
        } else {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = x.fma(weight, *y);
            }
        }
    }
}
