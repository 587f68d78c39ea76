//! Depthwise convolution: one filter a channel, by direct sums in either layout.

use super::conv::channel_sums;
use super::patches::Geometry;
use super::product::add_up;
use super::softmax::dot;
use super::tail::{Tail, TailData};
use super::{Data, Value, activate_tail, attach2, attach3, dispatch, simd, tracked};
use crate::error::Result;
use crate::float::Float;
use crate::{Conv2dParams, Epilogue, Layout};
use candle_core::Tensor;
use rayon::prelude::*;

/// See [`crate::conv2d`]; groups = inputs = outputs.
pub(crate) fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    p: &Conv2dParams,
    e: Epilogue<'_>,
) -> Result<Tensor> {
    let (x, weight) = (&x.contiguous()?, &weight.contiguous()?);
    let g = Geometry::of_conv(x, weight, p)?;
    let layout = p.layout;
    if !tracked(&[Some(x), Some(weight), bias, e.scale, e.residual]) {
        return dispatch!(x, self::forward(x, weight, bias, e, g, layout))?.tensor();
    }
    let value = dispatch!(x, self::forward(x, weight, bias, Epilogue::NONE, g, layout))?;
    let y = match bias {
        Some(bias) => attach3("depthwise_conv2d", value, (x, weight, bias), move |x, w, _, _, dy| {
            let (dx, dw) = dispatch!(x, self::backward(x, w, dy, g, layout))?;
            Ok((Some(dx), Some(dw), Some(channel_sums(dy, layout)?)))
        })?,
        None => attach2("depthwise_conv2d", value, x, weight, move |x, w, _, dy| {
            let (dx, dw) = dispatch!(x, self::backward(x, w, dy, g, layout))?;
            Ok((Some(dx), Some(dw)))
        })?,
    };
    activate_tail(y, e, layout.channel_axis())
}

fn forward<T: Float>(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    e: Epilogue<'_>,
    g: Geometry,
    layout: Layout,
) -> Result<Value> {
    let tail = Tail::new(bias, e)?;
    let tail = tail.data::<T>()?;
    let (x, w) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(weight)?);
    let mut y = vec![T::ZERO; g.batch * g.outputs * g.pixels()];
    if !y.is_empty() {
        match layout {
            Layout::Nchw => forward_planes(&x, &w, &tail, g, &mut y),
            Layout::Nhwc => forward_pixels(&x, &w, &tail, g, &mut y),
        }
    }
    Ok(Value::new(y, &layout.shape(g.batch, g.outputs, g.out.0, g.out.1)[..]))
}

/// `y[i] += w * x[i * stride]`.
#[inline(always)]
fn add_row<T: Float>(y: &mut [T], x: &[T], stride: usize, w: T) {
    if stride == 1 {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x.fma(w, *y);
        }
    } else {
        for (y, &x) in y.iter_mut().zip(x.iter().step_by(stride)) {
            *y = x.fma(w, *y);
        }
    }
}

fn forward_planes<T: Float>(x: &[T], w: &[T], tail: &TailData<'_, T>, g: Geometry, y: &mut [T]) {
    let (h, width) = g.input;
    let taps = g.kernel.0 * g.kernel.1;
    y.par_chunks_mut(g.pixels()).enumerate().for_each(|(plane, y)| {
        let x = &x[plane * h * width..][..h * width];
        let c = plane % g.inputs;
        let w = &w[c * taps..][..taps];
        simd(
            #[inline(always)]
            || {
                for (oy, y) in y.chunks_exact_mut(g.out.1).enumerate() {
                    for ty in 0..g.kernel.0 {
                        let Some(iy) = g.source(oy, ty, h) else { continue };
                        for tx in 0..g.kernel.1 {
                            let (a, b) = g.inside(tx);
                            if a < b {
                                let ix = a * g.stride + tx * g.dilation - g.padding;
                                let row = &x[iy * width + ix..(iy + 1) * width];
                                add_row(&mut y[a..b], row, g.stride, w[ty * g.kernel.1 + tx]);
                            }
                        }
                    }
                }
            },
        );
        tail.along_pixels(y, c, plane * g.pixels());
    });
}

/// Channels summed in registers.
const LANES: usize = 32;

fn forward_pixels<T: Float>(x: &[T], w: &[T], tail: &TailData<'_, T>, g: Geometry, y: &mut [T]) {
    let ((h, width), c) = (g.input, g.inputs);
    let w = by_tap(w, c);
    y.par_chunks_mut(g.out.1 * c).enumerate().for_each(|(row, y)| {
        let (b, oy) = (row / g.out.0, row % g.out.0);
        let x = &x[b * h * width * c..][..h * width * c];
        simd(
            #[inline(always)]
            || {
                for (ox, y) in y.chunks_exact_mut(c).enumerate() {
                    let mut blocks = y.chunks_exact_mut(LANES);
                    let mut first = 0;
                    for y in &mut blocks {
                        let mut sum = [T::ZERO; LANES];
                        for ty in 0..g.kernel.0 {
                            let Some(iy) = g.source(oy, ty, h) else { continue };
                            for tx in 0..g.kernel.1 {
                                let Some(ix) = g.source(ox, tx, width) else { continue };
                                let x = &x[(iy * width + ix) * c + first..][..LANES];
                                let w = &w[(ty * g.kernel.1 + tx) * c + first..][..LANES];
                                for ((s, &x), &w) in sum.iter_mut().zip(x).zip(w) {
                                    *s = x.fma(w, *s);
                                }
                            }
                        }
                        y.copy_from_slice(&sum);
                        first += LANES;
                    }
                    let rest = blocks.into_remainder();
                    for ty in 0..g.kernel.0 {
                        let Some(iy) = g.source(oy, ty, h) else { continue };
                        for tx in 0..g.kernel.1 {
                            let Some(ix) = g.source(ox, tx, width) else { continue };
                            let x = &x[(iy * width + ix) * c + first..];
                            let w = &w[(ty * g.kernel.1 + tx) * c + first..];
                            for ((s, &x), &w) in rest.iter_mut().zip(x).zip(w) {
                                *s = x.fma(w, *s);
                            }
                        }
                    }
                }
            },
        );
        tail.across_channels(y, 0, c, row * g.out.1 * c);
    });
}

