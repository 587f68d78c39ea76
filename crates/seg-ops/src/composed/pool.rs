use super::widen;
use crate::error::Result;
use crate::{Layout, Pool2dParams};
use candle_core::{DType, Tensor};

/// The feature map `[B, C, H, W]` seen through tap `(i, j)` of a window: one element per output position, zero-copy where the stride is 1.
pub(super) fn tap(x: &Tensor, start: (usize, usize), stride: usize, out: (usize, usize)) -> Result<Tensor> {
    let mut y = x.clone();
    for (axis, (start, out)) in [(2, (start.0, out.0)), (3, (start.1, out.1))] {
        y = y.narrow(axis, start, (out - 1) * stride + 1)?;
        if stride > 1 {
            // a strided slice: fill up to whole strides, then keep the first of each
            y = y.pad_with_zeros(axis, 0, stride - 1)?;
            let mut dims = y.dims().to_vec();
            dims[axis] = out;
            dims.insert(axis + 1, stride);
            y = y.reshape(dims)?.narrow(axis + 1, 0, 1)?.squeeze(axis + 1)?;
        }
    }
    Ok(y)
}

/// Fills up with `value`: `before` rows and columns in front, and behind up to `(h, w)` in all (cut off where `x` reaches further).
pub(super) fn pad_to(x: &Tensor, before: usize, (h, w): (usize, usize), value: f64) -> Result<Tensor> {
    let mut y = x.clone();
    for (axis, size) in [(2, h), (3, w)] {
        let have = y.dim(axis)?;
        let after = size.saturating_sub(have + before);
        let mut parts = Vec::with_capacity(3);
        for n in [before, after] {
            let mut dims = y.dims().to_vec();
            dims[axis] = n;
            parts.push(Tensor::full(value as f32, dims, y.device())?.to_dtype(y.dtype())?);
        }
        if before + after > 0 {
            y = Tensor::cat(&[&parts[0], &y, &parts[1]], axis)?;
        }
        if have + before > size {
            y = y.narrow(axis, 0, size)?;
        }
    }
    Ok(y)
}

fn in_nchw(x: &Tensor, layout: Layout, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    layout.of_nchw(f(&layout.to_nchw(x)?)?)
}

/// See [`crate::max_pool2d`].
pub fn max_pool2d(x: &Tensor, p: &Pool2dParams) -> Result<Tensor> {
    in_nchw(x, p.layout, |x| {
        let (b, c, h, w) = x.dims4()?;
        let (oh, ow) = (p.output(h), p.output(w));
        if b * c == 0 {
            return Tensor::zeros((b, c, oh, ow), x.dtype(), x.device());
        }
        let size = ((oh - 1) * p.stride + p.kernel, (ow - 1) * p.stride + p.kernel);
        let padded = pad_to(x, p.padding, size, f64::NEG_INFINITY)?;
        let mut best: Option<Tensor> = None;
        for i in 0..p.kernel {
            for j in 0..p.kernel {
                let next = tap(&padded, (i, j), p.stride, (oh, ow))?;
                best = Some(match best {
                    // strictly greater, so that the first of equals keeps the gradient; a NaN wins, as in PyTorch
                    Some(best) => (next.gt(&best)? + next.ne(&next)?)?.where_cond(&next, &best)?,
                    None => next,
                });
            }
        }
        best.map_or_else(|| Ok(x.clone()), |y| y.contiguous())
    })
}

/// See [`crate::avg_pool2d`].
pub fn avg_pool2d(x: &Tensor, p: &Pool2dParams) -> Result<Tensor> {
    in_nchw(x, p.layout, |x| {
        let (b, c, h, w) = x.dims4()?;
        let (oh, ow) = (p.output(h), p.output(w));
        if b * c == 0 {
            return Tensor::zeros((b, c, oh, ow), x.dtype(), x.device());
        }
        let size = ((oh - 1) * p.stride + p.kernel, (ow - 1) * p.stride + p.kernel);
        let padded = pad_to(&widen(x)?, p.padding, size, 0.)?;
        let mut sum: Option<Tensor> = None;
        for i in 0..p.kernel {
            for j in 0..p.kernel {
                let next = tap(&padded, (i, j), p.stride, (oh, ow))?;
                sum = Some(match sum {
                    Some(sum) => (sum + next)?,
                    None => next,
                });
            }
        }
        let sum = sum.map_or_else(|| Ok(x.clone()), |y| y.contiguous())?;
        let reciprocal = |out: usize, len: usize| -> Vec<f64> {
            (0..out).map(|o| 1. / p.divisor(o, len) as f64).collect::<Vec<_>>()
        };
        let rows = Tensor::from_vec(reciprocal(oh, h), (1, 1, oh, 1), &candle_core::Device::Cpu)?;
        let columns = Tensor::from_vec(reciprocal(ow, w), (1, 1, 1, ow), &candle_core::Device::Cpu)?;
        let factor = rows.broadcast_mul(&columns)?;
        let factor = if sum.dtype() == DType::F64 { factor } else { factor.to_dtype(DType::F32)? };
        sum.broadcast_mul(&factor.to_device(x.device())?)?.to_dtype(x.dtype())
    })
}
