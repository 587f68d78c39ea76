//! Rotary positions.

use crate::error::{Result, check_dims, check_float, shape_error};
use crate::narrow::{is_half, wide};
use crate::{composed, cpu};
use candle_core::Tensor;

/// Turns each pair of adjacent channels by its angle: `x` `[B, h, N, d]` with `cos` and `sin` `[N, d / 2]` gives `(a cos - b sin, a sin + b cos)` for
/// channels `(a, b) = (2i, 2i + 1)`.
///
/// With the angles of a map's columns in the first half of the pairs and those of its rows in the second this is the axial rotation of
/// "sam2/modeling/position_encoding.py". The angles get no gradient.
///
/// # Errors
/// If shapes or types do not fit together, or `d` is odd.
pub fn rope_2d(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    const OP: &str = "rope_2d";
    check_float(OP, "x", x)?;
    let [_, _, n, d] = *x.dims() else {
        return shape_error(OP, "x", x, "[B, h, N, d]");
    };
    if d % 2 != 0 {
        return shape_error(OP, "x", x, "[B, h, N, d] with an even d");
    }
    check_dims(OP, "cos", cos, &[n, d / 2], x)?;
    check_dims(OP, "sin", sin, &[n, d / 2], x)?;
    if is_half(x) {
        return rope_2d(&wide(x)?, &wide(cos)?, &wide(sin)?)?.to_dtype(x.dtype());
    }
    let (cos, sin) = (cos.detach(), sin.detach());
    let f = if x.device().is_cpu() { cpu::rope::rope_2d } else { composed::rope_2d };
    f(x, &cos, &sin)
}
