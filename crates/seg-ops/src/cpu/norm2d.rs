//! Layer normalisation over the channels of each pixel.

use super::matrix::Shared;
use super::product::add_up;
use super::softmax::{dot, reduce};
use super::{Data, Value, attach3, dispatch, simd, written};
use crate::error::Result;
use crate::float::Float;
use candle_core::Tensor;
use rayon::prelude::*;

/// Pixels a task: with a few hundred channels they stay in the second-level cache.
const PIXELS: usize = 256;

/// See [`crate::layer_norm_2d`].
pub(crate) fn layer_norm_2d(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let (x, weight, bias) = (&x.contiguous()?, &weight.contiguous()?, &bias.contiguous()?);
    let value = dispatch!(x, self::forward(x, weight, bias, eps))?;
    attach3("layer_norm_2d", value, (x, weight, bias), move |x, w, _, _, g| {
        let (dx, dw, db) = dispatch!(x, self::backward(x, w, g, eps))?;
        Ok((Some(dx), Some(dw), Some(db)))
    })
}

/// The pixels of one task: `n` from `from` on in planes of `plane`, the first of which begins at `at`.
#[derive(Clone, Copy)]
struct Block {
    at: usize,
    plane: usize,
    from: usize,
    n: usize,
}

impl Block {
    fn all(b: usize, c: usize, plane: usize) -> impl IndexedParallelIterator<Item = Self> {
        let blocks = plane.div_ceil(PIXELS);
        (0..b * blocks).into_par_iter().map(move |task| {
            let from = task % blocks * PIXELS;
            Self { at: task / blocks * c * plane, plane, from, n: PIXELS.min(plane - from) }
        })
    }

    /// Where the pixels of channel `c` begin.
    #[inline(always)]
    fn start(&self, c: usize) -> usize {
        self.at + c * self.plane + self.from
    }

    /// Mean and reciprocal standard deviation of each pixel.
    #[inline(always)]
    fn moments<T: Float>(&self, x: &[T], channels: usize, eps: T) -> ([T; PIXELS], [T; PIXELS]) {
        let (mut mean, mut spread) = ([T::ZERO; PIXELS], [T::ZERO; PIXELS]);
        let n = T::of_usize(channels);
        for c in 0..channels {
            for (m, &x) in mean.iter_mut().zip(&x[self.start(c)..][..self.n]) {
                *m += x;
            }
        }
        for m in &mut mean {
            *m = *m / n;
        }
        for c in 0..channels {
            for ((s, &m), &x) in spread.iter_mut().zip(&mean).zip(&x[self.start(c)..][..self.n]) {
                *s = (x - m).fma(x - m, *s);
            }
        }
        for s in &mut spread {
            *s = T::ONE / (*s / n + eps).sqrt();
        }
        (mean, spread)
    }
}

fn forward<T: Float>(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Value> {
    let (b, channels, h, w) = x.dims4()?;
    let (data, weight, bias) =
        (Data::<T>::contiguous(x)?, Data::<T>::contiguous(weight)?, Data::<T>::contiguous(bias)?);
    let (data, weight, bias) = (&data[..], &weight[..], &bias[..]);
    let each = |y: &mut [T]| {
        let shared = Shared::new(y);
        Block::all(b, channels, h * w).for_each(|block| {
            simd(
                #[inline(always)]
                || {
                    let (mean, inverse) = block.moments(data, channels, T::of(eps));
                    for c in 0..channels {
                        #[allow(unsafe_code)]
                        // SAFETY: blocks have pixels of their own.
                        let y = unsafe { shared.part(block.start(c), block.n) };
                        let x = &data[block.start(c)..][..block.n];
                        for (((y, &x), &m), &i) in y.iter_mut().zip(x).zip(&mean).zip(&inverse) {
                            *y = ((x - m) * i).fma(weight[c], bias[c]);
                        }
                    }
                },
            );
        });
    };
    #[allow(unsafe_code)]
    // SAFETY: the blocks cover every pixel of every channel, and read nothing of the output.
    let y = unsafe { written(data.len(), each) };
    Ok(Value::new(y, x.dims()))
}

fn backward<T: Float>(x: &Tensor, weight: &Tensor, g: &Tensor, eps: f64) -> Result<(Tensor, Tensor, Tensor)> {
    let (b, channels, h, w) = x.dims4()?;
    let (data, weight, g) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(weight)?, Data::<T>::contiguous(g)?);
    let (data, weight, g) = (&data[..], &weight[..], &g[..]);
    let mut sums: Vec<Vec<T>> = Vec::new();
    let each = |dx: &mut [T]| {
        let shared = Shared::new(dx);
        Block::all(b, channels, h * w)
            .map(|block| {
                let mut sums = vec![T::ZERO; 2 * channels];
                simd(
                    #[inline(always)]
                    || {
                        let n = T::of_usize(channels);
                        let (mean, inverse) = block.moments(data, channels, T::of(eps));
                        let (mut mean_g, mut along) = ([T::ZERO; PIXELS], [T::ZERO; PIXELS]);
                        for c in 0..channels {
                            let (x, g) = (&data[block.start(c)..][..block.n], &g[block.start(c)..][..block.n]);
                            let mut normed = [T::ZERO; PIXELS];
                            for i in 0..block.n {
                                normed[i] = (x[i] - mean[i]) * inverse[i];
                                let weighted = g[i] * weight[c];
                                mean_g[i] += weighted;
                                along[i] = weighted.fma(normed[i], along[i]);
                            }
                            sums[c] = dot(g, &normed[..block.n]);
                            sums[channels + c] = reduce(g, T::ZERO, |a, b| a + b);
                        }
                        for c in 0..channels {
                            #[allow(unsafe_code)]
                            // SAFETY: blocks have pixels of their own.
                            let dx = unsafe { shared.part(block.start(c), block.n) };
                            let (x, g) = (&data[block.start(c)..][..block.n], &g[block.start(c)..][..block.n]);
                            for i in 0..block.n {
                                let normed = (x[i] - mean[i]) * inverse[i];
                                dx[i] = inverse[i] * (g[i] * weight[c] - (mean_g[i] + normed * along[i]) / n);
                            }
                        }
                    },
                );
                sums
            })
            .collect_into_vec(&mut sums);
    };
    #[allow(unsafe_code)]
    // SAFETY: the blocks cover every pixel of every channel, and read nothing of the output.
    let dx = unsafe { written(data.len(), each) };
    let mut dw = add_up(sums, 2 * channels);
    let db = dw.split_off(channels);
    Ok((Value::new(dx, x.dims()).tensor()?, Value::new(dw, channels).tensor()?, Value::new(db, channels).tensor()?))
}
