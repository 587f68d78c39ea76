use super::widen;
use crate::DeformConv2dParams;
use crate::error::Result;
use candle_core::{DType, Device, Tensor};

/// Bilinear samples of `pixels` `[B H W, C]`, the images of a batch one after the other, at `ys` and `xs` `[B, N]` in pixels of a `h` × `w` image, zeros
/// outside: `[B N, C]`. Differentiable in all three.
pub(super) fn samples(pixels: &Tensor, (h, w): (usize, usize), ys: &Tensor, xs: &Tensor) -> Result<Tensor> {
    let (b, n) = ys.dims2()?;
    let images = Tensor::arange(0u32, b as u32, pixels.device())?.to_dtype(ys.dtype())?;
    let first = (images * (h * w) as f64)?.reshape((b, 1))?;
    // far away is outside all the same, and indices stay small
    let clamp = |t: &Tensor, len: usize| t.clamp(-2., len as f64 + 1.);
    let (ys, xs) = (clamp(ys, h)?, clamp(xs, w)?);
    let (y0, x0) = (ys.detach().floor()?, xs.detach().floor()?);
    let (fy, fx) = ((&ys - &y0)?, (&xs - &x0)?);
    let mut sum: Option<Tensor> = None;
    for (dy, dx) in [(0., 0.), (0., 1.), (1., 0.), (1., 1.)] {
        let (y, x) = ((&y0 + dy)?, (&x0 + dx)?);
        let inside = |t: &Tensor, len: usize| t.ge(0.)?.mul(&t.lt(len as f64)?)?.to_dtype(ys.dtype());
        let inside = (inside(&y, h)? * inside(&x, w)?)?;
        let weight = |f: &Tensor, d: f64| if d == 0. { f.affine(-1., 1.) } else { Ok(f.clone()) };
        let weight = ((weight(&fy, dy)? * weight(&fx, dx)?)? * inside)?;
        let at = (y.clamp(0., h as f64 - 1.)? * w as f64)?.add(&x.clamp(0., w as f64 - 1.)?)?;
        let at = at.broadcast_add(&first)?.flatten_all()?.to_dtype(DType::U32)?;
        let corner = pixels.index_select(&at, 0)?.broadcast_mul(&weight.reshape((b * n, 1))?)?;
        sum = Some(match sum {
            Some(sum) => (sum + corner)?,
            None => corner,
        });
    }
    sum.map_or_else(|| Tensor::zeros((b * n, pixels.dim(1)?), pixels.dtype(), pixels.device()), Ok)
}

/// See [`crate::deform_conv2d`], in either layout: one product a tap. Positions are counted in f32, so images have less than 2^24 pixels a batch.
pub fn deform_conv2d(
    x: &Tensor,
    offset: &Tensor,
    mask: Option<&Tensor>,
    weight: &Tensor,
    bias: Option<&Tensor>,
    p: &DeformConv2dParams,
) -> Result<Tensor> {
    let dtype = x.dtype();
    let last = |t: &Tensor| widen(&p.layout.to_nhwc(t)?.contiguous()?);
    let (x, offset, weight) = (last(x)?, last(offset)?, widen(weight)?);
    let mask = mask.map(last).transpose()?;
    let ((b, h, w, c), (_, oh, ow, _)) = (x.dims4()?, offset.dims4()?);
    let (outputs, _, kh, kw) = weight.dims4()?;
    if b * oh * ow * outputs == 0 {
        return p.layout.of_nhwc(Tensor::zeros((b, oh, ow, outputs), dtype, x.device())?);
    }
    let pixels = x.reshape((b * h * w, c))?;
    let place = |n: usize, dims: (usize, usize, usize)| -> Result<Tensor> {
        let start: Vec<f64> = (0..n).map(|i| (i * p.stride) as f64 - p.padding as f64).collect();
        Tensor::from_vec(start, dims, &Device::Cpu)?.to_dtype(x.dtype())?.to_device(x.device())
    };
    let (rows, columns) = (place(oh, (1, oh, 1))?, place(ow, (1, 1, ow))?);
    let mut y: Option<Tensor> = None;
    for t in 0..kh * kw {
        let moved = |base: &Tensor, step: usize, at: usize| -> Result<Tensor> {
            let offset = offset.narrow(3, at, 1)?.squeeze(3)?;
            (offset.broadcast_add(base)? + (step * p.dilation) as f64)?.reshape((b, oh * ow))
        };
        let (ys, xs) = (moved(&rows, t / kw, 2 * t)?, moved(&columns, t % kw, 2 * t + 1)?);
        let mut seen = samples(&pixels, (h, w), &ys, &xs)?;
        if let Some(mask) = &mask {
            seen = seen.broadcast_mul(&mask.narrow(3, t, 1)?.reshape((b * oh * ow, 1))?)?;
        }
        let tap = weight.narrow(2, t / kw, 1)?.narrow(3, t % kw, 1)?.reshape((outputs, c))?;
        let next = seen.matmul(&tap.t()?)?;
        y = Some(match y {
            Some(y) => (y + next)?,
            None => next,
        });
    }
    let y = y.map_or_else(|| Tensor::zeros((b * oh * ow, outputs), x.dtype(), x.device()), Ok)?;
    let y = match bias {
        Some(bias) => y.broadcast_add(&widen(bias)?)?,
        None => y,
    };
    p.layout.of_nhwc(y.reshape((b, oh, ow, outputs))?.to_dtype(dtype)?)
}
