//! Dense and grouped convolution and its transpose.
//!
//! Three products over blocks of output pixels, with the patches of one block in scratch memory (im2col, bounded): the output, the gradient of the
//! input, the gradient of the weight. A transposed convolution is the same three with the roles exchanged.

use super::alloc::written;
use super::lanes::Lanes;
use super::matrix::{Keep, Mat, Shared, product, product_shared};
use super::patches::Geometry;
use super::product::add_up;
use super::tail::{Tail, TailData};
use super::winograd::{self, Weights};
use super::{Data, Value, activate_tail, attach2, attach3, dispatch, tracked};
use super::{conv_pixels, conv_planes};
use crate::error::Result;
use crate::float::Float;
use crate::{Conv2dParams, ConvTranspose2dParams, Epilogue, Layout};
use candle_core::Tensor;
use gemm::Parallelism;
use rayon::prelude::*;

/// Elements of patches that a block holds.
const PATCHES: usize = 1 << 19;

/// See [`crate::conv2d`].
pub(crate) fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    p: &Conv2dParams,
    e: Epilogue<'_>,
) -> Result<Tensor> {
    let (x, weight) = (&x.contiguous()?, &weight.contiguous()?);
    let g = Geometry::of_conv(x, weight, p)?;
    if !tracked(&[Some(x), Some(weight), bias, e.scale, e.residual]) {
        return dispatch!(x, self::forward(x, weight, bias, e, g, p.layout))?.tensor();
    }
    let value = dispatch!(x, self::forward(x, weight, bias, Epilogue::NONE, g, p.layout))?;
    let layout = p.layout;
    let backward = move |x: &Tensor, w: &Tensor, dy: &Tensor| -> Result<(Tensor, Tensor)> {
        let (x, dy) = (&channels_first(x, layout)?, &channels_first(dy, layout)?);
        let dx = dispatch!(x, self::input_gradient(dy, w, None, Epilogue::NONE, g))?.tensor()?;
        let dw = dispatch!(x, self::weight_gradient(x, dy, w, g))?.tensor()?;
        Ok((from_channels_first(&dx, layout)?, dw))
    };
    let y = match bias {
        Some(bias) => attach3("conv2d", value, (x, weight, bias), move |x, w, _, _, dy| {
            let (dx, dw) = backward(x, w, dy)?;
            Ok((Some(dx), Some(dw), Some(channel_sums(dy, layout)?)))
        })?,
        None => attach2("conv2d", value, x, weight, move |x, w, _, dy| {
            let (dx, dw) = backward(x, w, dy)?;
            Ok((Some(dx), Some(dw)))
        })?,
    };
    activate_tail(y, e, p.layout.channel_axis())
}

/// See [`crate::conv_transpose2d`].
pub(crate) fn conv_transpose2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    p: &ConvTranspose2dParams,
    e: Epilogue<'_>,
) -> Result<Tensor> {
    let (x, weight) = (&x.contiguous()?, &weight.contiguous()?);
    let g = Geometry::of_transpose(x, weight, p)?;
    let layout = p.layout;
    let (_, _, kh, kw) = weight.dims4()?;
    let shuffle = p.is_shuffle(kh, kw);
    if shuffle && !tracked(&[Some(x), Some(weight), bias, e.scale, e.residual]) {
        return dispatch!(x, self::shuffled(x, weight, bias, e, g, layout))?.tensor();
    }
    let value = if shuffle {
        dispatch!(x, self::shuffled(x, weight, None, Epilogue::NONE, g, layout))?
    } else {
        dispatch!(x, self::overlapping(x, weight, g, layout))?
    };
    let y = attach2("conv_transpose2d", value, x, weight, move |x, w, _, dy| {
        let (x, dy) = (&channels_first(x, layout)?, &channels_first(dy, layout)?);
        let dx = dispatch!(x, self::forward(dy, w, None, Epilogue::NONE, g, Layout::Nchw))?.tensor()?;
        let dw = dispatch!(x, self::weight_gradient(dy, x, w, g))?.tensor()?;
        Ok((Some(from_channels_first(&dx, layout)?), Some(dw)))
    })?;
    let axis = layout.channel_axis();
    let y = match bias {
        Some(bias) => {
            let mut dims = [1; 4];
            dims[axis] = bias.elem_count();
            y.broadcast_add(&bias.reshape(&dims)?)?
        }
        None => y,
    };
    activate_tail(y, e, axis)
}

