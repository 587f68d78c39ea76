//! Dense and grouped convolution and its transpose.
//!
//! Three products over blocks of output pixels, with the patches of one block in scratch memory (im2col, bounded): the output, the gradient of the
//! input, the gradient of the weight. A transposed convolution is the same three with the roles exchanged.

use super::alloc::written;
use super::matrix::{Keep, Mat, Shared, product, product_shared};
use super::patches::Geometry;
use super::processor::arch;
use super::rows::Total;
use super::tail::{Tail, TailData};
use super::vector::Vector;
use super::winograd::{self, Weights};
use super::{Data, Value, Wanted, activate_tail, attach2, dispatch, tracked, weighted};
use super::{conv_pixels, conv_planes, conv_weights};
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
    let layout = p.layout;
    let forward = |e: Epilogue<'_>| dispatch!(x, self::forward(x, weight, bias, e, g, layout));
    let backward = move |x: &Tensor, w: &Tensor, dy: &Tensor, wanted: Wanted| {
        let dx = || dispatch!(x, self::input_gradient(dy, w, g, layout))?.tensor();
        let dw = || dispatch!(x, self::weight_gradient(x, dy, w, g, layout))?.tensor();
        wanted.gradients(dx, dw)
    };
    let sums = move |dy: &Tensor| channel_sums(dy, layout);
    weighted("conv2d", (x, weight, bias), (e, layout.channel_axis()), forward, backward, sums)
}

/// A convolution channels last and its two gradients, for an operation of which it is a part.
#[derive(Clone, Copy)]
pub(super) struct Convolution(Geometry);

impl Convolution {
    /// Of a map of `x`'s shape.
    pub fn new(x: &Tensor, weight: &Tensor, p: &Conv2dParams) -> Result<Self> {
        Geometry::of_conv(x, weight, p).map(Self)
    }

