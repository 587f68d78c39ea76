//! Resizing a map to the size of another and putting both side by side.

use crate::error::{Result, check_float, check_like, shape_error};
use crate::narrow::{is_half, wide};
use crate::{composed, cpu};
use candle_core::Tensor;

/// `x` (`[B, h, w, C]`, channels last) resized bilinearly to the size of `skip` (`[B, H, W, D]`), then `skip`'s channels: `[B, H, W, C + D]`.
///
/// What decoders do at every level, in one pass over the output. The numbers are those of [`crate::resize`] with
/// [`crate::Resize::bilinear`]; maps of the same size are not changed.
///
/// # Errors
/// If shapes or types do not fit together, or a map is empty.
pub fn resize_concat(x: &Tensor, skip: &Tensor) -> Result<Tensor> {
    const OP: &str = "resize_concat";
    check_float(OP, "x", x)?;
    check_like(OP, "skip", skip, x)?;
    let [b, h, w, _] = *x.dims() else {
        return shape_error(OP, "x", x, "[B, h, w, C]");
    };
    if h == 0 || w == 0 {
        return shape_error(OP, "x", x, "at least 1 × 1 pixels");
    }
    match *skip.dims() {
        [batch, height, width, _] if batch == b && height > 0 && width > 0 => {}
        _ => return shape_error(OP, "skip", skip, format!("[{b}, H, W, D], at least 1 × 1 pixels")),
    }
    if is_half(x) {
        return cpu::resize_concat::resize_concat(&wide(x)?, &wide(skip)?)?.to_dtype(x.dtype());
    }
    let f = if x.device().is_cpu() { cpu::resize_concat::resize_concat } else { composed::resize_concat };
    f(x, skip)
}
