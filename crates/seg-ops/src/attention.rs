//! Attention over whole sequences.

use crate::error::{Result, check_dims, check_float, check_like, parameter_error, shape_error};
use crate::narrow::{is_half, wide, wide_option};
use crate::{composed, cpu};
use candle_core::Tensor;

/// `softmax(scale · q kᵀ + bias) v`: `q` `[B, h, N, d]`, `k` `[B, h, M, d]` and `v` `[B, h, M, dv]` give `[B, h, N, dv]`.
///
/// `bias` is `[1 or B, 1 or h, N, M]`.
///
/// # Errors
/// If shapes or types do not fit together, `scale` is not finite, or there are queries but no keys.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64, bias: Option<&Tensor>) -> Result<Tensor> {
    const OP: &str = "attention";
    check_float(OP, "q", q)?;
    let [b, h, n, d] = *q.dims() else {
        return shape_error(OP, "q", q, "[B, h, N, d]");
    };
    let [_, _, m, _] = *k.dims() else {
        return shape_error(OP, "k", k, format!("[{b}, {h}, M, {d}]"));
    };
    check_dims(OP, "k", k, &[b, h, m, d], q)?;
    let [_, _, _, dv] = *v.dims() else {
        return shape_error(OP, "v", v, format!("[{b}, {h}, {m}, dv]"));
    };
    check_dims(OP, "v", v, &[b, h, m, dv], q)?;
    if n > 0 && m == 0 {
        return shape_error(OP, "k", k, "at least one key");
    }
    if !scale.is_finite() {
        return parameter_error(OP, "scale", scale, "a finite number");
    }
    if let Some(bias) = bias {
        check_like(OP, "bias", bias, q)?;
        match *bias.dims() {
            [bb, bh, bn, bm] if (bb == 1 || bb == b) && (bh == 1 || bh == h) && bn == n && bm == m => {}
            _ => return shape_error(OP, "bias", bias, format!("[1 or {b}, 1 or {h}, {n}, {m}]")),
        }
    }
    if is_half(q) {
        let (q32, k, v, bias) = (wide(q)?, wide(k)?, wide(v)?, wide_option(bias)?);
        return attention(&q32, &k, &v, scale, bias.as_ref())?.to_dtype(q.dtype());
    }
    if q.device().is_cpu()
        && let Some(y) = cpu::attention::attention(q, k, v, scale, bias)?
    {
        return Ok(y);
    }
    composed::attention(q, k, v, scale, bias)
}