    pub fn forward<T: Vector>(self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Value> {
        forward::<T>(x, weight, bias, Epilogue::NONE, self.0, Layout::Nhwc)
    }

    pub fn input_gradient<T: Vector>(self, dy: &Tensor, weight: &Tensor) -> Result<Value> {
        input_gradient::<T>(dy, weight, self.0, Layout::Nhwc)
    }

    pub fn weight_gradient<T: Vector>(self, x: &Tensor, dy: &Tensor, weight: &Tensor) -> Result<Value> {
        weight_gradient::<T>(x, dy, weight, self.0, Layout::Nhwc)
    }
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
        dispatch!(x, self::input_gradient(x, weight, g, layout))?
    };
    let wanted = Wanted::of(x, weight);
    let y = attach2("conv_transpose2d", value, x, weight, move |x, w, _, dy| {
        let dx = || dispatch!(x, self::forward(dy, w, None, Epilogue::NONE, g, layout))?.tensor();
        let dw = || dispatch!(x, self::weight_gradient(dy, x, w, g, layout))?.tensor();
        wanted.gradients(dx, dw)
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
fn shuffled<T: Vector>(
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

/// The sum over all axes but the channels: the gradient of a bias.
pub(super) fn channel_sums(dy: &Tensor, layout: Layout) -> Result<Tensor> {
    match layout {
        Layout::Nchw => dispatch!(dy, self::plane_sums(dy)),
        Layout::Nhwc => super::product::column_sums(dy),
    }
}

fn plane_sums<T: Vector>(dy: &Tensor) -> Result<Tensor> {
    let (b, c, h, w) = dy.dims4()?;
    let dy = Data::<T>::contiguous(dy)?;
    let (mut sums, arch) = (vec![T::ZERO; c], arch());
    sums.par_iter_mut().enumerate().for_each(|(channel, sum)| {
        for image in 0..b {
            // pieces, so that a long sum stays accurate
            let plane = &dy[(image * c + channel) * h * w..][..h * w];
            *sum += plane.chunks(2048).map(|piece| arch.dispatch(Total(piece))).sum();
        }
    });
    Value::new(sums, c).tensor()
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
    let w = Weights { data: &w[..], outputs: g.depth(), inputs: g.kernel.0 * g.kernel.1, flipped: false };
    let y = convolve(&x, w, &tail, g, layout);
    Ok(Value::new(y, &layout.shape(g.batch, g.outputs, g.out.0, g.out.1)[..]))
}

/// The convolution by the kernel that suits it; only Winograd's takes weights in another order than `[O, I / groups, kh, kw]`.
fn convolve<T: Vector>(x: &[T], w: Weights<'_, T>, tail: &TailData<'_, T>, g: Geometry, layout: Layout) -> Vec<T> {
    let size = g.batch * g.outputs * g.pixels();
    if size == 0 {
        return Vec::new();
    }
    #[allow(unsafe_code)]
    // SAFETY: every kernel writes all elements and reads them only afterwards.
    unsafe {
        written(size, |y| match layout {
            _ if winograd::fits(&g) => winograd::forward(x, w, tail, g, layout, y),
            Layout::Nchw if g.is_pointwise() => pointwise(x, w.data, tail, g, y),
            Layout::Nchw => conv_planes::forward(x, w.data, tail, g, y),
            Layout::Nhwc => conv_pixels::forward(x, w.data, tail, g, y),
        })
    }
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

/// The gradient of the input from that of the output, both in `layout`; also the value of a transposed convolution.
fn input_gradient<T: Vector>(dy: &Tensor, weight: &Tensor, g: Geometry, layout: Layout) -> Result<Value> {
    let (kh, kw) = g.kernel;
    let reach = g.dilation * (kh - 1);
    if kh == kw && g.stride == kh && g.padding == 0 && g.groups == 1 && g.input == (g.out.0 * kh, g.out.1 * kw) {
        return shuffled::<T>(dy, weight, None, Epilogue::NONE, g, layout);
    }
    if kh != kw || g.stride != 1 || g.padding > reach {
        let dx = scattered::<T>(&layout.to_nchw(dy)?.contiguous()?, weight, g)?.tensor()?;
        let dx = layout.of_nchw(dx)?;
        return Ok(Value::new(Data::<T>::contiguous(&dx)?.to_vec(), dx.dims()));
    }
    // with stride 1 it is a convolution with the taps in reverse, inputs and outputs exchanged
    let back =
        Geometry { inputs: g.outputs, outputs: g.inputs, input: g.out, out: g.input, padding: reach - g.padding, ..g };
    let none = Tail::new(None, Epilogue::NONE)?;
    let none = none.data::<T>()?;
    let (dy, w) = (Data::<T>::contiguous(dy)?, Data::<T>::contiguous(weight)?);
    let (gi, go, taps) = (g.inputs / g.groups, g.outputs / g.groups, kh * kw);
    let turned = Weights { data: &w[..], outputs: taps, inputs: gi * taps, flipped: true };
    let dx = if winograd::fits(&back) {
        convolve(&dy, turned, &none, back, layout)
    } else {
        let mut w = Vec::with_capacity(turned.data.len());
        for group in 0..g.groups {
            let w_group = Weights { data: &turned.data[group * go * gi * taps..], ..turned };
            for i in 0..gi {
                for o in 0..go {
                    w.extend((0..taps).map(|tap| w_group.at(i, o, tap, taps)));
                }
            }
        }
        convolve(&dy, Weights { data: &w, outputs: go * taps, inputs: taps, flipped: false }, &none, back, layout)
    };
    Ok(Value::new(dx, &layout.shape(g.batch, g.inputs, g.input.0, g.input.1)[..]))
}

/// [`input_gradient`] for any convolution, channels first: products of blocks of pixels, added to where their patches came from.
fn scattered<T: Float>(dy: &Tensor, weight: &Tensor, g: Geometry) -> Result<Value> {
    let (dy, w) = (Data::<T>::contiguous(dy)?, Data::<T>::contiguous(weight)?);
    let (pixels, plane) = (g.pixels(), g.input.0 * g.input.1);
    let (gi, go) = (g.inputs / g.groups, g.outputs / g.groups);
    let (depth, taps) = (g.depth(), g.kernel.0 * g.kernel.1);
    let mut dx = vec![T::ZERO; g.batch * g.inputs * plane];
    if dx.is_empty() {
        return Ok(Value::new(dx, (g.batch, g.inputs, g.input.0, g.input.1)));
    }
    // patches overlap, so a task has whole planes: some of a group's channels
    let chunk = gi.div_ceil(16usize.div_ceil(g.batch * g.groups)).max(1);
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
    });
    Ok(Value::new(dx, (g.batch, g.inputs, g.input.0, g.input.1)))
}

/// The gradient of the weight from the input and the output's gradient.
fn weight_gradient<T: Vector>(x: &Tensor, dy: &Tensor, weight: &Tensor, g: Geometry, layout: Layout) -> Result<Value> {
    let (x, dy) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(dy)?);
    Ok(Value::new(conv_weights::gradient(&x, &dy, g, layout), weight.dims()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, composed};
    use candle_core::{DType, Device, Var};

    fn numbers(dims: &[usize], seed: u32) -> Result<Tensor> {
        let mut state = seed;
        let n = dims.iter().product();
        let values: Vec<f64> = (0..n)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f64::from(state >> 8) / f64::from(1 << 23) - 1.
            })
            .collect();
        Tensor::from_vec(values, dims, &Device::Cpu)
    }

    fn distance(a: &Tensor, b: &Tensor) -> Result<f64> {
        (a.to_dtype(DType::F64)? - b)?.abs()?.max_all()?.to_scalar()
    }

    /// Every kernel, with every instruction set that this processor has, against the composition.
    #[test]
    fn all_instruction_sets() -> Result<()> {
        for instructions in [1, 2, 0] {
            super::super::processor::force(instructions);
            for (x, w, stride, padding, dilation) in [
                ([1, 18, 11, 14], [21, 18, 3, 3], 1, 1, 1),
                ([1, 16, 9, 13], [16, 16, 3, 3], 1, 2, 2),
                ([2, 3, 17, 21], [13, 3, 3, 3], 2, 1, 1),
                ([1, 5, 12, 50], [9, 5, 7, 7], 1, 3, 1),
                ([1, 6, 8, 8], [35, 6, 4, 4], 4, 0, 1),
            ] {
                for layout in [Layout::Nchw, Layout::Nhwc] {
                    let p = Conv2dParams { stride, padding, dilation, groups: 1, layout };
                    let map = layout.shape(x[0], x[1], x[2], x[3]);
                    let inputs = [numbers(&map, 1)?, numbers(&w, 2)?, numbers(&w[..1], 3)?];
                    let e = Epilogue::act(Activation::Relu);
                    let slow = composed::conv2d(&inputs[0], &inputs[1], Some(&inputs[2]), &p, e)?;
                    for (dtype, tolerance) in [(DType::F64, 1e-11), (DType::F32, 1e-4)] {
                        let vars: Vec<Var> =
                            inputs.iter().map(|t| Var::from_tensor(&t.to_dtype(dtype)?)).collect::<Result<_>>()?;
                        let plain: Vec<Tensor> = vars.iter().map(|v| v.as_detached_tensor()).collect();
                        let y = conv2d(&plain[0], &plain[1], Some(&plain[2]), &p, e)?;
                        let d = distance(&y, &slow)?;
                        assert!(d < tolerance, "set {instructions}, {dtype:?}, {p:?}: {d}");
                        let gradients = |f: &dyn Fn(&[Var]) -> Result<Tensor>, vars: &[Var]| -> Result<Vec<Tensor>> {
                            let grads = f(vars)?.sqr()?.sum_all()?.backward()?;
                            vars.iter()
                                .map(|v| {
                                    grads.get(v).cloned().ok_or(candle_core::Error::BackwardNotSupported { op: "test" })
                                })
                                .collect()
                        };
                        let fast = gradients(&|v| conv2d(&v[0], &v[1], Some(&v[2]), &p, Epilogue::NONE), &vars)?;
                        let wide: Vec<Var> = inputs.iter().map(Var::from_tensor).collect::<Result<_>>()?;
                        let exact =
                            gradients(&|v| composed::conv2d(&v[0], &v[1], Some(&v[2]), &p, Epilogue::NONE), &wide)?;
                        for (a, b) in fast.iter().zip(&exact) {
                            let size = b.abs()?.max_all()?.to_scalar::<f64>()?;
                            let d = distance(a, b)? / size;
                            assert!(d < tolerance, "set {instructions}, {dtype:?}, {p:?}: gradient {d}");
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
