use super::pointwise::finish;
use super::pool::{pad_to, tap};
use super::product::linear;
use super::widen_on_cpu;
use crate::error::Result;
use crate::{Conv2dParams, ConvTranspose2dParams, Epilogue, Layout};
use candle_core::Tensor;

/// See [`crate::conv2d`].
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, p: &Conv2dParams, e: Epilogue<'_>) -> Result<Tensor> {
    let (outputs, _, kh, kw) = weight.dims4()?;
    let pointwise = kh == 1 && kw == 1 && p.stride == 1 && p.padding == 0 && p.groups == 1;
    if pointwise && p.layout == Layout::Nhwc {
        return linear(x, &weight.flatten_from(1)?, bias, e);
    }
    let wide = widen_on_cpu(x)?;
    let nchw = p.layout.to_nchw(&wide)?;
    let weight = widen_on_cpu(weight)?;
    let (b, c, h, w) = nchw.dims4()?;
    let (oh, ow) = (p.output(h, kh), p.output(w, kw));
    let y = if b == 0 || c == 0 || outputs == 0 {
        Tensor::zeros((b, outputs, oh, ow), nchw.dtype(), nchw.device())?
    } else if pointwise {
        let columns = nchw.contiguous()?.reshape((b, c, h * w))?;
        weight.reshape((1, outputs, c))?.broadcast_matmul(&columns)?.reshape((b, outputs, h, w))?
    } else {
        // Padded and cut to exactly what the output needs: candle's backward takes the height's remainder for the width's too.
        let size = ((oh - 1) * p.stride + p.dilation * (kh - 1) + 1, (ow - 1) * p.stride + p.dilation * (kw - 1) + 1);
        let padded = pad_to(&nchw, p.padding, size, 0.)?.contiguous()?;
        if p.groups == c && p.groups == outputs && p.groups > 1 {
            depthwise(&padded, &weight, p, (oh, ow))?
        } else if x.device().is_metal() {
            // Metal's weight gradient is wrong for more than one image
            let images = (0..b)
                .map(|i| padded.narrow(0, i, 1)?.conv2d(&weight, 0, p.stride, p.dilation, p.groups))
                .collect::<Result<Vec<_>>>()?;
            Tensor::cat(&images, 0)?
        } else {
            padded.conv2d(&weight, 0, p.stride, p.dilation, p.groups)?
        }
    };
    let y = p.layout.of_nchw(y.to_dtype(x.dtype())?)?;
    finish(y, bias, e, p.layout.channel_axis())
}

/// One filter a channel, as a sum over taps: candle would run a convolution per channel.
fn depthwise(padded: &Tensor, weight: &Tensor, p: &Conv2dParams, out: (usize, usize)) -> Result<Tensor> {
    let (c, _, kh, kw) = weight.dims4()?;
    let mut sum: Option<Tensor> = None;
    for i in 0..kh {
        for j in 0..kw {
            let factor = weight.narrow(2, i, 1)?.narrow(3, j, 1)?.reshape((1, c, 1, 1))?;
            let next = tap(padded, (i * p.dilation, j * p.dilation), p.stride, out)?.broadcast_mul(&factor)?;
            sum = Some(match sum {
                Some(sum) => (sum + next)?,
                None => next,
            });
        }
    }
    sum.map_or_else(|| Ok(padded.clone()), Ok)
}

/// See [`crate::conv_transpose2d`].
pub fn conv_transpose2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    p: &ConvTranspose2dParams,
    e: Epilogue<'_>,
) -> Result<Tensor> {
    let (inputs, outputs, kh, kw) = weight.dims4()?;
    let (b, _, h, w) = p.layout.dims("conv_transpose2d", "x", x)?;
    let (oh, ow) = (p.output(h, kh), p.output(w, kw));
    let wide = widen_on_cpu(x)?;
    let weight = widen_on_cpu(weight)?;
    let y = if b == 0 || inputs == 0 || outputs == 0 {
        Tensor::zeros((b, outputs, oh, ow), wide.dtype(), wide.device())?
    } else if p.is_shuffle(kh, kw) {
        // no overlap: each pixel becomes its own k × k block
        let pixels = p.layout.to_nhwc(&wide)?;
        let blocks =
            pixels.contiguous()?.reshape((b * h * w, inputs))?.matmul(&weight.reshape((inputs, outputs * kh * kw))?)?;
        blocks
            .reshape((b, h, w, outputs, kh, kw))?
            .permute((0, 3, 1, 4, 2, 5))?
            .contiguous()?
            .reshape((b, outputs, oh, ow))?
    } else {
        let nchw = p.layout.to_nchw(&wide)?;
        nchw.contiguous()?.conv_transpose2d(&weight.contiguous()?, p.padding, p.output_padding, p.stride, p.dilation)?
    };
    let y = p.layout.of_nchw(y.to_dtype(x.dtype())?)?;
    finish(y, bias, e, p.layout.channel_axis())
}
