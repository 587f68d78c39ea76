//! Attention inside the windows of a feature map.

use crate::error::{OpError, Result, check_dims, check_float, check_vector, parameter_error, shape_error};
use crate::narrow::{is_half, wide, wide_option};
use crate::{composed, cpu};
use candle_core::Tensor;

/// How the last axis of a fused query-key-value map is made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QkvOrder {
    /// `(q | k | v, heads, d)`: Hiera, SAM's ViT.
    SplitHeads,
    /// `(heads, q | k | v, d)`: TinyViT.
    HeadsSplit,
}

/// Parameters of [`window_attention`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowAttention {
    /// Attention heads.
    pub heads: usize,
    /// Side of a window in pixels; 0 means the whole map.
    pub window: usize,
    /// Side of the square over which the queries' maximum is taken inside each window: 1 is none, 2 is Hiera's.
    pub query_pool: usize,
    /// Order of the last axis.
    pub order: QkvOrder,
    /// Factor on the scores, usually `d^-0.5`.
    pub scale: f64,
}

/// Attention inside the windows of a map: `qkv` `[B, H, W, 3C]` gives `[B, H / query_pool, W / query_pool, C]` (rounded down).
///
/// A map that the window does not divide is filled up at the bottom and the right with the row `pad` (`[3C]`: what the projection makes of a zero
/// token, its bias). These tokens are keys like any other, without a mask, and are cut off afterwards. `bias` `[heads, N, M]` is added to the scores of
/// every window (TinyViT); `N` and `M` count the window's pooled queries and its keys, row after row. The channels of the output are `(heads, d)`.
///
/// Follows "sam2/modeling/backbones/hieradet.py" and "mobile_sam/modeling/tiny_vit_sam.py".
///
/// # Errors
/// If shapes, types or parameters do not fit together, or `pad` is missing where it is needed.
pub fn window_attention(
    qkv: &Tensor,
    p: &WindowAttention,
    pad: Option<&Tensor>,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    const OP: &str = "window_attention";
    check_float(OP, "qkv", qkv)?;
    let [_, h, w, c3] = *qkv.dims() else {
        return shape_error(OP, "qkv", qkv, "[B, H, W, 3C]");
    };
    if p.heads == 0 {
        return parameter_error(OP, "heads", p.heads, "1 or more");
    }
    if c3 % (3 * p.heads) != 0 {
        return shape_error(OP, "qkv", qkv, format!("a last axis that 3 × {} heads divide", p.heads));
    }
    if p.query_pool == 0 {
        return parameter_error(OP, "query_pool", p.query_pool, "1 or more");
    }
    if !p.window.is_multiple_of(p.query_pool) {
        return parameter_error(OP, "window", p.window, format!("a multiple of query_pool, {}", p.query_pool));
    }
    if !p.scale.is_finite() {
        return parameter_error(OP, "scale", p.scale, "a finite number");
    }
    if let Some(pad) = pad {
        check_vector(OP, "pad", pad, c3, qkv)?;
    } else if p.window > 0 && (!h.is_multiple_of(p.window) || !w.is_multiple_of(p.window)) {
        let expected = format!("[{c3}], as windows of {} do not divide a map of {h} × {w}", p.window);
        return Err(OpError::Missing { op: OP, tensor: "pad", expected }.into());
    }
    if let Some(bias) = bias {
        let (wh, ww) = if p.window == 0 { (h, w) } else { (p.window, p.window) };
        let queries = (wh / p.query_pool) * (ww / p.query_pool);
        check_dims(OP, "bias", bias, &[p.heads, queries, wh * ww], qkv)?;
    }
    if is_half(qkv) {
        let (wide, pad, bias) = (wide(qkv)?, wide_option(pad)?, wide_option(bias)?);
        return window_attention(&wide, p, pad.as_ref(), bias.as_ref())?.to_dtype(qkv.dtype());
    }
    // the kernel has no gradient for the bias
    if qkv.device().is_cpu() && !cpu::tracked(&[bias]) {
        cpu::window::window_attention(qkv, p, pad, bias)
    } else {
        composed::window_attention(qkv, p, pad, bias)
    }
}
