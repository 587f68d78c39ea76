//! Binary cross-entropy: a sum, and a slope for each element.

use super::{Data, Value, attach1, dispatch, written};
use crate::error::Result;
use crate::float::Float;
use candle_core::Tensor;
use rayon::prelude::*;

/// Elements a task.
const CHUNK: usize = 16 * 1024;

/// See [`crate::binary_cross_entropy`].
pub(crate) fn binary_cross_entropy(probabilities: &Tensor, target: &Tensor) -> Result<Tensor> {
    let (p, target) = (probabilities.contiguous()?, target.detach().contiguous()?);
    let value = dispatch!(p, self::forward(&p, &target))?;
    attach1("binary_cross_entropy", value, &p, move |p, _, g| dispatch!(p, self::backward(p, &target, g)).map(Some))
}

fn forward<T: Float>(p: &Tensor, target: &Tensor) -> Result<Value> {
    let (p, target) = (Data::<T>::contiguous(p)?, Data::<T>::contiguous(target)?);
    let least = T::of(-100.);
    // ln 0 = −∞ becomes −100; a NaN stays one
    let log = |p: T| {
        let log = p.ln();
        if log < least { least } else { log }
    };
    let parts: Vec<f64> = p
        .par_chunks(CHUNK)
        .zip(target.par_chunks(CHUNK))
        .map(|(p, t)| {
            p.iter().zip(t).map(|(&p, &t)| -(t * log(p) + (T::ONE - t) * log(T::ONE - p)).as_f64()).sum::<f64>()
        })
        .collect();
    // in the order of the chunks, whatever the number of threads
    Ok(Value::new(vec![T::of(parts.iter().sum::<f64>() / p.len() as f64)], ()))
}

fn backward<T: Float>(p: &Tensor, target: &Tensor, g: &Tensor) -> Result<Tensor> {
    let (data, target) = (Data::<T>::contiguous(p)?, Data::<T>::contiguous(target)?);
    let scale = T::of(Data::<T>::contiguous(g)?.iter().map(|g| g.as_f64()).sum::<f64>() / data.len() as f64);
    let least = T::of(1e-12);
    let each = |dx: &mut [T]| {
        let chunks = dx.par_chunks_mut(CHUNK).zip(data.par_chunks(CHUNK).zip(target.par_chunks(CHUNK)));
        chunks.for_each(|(dx, (p, t))| {
            for (dx, (&p, &t)) in dx.iter_mut().zip(p.iter().zip(t)) {
                let spread = p * (T::ONE - p);
                *dx = (p - t) / (if spread < least { least } else { spread }) * scale;
            }
        });
    };
    #[allow(unsafe_code)]
    // SAFETY: every element is written, and none read.
    let dx = unsafe { written(data.len(), each) };
    Value::new(dx, p.dims()).tensor()
}
