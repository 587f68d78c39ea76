//! Layer normalisation over rows, and over the channels of each pixel.

use super::matrix::Shared;
use super::norm_rows::{Norm, NormBackward, SHORT};
use super::processor::arch;
use super::product::add_up;
use super::vector::Vector;
use super::{Data, Value, attach2, attach3, dispatch, tracked, written};
use crate::error::Result;
use candle_core::{D, Tensor};
use rayon::prelude::*;

/// Elements a task.
const CHUNK: usize = 16 * 1024;

/// Bytes of an output of long rows from which on it is written past the caches: with its input it would fill them, and whoever reads it next would not
/// find it.
const LARGE: usize = 8 << 20;

/// See [`crate::layer_norm`].
pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    let (x, weight) = (&x.contiguous()?, &weight.contiguous()?);
    let wanted = tracked(&[Some(x), Some(weight), bias]);
    let (value, statistics) = dispatch!(x, self::forward(x, weight, bias, eps, wanted))?;
    match bias {
        Some(bias) => attach3("layer_norm", value, (x, weight, bias), move |x, w, _, _, g| {
            let [dx, dw, db] = gradients(x, w, g, &statistics)?;
            Ok((Some(dx), Some(dw), Some(db)))
        }),
        None => attach2("layer_norm", value, x, weight, move |x, w, _, g| {
            let [dx, dw, _] = gradients(x, w, g, &statistics)?;
            Ok((Some(dx), Some(dw)))
        }),
    }
}

/// The value, detached, and mean and reciprocal standard deviation of each row.
pub(super) fn with_statistics(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    let (value, statistics) = dispatch!(x, self::forward(x, weight, bias, eps, true))?;
    Ok((value.tensor()?, statistics))
}

/// The gradients of `x`, weight and bias, by the statistics that [`with_statistics`] gives.
pub(super) fn gradients(x: &Tensor, weight: &Tensor, g: &Tensor, statistics: &Tensor) -> Result<[Tensor; 3]> {
    dispatch!(x, self::backward(x, weight, g, statistics))
}

/// The value, and mean and reciprocal standard deviation of each row, none unless asked for.
fn forward<T: Vector>(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    eps: f64,
    keep: bool,
) -> Result<(Value, Tensor)> {
    let c = x.dim(D::Minus1)?.max(1);
    let bias = bias.map(Tensor::contiguous).transpose()?;
    let (data, weight) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(weight)?);
    let bias = bias.as_ref().map(Data::<T>::contiguous).transpose()?;
    let (weight, bias) = (&weight[..], bias.as_deref().unwrap_or(&[]));
    assert!(data.is_empty() || weight.len() == c);
    let (rows, arch, eps) = (CHUNK.div_ceil(c), arch(), T::of(eps));
    let mut kept = vec![T::ZERO; if keep { 2 * data.len() / c } else { 0 }];
    let all = Shared::new(&mut kept);
    let each = |y: &mut [T]| {
        let whole = |bytes: usize| bytes.is_multiple_of(16);
        let stream = c > SHORT && size_of_val(y) >= LARGE && whole(c * size_of::<T>()) && whole(y.as_ptr().addr());
        y.par_chunks_mut(rows * c).zip(data.par_chunks(rows * c)).enumerate().for_each(|(i, (y, x))| {
            let count = if keep { x.len() / c } else { 0 };
            #[allow(unsafe_code)]
            // SAFETY: each chunk has rows of its own.
            let kept = unsafe { all.part(2 * i * if keep { rows } else { 0 }, 2 * count) };
            arch.dispatch(Norm { y, x, weight, bias, eps, kept, stream });
        });
    };
    #[allow(unsafe_code)]
    // SAFETY: whole rows, as long as the weight, each of which the kernel writes.
    let y = unsafe { written(data.len(), each) };
    let count = kept.len();
    Ok((Value::new(y, x.dims()), Value::new(kept, count).tensor()?))
}

/// Partial sums of the gradients of weight and bias at most, whatever the number of threads.
const PARTS: usize = 64;

/// In one visit to each row: the sums along it and its part of the gradients of weight and bias, then its own gradient.
fn backward<T: Vector>(x: &Tensor, weight: &Tensor, g: &Tensor, statistics: &Tensor) -> Result<[Tensor; 3]> {
    let channels = x.dim(D::Minus1)?;
    let c = channels.max(1);
    let (data, weight, g) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(weight)?, Data::<T>::contiguous(g)?);
    let kept = &*Data::<T>::contiguous(statistics)?;
    let (weight, arch) = (&weight[..], arch());
    assert!(data.is_empty() || (weight.len() == c && g.len() == data.len() && kept.len() == 2 * data.len() / c));
    let rows = CHUNK.div_ceil(c).max((data.len() / c).div_ceil(PARTS));
    // per chunk the gradients of weight and bias, one after the other
    let mut sums: Vec<Vec<T>> = Vec::new();
    let each = |dx: &mut [T]| {
        dx.par_chunks_mut(rows * c)
            .zip(data.par_chunks(rows * c).zip(g.par_chunks(rows * c)).zip(kept.par_chunks(2 * rows)))
            .map(|(dx, ((x, g), kept))| {
                let mut sums = vec![T::ZERO; 2 * c];
                let (dw, db) = sums.split_at_mut(c);
                arch.dispatch(NormBackward { dx, dw, db, x, g, weight, kept });
                sums
            })
            .collect_into_vec(&mut sums);
    };
    #[allow(unsafe_code)]
    // SAFETY: input, gradient and what is kept are of one length, in whole rows as long as the weight, each of which the kernel writes.
    let dx = unsafe { written(data.len(), each) };
    let mut dw = add_up(sums, 2 * c);
    dw.truncate(2 * channels);
    let db = dw.split_off(channels);
    Ok([Value::new(dx, x.dims()).tensor()?, Value::new(dw, channels).tensor()?, Value::new(db, channels).tensor()?])
}
