//! Layer normalisation over rows, and over the channels of each pixel.

use super::product::add_up;
use super::rows::{Norm, NormBackward};
use super::vector::Vector;
use super::{Data, Value, attach2, attach3, dispatch, written};
use crate::error::Result;
use candle_core::{D, Tensor};
use pulp::Arch;
use rayon::prelude::*;

/// Elements a task.
const CHUNK: usize = 16 * 1024;

/// See [`crate::layer_norm`].
pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    let (x, weight) = (&x.contiguous()?, &weight.contiguous()?);
    let value = dispatch!(x, self::forward(x, weight, bias, eps))?;
    match bias {
        Some(bias) => attach3("layer_norm", value, (x, weight, bias), move |x, w, _, _, g| {
            let (dx, dw, db) = dispatch!(x, self::backward(x, w, g, eps))?;
            Ok((Some(dx), Some(dw), Some(db)))
        }),
        None => attach2("layer_norm", value, x, weight, move |x, w, _, g| {
            let (dx, dw, _) = dispatch!(x, self::backward(x, w, g, eps))?;
            Ok((Some(dx), Some(dw)))
        }),
    }
}

fn forward<T: Vector>(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f64) -> Result<Value> {
    let c = x.dim(D::Minus1)?.max(1);
    let bias = bias.map(Tensor::contiguous).transpose()?;
    let (data, weight) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(weight)?);
    let bias = bias.as_ref().map(Data::<T>::contiguous).transpose()?;
    let (weight, bias) = (&weight[..], bias.as_deref().unwrap_or(&[]));
    assert!(data.is_empty() || weight.len() == c);
    let (rows, arch, eps) = (c * CHUNK.div_ceil(c), Arch::new(), T::of(eps));
    let each = |y: &mut [T]| {
        y.par_chunks_mut(rows)
            .zip(data.par_chunks(rows))
            .for_each(|(y, x)| arch.dispatch(Norm { y, x, weight, bias, eps }));
    };
    #[allow(unsafe_code)]
    // SAFETY: whole rows, as long as the weight, each of which the kernel writes.
    let y = unsafe { written(data.len(), each) };
    Ok(Value::new(y, x.dims()))
}

/// Partial sums of the gradients of weight and bias at most, whatever the number of threads.
const PARTS: usize = 64;

/// In one visit to each row: its moments, then the sums along it and its part of the gradients of weight and bias, then its own gradient.
fn backward<T: Vector>(x: &Tensor, weight: &Tensor, g: &Tensor, eps: f64) -> Result<(Tensor, Tensor, Tensor)> {
    let channels = x.dim(D::Minus1)?;
    let c = channels.max(1);
    let (data, weight, g) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(weight)?, Data::<T>::contiguous(g)?);
    let (weight, eps, arch) = (&weight[..], T::of(eps), Arch::new());
    assert!(data.is_empty() || (weight.len() == c && g.len() == data.len()));
    let rows = c * CHUNK.div_ceil(c).max((data.len() / c).div_ceil(PARTS));
    // per chunk the gradients of weight and bias, one after the other
    let mut sums: Vec<Vec<T>> = Vec::new();
    let each = |dx: &mut [T]| {
        dx.par_chunks_mut(rows)
            .zip(data.par_chunks(rows).zip(g.par_chunks(rows)))
            .map(|(dx, (x, g))| {
                let mut sums = vec![T::ZERO; 2 * c];
                let (dw, db) = sums.split_at_mut(c);
                arch.dispatch(NormBackward { dx, dw, db, x, g, weight, eps });
                sums
            })
            .collect_into_vec(&mut sums);
    };
    #[allow(unsafe_code)]
    // SAFETY: input and gradient are of one length, in whole rows as long as the weight, each of which the kernel writes.
    let dx = unsafe { written(data.len(), each) };
    let mut dw = add_up(sums, 2 * c);
    dw.truncate(2 * channels);
    let db = dw.split_off(channels);
    Ok((Value::new(dx, x.dims()).tensor()?, Value::new(dw, channels).tensor()?, Value::new(db, channels).tensor()?))
}
