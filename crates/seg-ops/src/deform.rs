//! Deformable convolution.

use crate::error::{
    Result, check_dims, check_float, check_like, check_positive, check_reach, check_taps, check_vector, shape_error,
};
use crate::narrow::{is_half, wide, wide_option};
use crate::{Layout, composed, cpu};
use candle_core::Tensor;

/// Geometry of [`deform_conv2d`], the same for both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeformConv2dParams {
    /// Input pixels from one output pixel to the next.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
    /// Input pixels from one tap of the kernel to the next, before its offset.
    pub dilation: usize,
    /// Order of the axes of input, offsets, mask and output.
    pub layout: Layout,
}

impl Default for DeformConv2dParams {
    fn default() -> Self {
        Self { stride: 1, padding: 0, dilation: 1, layout: Layout::Nchw }
    }
}

impl DeformConv2dParams {
    /// Output size along an axis of `len` pixels with `kernel` taps; the kernel must fit.
    fn output(&self, len: usize, kernel: usize) -> usize {
        (len + 2 * self.padding - self.dilation * (kernel - 1) - 1) / self.stride + 1
    }
}

/// Modulated deformable convolution (version 2, arXiv 1811.11168), with torchvision's `deform_conv2d` semantics: every output pixel looks at the taps of
/// its kernel where its own offsets move them, between pixels bilinearly and with zeros outside the image, and weighs them with its own mask.
///
/// In [`Layout::Nchw`] `x` is `[B, I, H, W]`, `offset` `[B, 2 kh kw, h, w]` with rows before columns (dy, dx) for each tap and taps row by row, `mask`
/// `[B, kh kw, h, w]` (all ones if `None`), and the result `[B, O, h, w]` with `h = (H + 2 padding - dilation (kh - 1) - 1) / stride + 1`; in
/// [`Layout::Nhwc`] the channels of each come last. `weight` is always `[O, I, kh, kw]`, `bias` `[O]`. There is one group, and one set of offsets for all
/// channels.
///
/// All five tensors get gradients. An offset's gradient at a position between two pixels is that of the segment to the right or below.
///
/// # Errors
/// If shapes, types or parameters do not fit together, or the kernel is larger than the padded image.
pub fn deform_conv2d(
    x: &Tensor,
    offset: &Tensor,
    mask: Option<&Tensor>,
    weight: &Tensor,
    bias: Option<&Tensor>,
    p: &DeformConv2dParams,
) -> Result<Tensor> {
    const OP: &str = "deform_conv2d";
    check_float(OP, "x", x)?;
    check_like(OP, "weight", weight, x)?;
    let (b, c, h, w) = p.layout.dims(OP, "x", x)?;
    check_positive(OP, &[("stride", p.stride), ("dilation", p.dilation)])?;
    let [outputs, inputs, kh, kw] = *weight.dims() else {
        return shape_error(OP, "weight", weight, "[O, I, kh, kw]");
    };
    if inputs != c {
        return shape_error(OP, "x", x, format!("{inputs} channels, as the weight is {:?}", weight.dims()));
    }
    check_taps(OP, weight, (kh, kw))?;
    check_reach(OP, x, (h, w), (kh, kw), p.padding, p.dilation)?;
    let (oh, ow) = (p.output(h, kh), p.output(w, kw));
    check_dims(OP, "offset", offset, &p.layout.shape(b, 2 * kh * kw, oh, ow), x)?;
    if let Some(mask) = mask {
        check_dims(OP, "mask", mask, &p.layout.shape(b, kh * kw, oh, ow), x)?;
    }
    if let Some(bias) = bias {
        check_vector(OP, "bias", bias, outputs, x)?;
    }
    if p.layout == Layout::Nchw {
        let last = |t: &Tensor| p.layout.to_nhwc(t)?.contiguous();
        let mask = mask.map(last).transpose()?;
        let of_last = DeformConv2dParams { layout: Layout::Nhwc, ..*p };
        return p.layout.of_nhwc(deform_conv2d(&last(x)?, &last(offset)?, mask.as_ref(), weight, bias, &of_last)?);
    }
    if is_half(x) {
        let (x32, offset, mask) = (wide(x)?, wide(offset)?, wide_option(mask)?);
        let (weight, bias) = (wide(weight)?, wide_option(bias)?);
        return deform_conv2d(&x32, &offset, mask.as_ref(), &weight, bias.as_ref(), p)?.to_dtype(x.dtype());
    }
    let f = if x.device().is_cpu() { cpu::deform::deform_conv2d } else { composed::deform_conv2d };
    f(x, offset, mask, weight, bias, p)
}
