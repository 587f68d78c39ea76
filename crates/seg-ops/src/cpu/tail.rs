//! What follows a product, applied to rows while they are still in the cache.
#![allow(unsafe_code)]

use super::pointwise::act_in_place;
use super::vector::Vector;
use super::{Data, simd};
use crate::error::Result;
use crate::float::Float;
use crate::{Activation, Epilogue};
use candle_core::Tensor;
use pulp::Simd;
use rayon::prelude::*;

/// A bias and an [`Epilogue`] as contiguous tensors.
pub(crate) struct Tail {
    bias: Option<Tensor>,
    activation: Activation,
    scale: Option<Tensor>,
    residual: Option<Tensor>,
}

/// A [`Tail`]'s elements.
pub(crate) struct TailData<'a, T> {
    bias: Option<Data<'a, T>>,
    activation: Activation,
    scale: Option<Data<'a, T>>,
    residual: Option<Data<'a, T>>,
}

impl Tail {
    pub fn new(bias: Option<&Tensor>, e: Epilogue<'_>) -> Result<Self> {
        Ok(Self {
            bias: bias.map(Tensor::contiguous).transpose()?,
            activation: e.activation,
            scale: e.scale.map(Tensor::contiguous).transpose()?,
            residual: e.residual.map(Tensor::contiguous).transpose()?,
        })
    }

    pub fn data<T: Float>(&self) -> Result<TailData<'_, T>> {
        Ok(TailData {
            bias: self.bias.as_ref().map(Data::contiguous).transpose()?,
            activation: self.activation,
            scale: self.scale.as_ref().map(Data::contiguous).transpose()?,
            residual: self.residual.as_ref().map(Data::contiguous).transpose()?,
        })
    }
}

/// [`act_in_place`] for a vector; see there for the formulas.
#[inline(always)]
fn act<S: Simd>(s: S, x: S::f32s, activation: Activation) -> S::f32s {
    let v = |x: f32| s.splat_f32s(x);
    match activation {
        Activation::None => x,
        // so that a NaN stays one
        Activation::Relu => s.select_f32s(s.less_than_or_equal_f32s(x, v(0.)), v(0.), x),
        Activation::Gelu => {
            let z = s.mul_f32s(s.abs_f32s(x), v(std::f32::consts::FRAC_1_SQRT_2));
            let gauss = <f32 as Vector>::exp(s, s.neg_f32s(s.mul_f32s(z, z)));
            let t = s.div_f32s(v(1.), s.mul_add_f32s(z, v(0.327_591_1), v(1.)));
            let mut p = v(0.5 * 1.061_405_4);
            for c in [-1.453_152, 1.421_413_8, -0.284_496_72, 0.254_829_6] {
                p = s.mul_add_f32s(p, t, v(0.5 * c));
            }
            let tail = s.mul_f32s(s.mul_f32s(p, t), gauss);
            let phi = s.select_f32s(s.less_than_f32s(v(0.), x), s.sub_f32s(v(1.), tail), tail);
            s.mul_f32s(x, phi)
        }
        Activation::Sigmoid => {
            let e = <f32 as Vector>::exp(s, s.neg_f32s(s.abs_f32s(x)));
            let above = s.select_f32s(s.less_than_f32s(v(0.), x), v(1.), e);
            s.div_f32s(above, s.add_f32s(v(1.), e))
        }
    }
}

#[inline(always)]
fn load<S: Simd>(_: S, from: &[f32]) -> S::f32s {
    assert!(from.len() >= S::F32_LANES);
    // SAFETY: a vector's elements are there.
    unsafe { <f32 as Vector>::load::<S>(from.as_ptr()) }
}

#[inline(always)]
fn store<S: Simd>(_: S, to: &mut [f32], v: S::f32s) {
    assert!(to.len() >= S::F32_LANES);
    // SAFETY: there is room for a vector.
    unsafe { <f32 as Vector>::store::<S>(to.as_mut_ptr(), v) }
}

#[inline(always)]
fn load_part<S: Simd>(s: S, from: &[f32]) -> S::f32s {
    s.partial_load_f32s(from)
}

#[inline(always)]
fn store_part<S: Simd>(s: S, to: &mut [f32], v: S::f32s) {
    s.partial_store_f32s(to, v);
}

impl TailData<'_, f32> {
    /// To a row, or a part of one, that begins at channel `channel`, in one pass; `at` is its place in the output.
    #[inline(always)]
    pub fn row<S: Simd>(&self, s: S, y: &mut [f32], channel: usize, at: usize) {
        let n = y.len();
        let bias = self.bias.as_ref().map(|x| &x[channel..channel + n]);
        let scale = self.scale.as_ref().map(|x| &x[channel..channel + n]);
        let residual = self.residual.as_ref().map(|x| &x[at..at + n]);
        macro_rules! vector {
            ($part:expr, $get:ident, $put:ident) => {{
                let part = $part;
                let mut v = $get(s, &y[part.clone()]);
                if let Some(bias) = bias {
                    v = s.add_f32s(v, $get(s, &bias[part.clone()]));
                }
                v = act(s, v, self.activation);
                if let Some(scale) = scale {
                    v = s.mul_f32s(v, $get(s, &scale[part.clone()]));
                }
                if let Some(residual) = residual {
                    v = s.add_f32s(v, $get(s, &residual[part.clone()]));
                }
                $put(s, &mut y[part], v);
            }};
        }
        let whole = n - n % S::F32_LANES;
        for from in (0..whole).step_by(S::F32_LANES) {
            vector!(from..from + S::F32_LANES, load, store);
        }
        if whole < n {
            vector!(whole..n, load_part, store_part);
        }
    }
}

