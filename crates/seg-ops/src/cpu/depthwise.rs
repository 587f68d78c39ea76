//! Depthwise convolution: one filter a channel, by direct sums in either layout. How the sums are laid out is in [`super::depthwise_maps`].

use super::conv::channel_sums;
use super::depthwise_maps::{Maps, convolve, weight_gradient};
use super::patches::Geometry;
use super::product::add_up;
use super::rows::Total;
use super::softmax::dot;
use super::tail::Tail;
use super::vector::Vector;
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
            Ok((Some(dx), Some(dw), Some(bias_gradient(dy, layout)?)))
        })?,
        None => attach2("depthwise_conv2d", value, x, weight, move |x, w, _, dy| {
            let (dx, dw) = dispatch!(x, self::backward(x, w, dy, g, layout))?;
            Ok((Some(dx), Some(dw)))
        })?,
    };
    activate_tail(y, e, layout.channel_axis())
}

fn forward<T: Vector>(
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
    let y = convolve(&x, &w, &Maps::new(g, layout), &tail);
    Ok(Value::new(y, &layout.shape(g.batch, g.outputs, g.out.0, g.out.1)[..]))
}

/// `[C, 1, kh, kw]` as `[kh, kw, C]`.
fn by_tap<T: Float>(w: &[T], channels: usize) -> Vec<T> {
    let taps = w.len() / channels.max(1);
    (0..w.len()).map(|i| w[i % channels * taps + i / channels]).collect()
}

fn backward<T: Vector>(
    x: &Tensor,
    weight: &Tensor,
    dy: &Tensor,
    g: Geometry,
    layout: Layout,
) -> Result<(Tensor, Tensor)> {
    let (data, w, dy) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(weight)?, Data::<T>::contiguous(dy)?);
    if let Some(reverse) = reversed(g) {
        // the gradient of the input is a convolution of that of the output with the filters turned around
        let turned: Vec<T> = w.chunks_exact(g.kernel.0 * g.kernel.1).flat_map(|w| w.iter().rev().copied()).collect();
        let dx = convolve(&dy, &turned, &Maps::new(reverse, layout), &Tail::new(None, Epilogue::NONE)?.data()?);
        let dw = weight_gradient(&data, &dy, &Maps::new(g, layout));
        return Ok((Value::new(dx, x.dims()).tensor()?, Value::new(dw, weight.dims()).tensor()?));
    }
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

/// The geometry of the convolution that makes the gradient of the input, if there is one.
fn reversed(g: Geometry) -> Option<Geometry> {
    let reach = (g.kernel.0 - 1) * g.dilation;
    (g.stride == 1 && g.kernel.0 == g.kernel.1 && g.padding <= reach && g.out.0 * g.out.1 > 0).then(|| Geometry {
        input: g.out,
        out: g.input,
        padding: reach - g.padding,
        ..g
    })
}

fn bias_gradient(dy: &Tensor, layout: Layout) -> Result<Tensor> {
    match layout {
        Layout::Nchw => dispatch!(dy, self::plane_sums(dy)),
        Layout::Nhwc => channel_sums(dy, layout),
    }
}

fn plane_sums<T: Vector>(dy: &Tensor) -> Result<Tensor> {
    let (b, c, h, w) = dy.dims4()?;
    let data = Data::<T>::contiguous(dy)?;
    let (mut sums, arch) = (vec![T::ZERO; c], pulp::Arch::new());
    if h * w > 0 {
        let planes: Vec<T> = data.par_chunks(h * w).map(|plane| arch.dispatch(Total(plane))).collect();
        for image in planes.chunks_exact(c).take(b) {
            for (s, &p) in sums.iter_mut().zip(image) {
                *s += p;
            }
        }
    }
    Value::new(sums, c).tensor()
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