/// `[C, 1, kh, kw]` as `[kh, kw, C]`.
fn by_tap<T: Float>(w: &[T], channels: usize) -> Vec<T> {
    let taps = w.len() / channels.max(1);
    (0..w.len()).map(|i| w[i % channels * taps + i / channels]).collect()
}

fn backward<T: Float>(
    x: &Tensor,
    weight: &Tensor,
    dy: &Tensor,
    g: Geometry,
    layout: Layout,
) -> Result<(Tensor, Tensor)> {
    let (data, w, dy) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(weight)?, Data::<T>::contiguous(dy)?);
    let mut dx = vec![T::ZERO; data.len()];
    let dw = if dx.is_empty() {
        vec![T::ZERO; w.len()]
    } else {
        match layout {
            Layout::Nchw => backward_planes(&data, &w, &dy, g, &mut dx),
            Layout::Nhwc => backward_pixels(&data, &w, &dy, g, &mut dx),
        }
    };
    Ok((Value::new(dx, x.dims()).tensor()?, Value::new(dw, weight.dims()).tensor()?))
}

fn backward_planes<T: Float>(x: &[T], w: &[T], dy: &[T], g: Geometry, dx: &mut [T]) -> Vec<T> {
    let (h, width) = g.input;
    let taps = g.kernel.0 * g.kernel.1;
    let parts: Vec<Vec<T>> = dx
        .par_chunks_mut(h * width)
        .enumerate()
        .map(|(plane, dx)| {
            let x = &x[plane * h * width..][..h * width];
            let dy = &dy[plane * g.pixels()..][..g.pixels()];
            let w = &w[plane % g.inputs * taps..][..taps];
            let mut dw = vec![T::ZERO; taps];
            let mut copy = vec![T::ZERO; g.out.1];
            simd(
                #[inline(always)]
                || {
                    for (oy, dy) in dy.chunks_exact(g.out.1).enumerate() {
                        for tap in 0..taps {
                            let (ty, tx) = (tap / g.kernel.1, tap % g.kernel.1);
                            let (a, b) = g.inside(tx);
                            let (true, Some(iy)) = (a < b, g.source(oy, ty, h)) else { continue };
                            let start = iy * width + a * g.stride + tx * g.dilation - g.padding;
                            let dy = &dy[a..b];
                            for (dx, &dy) in dx[start..].iter_mut().step_by(g.stride).zip(dy) {
                                *dx = dy.fma(w[tap], *dx);
                            }
                            for (copy, &x) in copy.iter_mut().zip(x[start..].iter().step_by(g.stride)).take(b - a) {
                                *copy = x;
                            }
                            dw[tap] += dot(&copy[..b - a], dy);
                        }
                    }
                },
            );
            dw
        })
        .collect();
    let mut dw = vec![T::ZERO; g.inputs * taps];
    for (plane, part) in parts.iter().enumerate() {
        for (d, &p) in dw[plane % g.inputs * taps..].iter_mut().zip(part) {
            *d += p;
        }
    }
    dw
}

fn backward_pixels<T: Float>(x: &[T], w: &[T], dy: &[T], g: Geometry, dx: &mut [T]) -> Vec<T> {
    let ((h, width), c) = (g.input, g.inputs);
    let taps = g.kernel.0 * g.kernel.1;
    let by_tap = by_tap(w, c);
    // by input rows: what each tap of each output that read this row adds to it
    let parts: Vec<Vec<T>> = dx
        .par_chunks_mut(width * c)
        .enumerate()
        .map(|(row, dx)| {
            let (b, iy) = (row / h, row % h);
            let x = &x[row * width * c..][..width * c];
            let mut dw = vec![T::ZERO; taps * c];
            simd(
                #[inline(always)]
                || {
                    for ty in 0..g.kernel.0 {
                        let Some(reach) = (iy + g.padding).checked_sub(ty * g.dilation) else { continue };
                        let oy = reach / g.stride;
                        if !reach.is_multiple_of(g.stride) || oy >= g.out.0 {
                            continue;
                        }
                        let dy = &dy[(b * g.out.0 + oy) * g.out.1 * c..][..g.out.1 * c];
                        for tx in 0..g.kernel.1 {
                            let tap = ty * g.kernel.1 + tx;
                            let (w, dw) = (&by_tap[tap * c..][..c], &mut dw[tap * c..][..c]);
                            let (from, to) = g.inside(tx);
                            for ox in from..to {
                                let ix = ox * g.stride + tx * g.dilation - g.padding;
                                let (dy, x) = (&dy[ox * c..][..c], &x[ix * c..][..c]);
                                let dx = &mut dx[ix * c..][..c];
                                for i in 0..c {
                                    dx[i] = dy[i].fma(w[i], dx[i]);
                                    dw[i] = dy[i].fma(x[i], dw[i]);
                                }
                            }
                        }
                    }
                },
            );
            dw
        })
        .collect();
    let sum = add_up(parts, taps * c);
    // back to [C, 1, kh, kw]
    (0..taps * c).map(|i| sum[i % taps * c + i / taps]).collect()
}