impl<T: Float> TailData<'_, T> {
    /// Itself, if there is anything to do.
    pub fn some(&self) -> Option<&Self> {
        if self.is_identity() { None } else { Some(self) }
    }

    fn is_identity(&self) -> bool {
        self.bias.is_none() && self.scale.is_none() && self.residual.is_none() && self.activation == Activation::None
    }

    /// To whole rows of `width` channels, or a part of one, that begin at channel `channel`; `at` is their place in the output.
    pub fn across_channels(&self, y: &mut [T], channel: usize, width: usize, at: usize) {
        if self.is_identity() || width == 0 {
            return;
        }
        // as many rows at a time as stay in the first-level cache from one step to the next
        let piece = width * (4096 / width).max(1);
        simd(
            #[inline(always)]
            || {
                for (i, y) in y.chunks_mut(piece).enumerate() {
                    if let Some(bias) = &self.bias {
                        let bias = &bias[channel..channel + width];
                        for y in y.chunks_exact_mut(width) {
                            for (y, &b) in y.iter_mut().zip(bias) {
                                *y += b;
                            }
                        }
                    }
                    act_in_place(y, self.activation);
                    if let Some(scale) = &self.scale {
                        let scale = &scale[channel..channel + width];
                        for y in y.chunks_exact_mut(width) {
                            for (y, &s) in y.iter_mut().zip(scale) {
                                *y *= s;
                            }
                        }
                    }
                    if let Some(residual) = &self.residual {
                        for (y, &r) in y.iter_mut().zip(&residual[at + i * piece..]) {
                            *y += r;
                        }
                    }
                }
            },
        );
    }

    /// All but the residual, to pixels in scratch memory: each has `stride` elements, of which `width` are channels from `channel` on. To be called under
    /// [`simd`].
    #[inline(always)]
    pub fn pixels_but_residual(&self, y: &mut [T], stride: usize, channel: usize, width: usize) {
        if let Some(bias) = &self.bias {
            let bias = &bias[channel..channel + width];
            for y in y.chunks_exact_mut(stride) {
                for (y, &b) in y.iter_mut().zip(bias) {
                    *y += b;
                }
            }
        }
        act_in_place(y, self.activation);
        if let Some(scale) = &self.scale {
            let scale = &scale[channel..channel + width];
            for y in y.chunks_exact_mut(stride) {
                for (y, &s) in y.iter_mut().zip(scale) {
                    *y *= s;
                }
            }
        }
    }

    /// The residual alone, to elements from `at` on.
    #[inline(always)]
    pub fn residual(&self, y: &mut [T], at: usize) {
        if let Some(residual) = &self.residual {
            for (y, &r) in y.iter_mut().zip(&residual[at..]) {
                *y += r;
            }
        }
    }

    /// The residual alone, to the elements that will stand `step` apart from `at` on.
    #[inline(always)]
    pub fn residual_apart(&self, y: &mut [T], at: usize, step: usize) {
        if let Some(residual) = &self.residual {
            for (y, &r) in y.iter_mut().zip(residual[at..].iter().step_by(step)) {
                *y += r;
            }
        }
    }

    /// To a whole channels-last output, on all threads.
    pub fn whole(&self, y: &mut [T], channels: usize) {
        if self.is_identity() || y.is_empty() {
            return;
        }
        let chunk = channels * (16_384 / channels).max(1);
        y.par_chunks_mut(chunk).enumerate().for_each(|(i, y)| self.across_channels(y, 0, channels, i * chunk));
    }

    /// To pixels of one channel; `at` is their place in the output.
    pub fn along_pixels(&self, y: &mut [T], channel: usize, at: usize) {
        if self.is_identity() {
            return;
        }
        let n = y.len();
        simd(
            #[inline(always)]
            || {
                if let Some(bias) = &self.bias {
                    let b = bias[channel];
                    for y in y.iter_mut() {
                        *y += b;
                    }
                }
                act_in_place(y, self.activation);
                if let Some(scale) = &self.scale {
                    let s = scale[channel];
                    for y in y.iter_mut() {
                        *y *= s;
                    }
                }
                if let Some(residual) = &self.residual {
                    for (y, &r) in y.iter_mut().zip(&residual[at..at + n]) {
                        *y += r;
                    }
                }
            },
        );
    }
}