/// A transposed convolution whose taps do not overlap.
fn shuffled<T: Lanes>(
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
    let size = g.batch * g.inputs * g.input.0 * g.input.1;
    #[allow(unsafe_code)]
    // SAFETY: the kernel writes every element and reads it only afterwards.
    let y = unsafe {
        written(size, |y| {
            if size > 0 {
                conv_pixels::transposed(&x, &w, &tail, g, layout, y);
            }
        })
    };
    Ok(Value::new(y, &layout.shape(g.batch, g.inputs, g.input.0, g.input.1)[..]))
}

/// Any other.
fn overlapping<T: Lanes>(x: &Tensor, weight: &Tensor, g: Geometry, layout: Layout) -> Result<Value> {
    let y = input_gradient::<T>(&channels_first(x, layout)?, weight, None, Epilogue::NONE, g)?;
    match layout {
        Layout::Nchw => Ok(y),
        Layout::Nhwc => {
            let y = from_channels_first(&y.tensor()?, layout)?;
            Ok(Value::new(Data::<T>::contiguous(&y)?.to_vec(), y.dims()))
        }
    }
}

pub(super) fn channels_first(x: &Tensor, layout: Layout) -> Result<Tensor> {
    match layout {
        Layout::Nchw => x.contiguous(),
        Layout::Nhwc => x.permute((0, 3, 1, 2))?.contiguous(),
    }
}

fn from_channels_first(x: &Tensor, layout: Layout) -> Result<Tensor> {
    match layout {
        Layout::Nchw => Ok(x.clone()),
        Layout::Nhwc => x.permute((0, 2, 3, 1))?.contiguous(),
    }
}

/// The sum over all axes but the channels: the gradient of a bias.
pub(super) fn channel_sums(dy: &Tensor, layout: Layout) -> Result<Tensor> {
    match layout {
        Layout::Nchw => dy.sum((2, 3))?.sum(0),
        Layout::Nhwc => super::product::column_sums(dy),
    }
}

fn forward<T: Lanes>(
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
    let size = g.batch * g.outputs * g.pixels();
    #[allow(unsafe_code)]
    // SAFETY: every kernel writes all elements and reads them only afterwards.
    let value = unsafe {
        written(size, |y| {
            if size > 0 && winograd::fits(&g) {
                let w = Weights { data: &w, outputs: 9 * g.inputs, inputs: 9, flipped: false };
                winograd::forward(&x, w, &tail, g, layout, y);
            } else if size > 0 {
                match layout {
                    Layout::Nchw if g.is_pointwise() => pointwise(&x, &w, &tail, g, y),
                    Layout::Nchw => conv_planes::forward(&x, &w, &tail, g, y),
                    Layout::Nhwc => conv_pixels::forward(&x, &w, &tail, g, y),
                }
            }
        })
    };
    Ok(Value::new(value, &layout.shape(g.batch, g.outputs, g.out.0, g.out.1)[..]))
}

/// Output pixels a block: bounded scratch, and work for all threads.
fn block_pixels(g: Geometry, depth: usize) -> usize {
    let share = (g.batch * g.pixels()).div_ceil(4 * rayon::current_num_threads());
    (PATCHES / depth.max(1)).clamp(64, 2048).min(share.next_multiple_of(16).max(64)).min(g.pixels().max(1))
}

/// A 1 × 1 convolution of channels-first images: the planes are the matrix.
fn pointwise<T: Float>(x: &[T], w: &[T], tail: &TailData<'_, T>, g: Geometry, y: &mut [T]) {
    let (depth, pixels) = (g.depth(), g.pixels());
    let go = g.outputs / g.groups;
    let block = pixels.min(1024);
    let blocks = pixels.div_ceil(block);
    let shared = Shared::new(y);
    (0..g.batch * g.groups * blocks).into_par_iter().for_each(|task| {
        let (group, from) = (task / blocks, task % blocks * block);
        let n = block.min(pixels - from);
        let columns = Mat { data: &x[group * depth * pixels + from..], rows: pixels, columns: 1 };
        let channel = group % g.groups * go;
        let at = group * go * pixels + from;
        let w = Mat::new(w, depth).skip_rows(channel);
        #[allow(unsafe_code)]
        // SAFETY: tasks differ in image, group or pixels.
        unsafe {
            product_shared((go, n, depth), shared, at, pixels, Keep::Nothing, T::ONE, w, columns, Parallelism::None);
        }
        for o in 0..go {
            #[allow(unsafe_code)]
            // SAFETY: as above.
            let y = unsafe { shared.part(at + o * pixels, n) };
            tail.along_pixels(y, channel + o, at + o * pixels);
        }
    });
}

