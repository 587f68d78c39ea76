//! What follows a product, applied to rows while they are still in the cache.

use super::pointwise::act_in_place;
use super::{Data, simd};
use crate::error::Result;
use crate::float::Float;
use crate::{Activation, Epilogue};
use candle_core::Tensor;
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

impl<T: Float> TailData<'_, T> {
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
