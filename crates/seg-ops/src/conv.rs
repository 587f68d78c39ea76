//! Convolution.

use crate::error::{
    Result, check_float, check_like, check_positive, check_reach, check_taps, check_vector, shape_error,
};
use crate::narrow::{is_half, wide, wide_option};
use crate::{Epilogue, Layout, composed, cpu};
use candle_core::Tensor;

/// Geometry of [`conv2d`], the same for both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dParams {
    /// Input pixels from one output pixel to the next.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
    /// Input pixels from one tap of the kernel to the next.
    pub dilation: usize,
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Order of the axes of input and output.
    pub layout: Layout,
}

impl Default for Conv2dParams {
    fn default() -> Self {
        Self { stride: 1, padding: 0, dilation: 1, groups: 1, layout: Layout::Nchw }
    }
}

impl Conv2dParams {
    /// Output size along an axis of `len` pixels with `kernel` taps; the kernel must fit.
    pub(crate) fn output(&self, len: usize, kernel: usize) -> usize {
        (len + 2 * self.padding - self.dilation * (kernel - 1) - 1) / self.stride + 1
    }

    /// Checks the weights of the operation `op` of a map of `(b, c, h, w)`, which is `x` or made of it: `[b, outputs, rows, columns]` of the output.
    pub(crate) fn check(
        &self,
        op: &'static str,
        x: &Tensor,
        (b, c, h, w): (usize, usize, usize, usize),
        weight: &Tensor,
        bias: Option<&Tensor>,
    ) -> Result<[usize; 4]> {
        check_like(op, "weight", weight, x)?;
        check_positive(op, &[("stride", self.stride), ("dilation", self.dilation), ("groups", self.groups)])?;
        let [outputs, inputs, kh, kw] = *weight.dims() else {
            return shape_error(op, "weight", weight, "[O, I / groups, kh, kw]");
        };
        if inputs * self.groups != c {
            let (all, groups) = (inputs * self.groups, self.groups);
            let expected = format!("{all} channels, as the weight is {:?} with {groups} groups", weight.dims());
            return shape_error(op, "x", x, expected);
        }
        if outputs % self.groups != 0 {
            let expected = format!("a number of outputs that {} groups divide", self.groups);
            return shape_error(op, "weight", weight, expected);
        }
        check_taps(op, weight, (kh, kw))?;
        check_reach(op, x, (h, w), (kh, kw), self.padding, self.dilation)?;
        if let Some(bias) = bias {
            check_vector(op, "bias", bias, outputs, x)?;
        }
        Ok([b, outputs, self.output(h, kh), self.output(w, kw)])
    }
}

/// 2-D convolution (cross-correlation, as in every framework), then bias and [`Epilogue`].
///
/// `x` is `[B, I, H, W]` or `[B, H, W, I]` by the layout, `weight` always `[O, I / groups, kh, kw]`, `bias` `[O]`. The output has the layout of
/// the input and `(H + 2 padding - dilation (kh - 1) - 1) / stride + 1` rows, rounded down.
///
/// # Errors
/// If shapes, types or parameters do not fit together, or the kernel is larger than the padded image.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, p: &Conv2dParams, e: Epilogue<'_>) -> Result<Tensor> {
    const OP: &str = "conv2d";
    check_float(OP, "x", x)?;
    let map = p.layout.dims(OP, "x", x)?;
    let [b, outputs, oh, ow] = p.check(OP, x, map, weight, bias)?;
    e.check(OP, outputs, &p.layout.shape(b, outputs, oh, ow), x)?;
    let c = map.1;
    if !x.device().is_cpu() {
        return composed::conv2d(x, weight, bias, p, e);
    }
    // a single group of one channel is a depthwise convolution, too, but a product with one output serves it better
    let f =
        if p.groups > 1 && p.groups == c && p.groups == outputs { cpu::depthwise::conv2d } else { cpu::conv::conv2d };
    if is_half(x) {
        let (x32, weight, bias) = (wide(x)?, wide(weight)?, wide_option(bias)?);
        return e.widened(|e| f(&x32, &weight, bias.as_ref(), p, e))?.to_dtype(x.dtype());
    }
    f(x, weight, bias, p, e)
}
