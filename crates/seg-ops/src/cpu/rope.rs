//! Rotations of pairs of channels.

use super::{Data, Value, attach1, dispatch, simd, written};
use crate::error::Result;
use crate::float::Float;
use candle_core::Tensor;
use rayon::prelude::*;

/// Elements a task.
const CHUNK: usize = 16 * 1024;

/// See [`crate::rope_2d`].
pub(crate) fn rope_2d(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let (x, cos, sin) = (&x.contiguous()?, cos.contiguous()?, sin.contiguous()?);
    let value = dispatch!(x, self::rotate(x, &cos, &sin, false))?;
    // the gradient is turned back
    attach1("rope_2d", value, x, move |_, _, g| dispatch!(g, self::rotate(g, &cos, &sin, true))?.tensor().map(Some))
}

fn rotate<T: Float>(x: &Tensor, cos: &Tensor, sin: &Tensor, back: bool) -> Result<Value> {
    let (_, _, n, d) = x.dims4()?;
    let (data, cos, sin) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(cos)?, Data::<T>::contiguous(sin)?);
    let sign = if back { -T::ONE } else { T::ONE };
    let rows = CHUNK.div_ceil(d.max(1));
    let write = |y: &mut [T]| {
        y.par_chunks_mut((rows * d).max(1)).zip(data.par_chunks((rows * d).max(1))).enumerate().for_each(
            |(chunk, (y, x))| {
                simd(
                    #[inline(always)]
                    || {
                        for (i, (y, x)) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)).enumerate() {
                            let at = (chunk * rows + i) % n * (d / 2);
                            let angles = cos[at..][..d / 2].iter().zip(&sin[at..][..d / 2]);
                            for ((y, x), (&c, &s)) in y.chunks_exact_mut(2).zip(x.chunks_exact(2)).zip(angles) {
                                let s = sign * s;
                                y[0] = x[0] * c - x[1] * s;
                                y[1] = x[0] * s + x[1] * c;
                            }
                        }
                    },
                );
            },
        );
    };
    #[allow(unsafe_code)]
    // SAFETY: the rows are all there are; each element is written once.
    Ok(Value::new(unsafe { written(data.len(), write) }, x.dims()))
}
