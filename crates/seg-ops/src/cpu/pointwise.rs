//! Activations.

use super::{Data, Value, attach1, dispatch, simd, written};
use crate::Activation;
use crate::error::Result;
use crate::float::Float;
use candle_core::Tensor;
use rayon::prelude::*;

/// Elements a task.
const CHUNK: usize = 32 * 1024;

/// Elements between two passes.
const PIECE: usize = 1024;

/// `(Φ(x), exp(-x²/2))`.
#[inline(always)]
fn normal<T: Float>(x: T) -> (T, T) {
    let z = x.abs() * T::of(std::f64::consts::FRAC_1_SQRT_2);
    let gauss = (-(z * z)).exp_of_negative();
    let tail = z.erfc_of_positive(gauss) * T::of(0.5);
    (if x > T::ZERO { T::ONE - tail } else { tail }, gauss)
}

#[inline(always)]
fn sigmoid<T: Float>(x: T) -> T {
    // of the negative side, so that nothing overflows
    let e = (-x.abs()).exp_of_negative();
    (if x > T::ZERO { T::ONE } else { e }) / (T::ONE + e)
}

/// The activation of each element; to be called under [`simd`].
#[inline(always)]
pub(crate) fn act_in_place<T: Float>(y: &mut [T], activation: Activation) {
    match activation {
        Activation::None => {}
        Activation::Relu => {
            for y in y {
                // so that a NaN stays one
                *y = if *y <= T::ZERO { T::ZERO } else { *y };
            }
        }
        Activation::Gelu => {
            for y in y {
                *y *= normal(*y).0;
            }
        }
        Activation::Sigmoid => {
            for y in y {
                *y = sigmoid(*y);
            }
        }
    }
}

/// `g` times the derivative at `x`.
#[inline(always)]
fn act_backward<T: Float>(g: &mut [T], x: &[T], activation: Activation) {
    match activation {
        Activation::None => {}
        Activation::Relu => {
            for (g, &x) in g.iter_mut().zip(x) {
                *g = if x <= T::ZERO { T::ZERO } else { *g };
            }
        }
        Activation::Gelu => {
            // 1 / √(2π)
            let density = T::of(0.398_942_280_401_432_7);
            for (g, &x) in g.iter_mut().zip(x) {
                let (phi, gauss) = normal(x);
                *g *= phi + x * density * gauss;
            }
        }
        Activation::Sigmoid => {
            for (g, &x) in g.iter_mut().zip(x) {
                let s = sigmoid(x);
                *g *= s * (T::ONE - s);
            }
        }
    }
}

/// See [`crate::activate`].
pub(crate) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    let x = &x.contiguous()?;
    let value = dispatch!(x, self::forward(x, activation))?;
    attach1("activate", value, x, move |x, _, g| gradient(x, g, activation).map(Some))
}

/// The gradient of `x` from that of its activation.
pub(super) fn gradient(x: &Tensor, g: &Tensor, activation: Activation) -> Result<Tensor> {
    dispatch!(x, self::backward(x, g, activation))
}

fn forward<T: Float>(x: &Tensor, activation: Activation) -> Result<Value> {
    let data = Data::<T>::contiguous(x)?;
    let each = |y: &mut [T]| {
        y.par_chunks_mut(CHUNK).zip(data.par_chunks(CHUNK)).for_each(|(y, x)| {
            simd(
                #[inline(always)]
                || {
                    if activation == Activation::Gelu {
                        for (y, &x) in y.iter_mut().zip(x) {
                            *y = x * normal(x).0;
                        }
                        return;
                    }
                    // in pieces that stay in the first-level cache
                    for (y, x) in y.chunks_mut(PIECE).zip(x.chunks(PIECE)) {
                        y.copy_from_slice(x);
                        act_in_place(y, activation);
                    }
                },
            );
        });
    };
    #[allow(unsafe_code)]
    // SAFETY: the chunks are as many as those of the input, each is written, or copied over before it is read.
    let y = unsafe { written(data.len(), each) };
    Ok(Value::new(y, x.dims()))
}

fn backward<T: Float>(x: &Tensor, g: &Tensor, activation: Activation) -> Result<Tensor> {
    let (data, g) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(g)?);
    let each = |dx: &mut [T]| {
        dx.par_chunks_mut(CHUNK).zip(data.par_chunks(CHUNK).zip(g.par_chunks(CHUNK))).for_each(|(dx, (x, g))| {
            simd(
                #[inline(always)]
                || {
                    for ((dx, x), g) in dx.chunks_mut(PIECE).zip(x.chunks(PIECE)).zip(g.chunks(PIECE)) {
                        dx.copy_from_slice(g);
                        act_backward(dx, x, activation);
                    }
                },
            );
        });
    };
    #[allow(unsafe_code)]
    // SAFETY: input and gradient are of one length; each chunk is copied over before it is read.
    let dx = unsafe { written(data.len().min(g.len()), each) };
    Value::new(dx, x.dims()).tensor()
}
