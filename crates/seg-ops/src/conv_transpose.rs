//! Transposed convolution.

use crate::error::{
    Result, check_float, check_like, check_positive, check_taps, check_vector, parameter_error, shape_error,
};
use crate::narrow::{is_half, wide, wide_option};
use crate::{Epilogue, Layout, composed, cpu};
use candle_core::Tensor;

/// Geometry of [`conv_transpose2d`], the same for both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvTranspose2dParams {
    /// Output pixels from one input pixel to the next.
    pub stride: usize,
    /// Pixels cut off on each side of the output.
    pub padding: usize,
    /// Pixels that the output reaches further at the bottom and the right; less than the stride or the dilation.
    pub output_padding: usize,
    /// Output pixels from one tap of the kernel to the next.
    pub dilation: usize,
    /// Order of the axes of input and output.
    pub layout: Layout,
}

impl Default for ConvTranspose2dParams {
    fn default() -> Self {
        Self { stride: 1, padding: 0, output_padding: 0, dilation: 1, layout: Layout::Nchw }
    }
}

impl ConvTranspose2dParams {
    /// Output size along an axis of `len` pixels with `kernel` taps.
    pub(crate) fn output(&self, len: usize, kernel: usize) -> usize {
        (len - 1) * self.stride + self.dilation * (kernel - 1) + self.output_padding + 1 - 2 * self.padding
    }

    /// Whether the kernel covers each output pixel exactly once.
    pub(crate) fn is_shuffle(&self, kh: usize, kw: usize) -> bool {
        kh == self.stride && kw == self.stride && self.padding == 0 && self.output_padding == 0 && self.dilation == 1
    }
}

/// 2-D transposed convolution, then bias and [`Epilogue`].
///
/// `x` is `[B, I, H, W]` or `[B, H, W, I]` by the layout, `weight` always `[I, O, kh, kw]`, `bias` `[O]`. The output has the layout of the input
/// and `(H - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1` rows.
///
/// # Errors
/// If shapes, types or parameters do not fit together, or nothing of the output would be left.
pub fn conv_transpose2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    p: &ConvTranspose2dParams,
    e: Epilogue<'_>,
) -> Result<Tensor> {
    const OP: &str = "conv_transpose2d";
    check_float(OP, "x", x)?;
    check_like(OP, "weight", weight, x)?;
    let (b, c, h, w) = p.layout.dims(OP, "x", x)?;
    check_positive(OP, &[("stride", p.stride), ("dilation", p.dilation)])?;
    if p.output_padding >= p.stride.max(p.dilation) {
        let expected = format!("less than the stride {} or the dilation {}", p.stride, p.dilation);
        return parameter_error(OP, "output_padding", p.output_padding, expected);
    }
    let [inputs, outputs, kh, kw] = *weight.dims() else {
        return shape_error(OP, "weight", weight, "[I, O, kh, kw]");
    };
    if inputs != c {
        return shape_error(OP, "x", x, format!("{inputs} channels, as the weight is {:?}", weight.dims()));
    }
    check_taps(OP, weight, (kh, kw))?;
    for (len, k) in [(h, kh), (w, kw)] {
        if len == 0 || (len - 1) * p.stride + p.dilation * (k - 1) + p.output_padding < 2 * p.padding {
            return shape_error(OP, "x", x, format!("an image of which a padding of {} leaves something", p.padding));
        }
    }
    if let Some(bias) = bias {
        check_vector(OP, "bias", bias, outputs, x)?;
    }
    e.check(OP, outputs, &p.layout.shape(b, outputs, p.output(h, kh), p.output(w, kw)), x)?;
    if is_half(x) {
        let (x32, weight, bias) = (wide(x)?, wide(weight)?, wide_option(bias)?);
        return e.widened(|e| cpu::conv::conv_transpose2d(&x32, &weight, bias.as_ref(), p, e))?.to_dtype(x.dtype());
    }
    let f = if x.device().is_cpu() { cpu::conv::conv_transpose2d } else { composed::conv_transpose2d };
    f(x, weight, bias, p, e)
}