/// The gradient of the input `[B, I, H, W]` from that of the output; also the value of a transposed convolution, which may have an epilogue.
fn input_gradient<T: Float>(
    dy: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    e: Epilogue<'_>,
    g: Geometry,
) -> Result<Value> {
    let tail = Tail::new(bias, e)?;
    let tail = tail.data::<T>()?;
    let (dy, w) = (Data::<T>::contiguous(dy)?, Data::<T>::contiguous(weight)?);
    let (pixels, plane) = (g.pixels(), g.input.0 * g.input.1);
    let (gi, go) = (g.inputs / g.groups, g.outputs / g.groups);
    let (depth, taps) = (g.depth(), g.kernel.0 * g.kernel.1);
    let mut dx = vec![T::ZERO; g.batch * g.inputs * plane];
    if dx.is_empty() {
        return Ok(Value::new(dx, (g.batch, g.inputs, g.input.0, g.input.1)));
    }
    // patches overlap, so a task has whole planes: some of a group's channels
    let threads = rayon::current_num_threads();
    let chunk = gi.div_ceil((4 * threads).div_ceil(g.batch * g.groups)).max(1);
    let chunks = gi.div_ceil(chunk);
    let shared = Shared::new(&mut dx);
    (0..g.batch * g.groups * chunks).into_par_iter().for_each_init(Vec::new, |patches, task| {
        let (group, first) = (task / chunks, task % chunks * chunk);
        let (b, group) = (group / g.groups, group % g.groups);
        let n = chunk.min(gi - first);
        #[allow(unsafe_code)]
        // SAFETY: tasks differ in image, group or channels.
        let dx = unsafe { shared.part((b * g.inputs + group * gi + first) * plane, n * plane) };
        let dy = &dy[(b * g.outputs + group * go) * pixels..][..go * pixels];
        let w = Mat::new(&w[group * go * depth + first * taps..], depth).t();
        let block = (PATCHES / (n * taps)).clamp(64, 4096).min(pixels);
        for from in (0..pixels).step_by(block) {
            let count = block.min(pixels - from);
            let dy = Mat { data: &dy[from..], rows: pixels, columns: 1 };
            patches.resize(n * taps * count, T::ZERO);
            product((n * taps, count, go), patches, count, Keep::Nothing, T::ONE, w, dy);
            g.scatter_rows(&patches[..n * taps * count], from, count, dx);
        }
        let channel = group * gi + first;
        for (i, dx) in dx.chunks_exact_mut(plane).enumerate() {
            tail.along_pixels(dx, channel + i, (b * g.inputs + channel + i) * plane);
        }
    });
    Ok(Value::new(dx, (g.batch, g.inputs, g.input.0, g.input.1)))
}

/// The gradient of the weight from the input `[B, I, H, W]` and the output's gradient.
fn weight_gradient<T: Float>(x: &Tensor, dy: &Tensor, weight: &Tensor, g: Geometry) -> Result<Value> {
    let (x, dy) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(dy)?);
    let (pixels, plane) = (g.pixels(), g.input.0 * g.input.1);
    let (gi, go) = (g.inputs / g.groups, g.outputs / g.groups);
    let depth = g.depth();
    let size = g.outputs * depth;
    if x.is_empty() || dy.is_empty() {
        return Ok(Value::new(vec![T::ZERO; size], weight.dims()));
    }
    let block = block_pixels(g, depth);
    let blocks = pixels.div_ceil(block);
    // a few long runs of blocks, each with a sum of its own
    let runs = (2 * rayon::current_num_threads()).min(g.batch * blocks);
    let total = g.batch * blocks;
    let parts: Vec<Vec<T>> = (0..runs)
        .into_par_iter()
        .map(|run| {
            let mut dw = vec![T::ZERO; size];
            let mut patches = Vec::new();
            for task in run * total / runs..(run + 1) * total / runs {
                let (b, from) = (task / blocks, task % blocks * block);
                let n = block.min(pixels - from);
                for group in 0..g.groups {
                    let x = &x[(b * g.inputs + group * gi) * plane..][..gi * plane];
                    patches.resize(depth * n, T::ZERO);
                    g.gather_rows(x, from, n, &mut patches);
                    let dy =
                        Mat { data: &dy[(b * g.outputs + group * go) * pixels + from..], rows: pixels, columns: 1 };
                    let dw = &mut dw[group * go * depth..(group + 1) * go * depth];
                    product((go, depth, n), dw, depth, Keep::Sum, T::ONE, dy, Mat::new(&patches, n).t());
                }
            }
            dw
        })
        .collect();
    Ok(Value::new(add_up(parts, size), weight.dims()))
}
