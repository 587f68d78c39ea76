//! Activations.

use super::{Data, Value, attach1, dispatch, simd};
use crate::Activation;
use crate::error::Result;
use crate::float::Float;
use candle_core::Tensor;
use rayon::prelude::*;

/// Elements a task.
const CHUNK: usize = 16 * 1024;

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
    attach1("activate", value, x, move |x, _, g| dispatch!(x, self::backward(x, g, activation)).map(Some))
}

fn forward<T: Float>(x: &Tensor, activation: Activation) -> Result<Value> {
    let data = Data::<T>::contiguous(x)?;
    let mut y = vec![T::ZERO; data.len()];
    y.par_chunks_mut(CHUNK).zip(data.par_chunks(CHUNK)).for_each(|(y, x)| {
        y.copy_from_slice(x);
        simd(
            #[inline(always)]
            || act_in_place(y, activation),
        );
    });
    Ok(Value::new(y, x.dims()))
}

fn backward<T: Float>(x: &Tensor, g: &Tensor, activation: Activation) -> Result<Tensor> {
    let (data, g) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(g)?);
    let mut dx = g.to_vec();
    dx.par_chunks_mut(CHUNK).zip(data.par_chunks(CHUNK)).for_each(|(g, x)| {
        simd(
            #[inline(always)]
            || act_backward(g, x, activation),
        );
    });
    Value::new(dx, x.dims()).tensor()
}
