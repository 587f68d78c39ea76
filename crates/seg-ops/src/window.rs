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

/// Tables of decomposed relative positions, as SAM's ViT learns them: for windows of `S` rows (or columns) `[2 S - 1, d]`, one for the rows, one for
/// the columns. Row `q - k + S - 1` belongs to a query in row `q` and a key in row `k`.
///
/// Follows "segment_anything/modeling/image_encoder.py".
#[derive(Clone, Copy, Debug)]
pub struct RelativePositions<'a> {
    /// Rows' table.
    pub height: &'a Tensor,
    /// Columns' table.
    pub width: &'a Tensor,
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
    check(OP, qkv, p, pad)?;
    let (_, h, w, _) = qkv.dims4()?;
    if let Some(bias) = bias {
        let (wh, ww) = if p.window == 0 { (h, w) } else { (p.window, p.window) };
        let queries = (wh / p.query_pool) * (ww / p.query_pool);
        check_dims(OP, "bias", bias, &[p.heads, queries, wh * ww], qkv)?;
    }
    if is_half(qkv) {
        let (wide, pad, bias) = (wide(qkv)?, wide_option(pad)?, wide_option(bias)?);
        return window_attention(&wide, p, pad.as_ref(), bias.as_ref())?.to_dtype(qkv.dtype());
    }
    if qkv.device().is_cpu()
        && let Some(y) = cpu::window::window_attention(qkv, p, pad, bias)?
    {
        return Ok(y);
    }
    composed::window_attention(qkv, p, pad, bias)
}

/// [`window_attention`] with decomposed relative positions: `q · height[y - y' + S - 1] + q · width[x - x' + S - 1]` is added to the score of the query
/// at `(y, x)` and the key at `(y', x')` of the same window, where `q` is the query without `scale`. Padded pixels have their positions like any other.
///
/// `query_pool` must be 1.
///
/// # Errors
/// If shapes, types or parameters do not fit together, or `pad` is missing where it is needed.
pub fn window_attention_with_rel_pos(
    qkv: &Tensor,
    p: &WindowAttention,
    pad: Option<&Tensor>,
    relative: RelativePositions<'_>,
) -> Result<Tensor> {
    const OP: &str = "window_attention_with_rel_pos";
    check(OP, qkv, p, pad)?;
    if p.query_pool != 1 {
        return parameter_error(OP, "query_pool", p.query_pool, "1");
    }
    let (_, h, w, c3) = qkv.dims4()?;
    let d = c3 / 3 / p.heads;
    let (wh, ww) = if p.window == 0 { (h, w) } else { (p.window, p.window) };
    check_dims(OP, "height", relative.height, &[(2 * wh).saturating_sub(1), d], qkv)?;
    check_dims(OP, "width", relative.width, &[(2 * ww).saturating_sub(1), d], qkv)?;
    if is_half(qkv) {
        let (qkv32, pad) = (wide(qkv)?, wide_option(pad)?);
        let (height, width) = (&wide(relative.height)?, &wide(relative.width)?);
        let relative = RelativePositions { height, width };
        return window_attention_with_rel_pos(&qkv32, p, pad.as_ref(), relative)?.to_dtype(qkv.dtype());
    }
    if qkv.device().is_cpu()
        && let Some(y) = cpu::window::with_rel_pos(qkv, p, pad, relative)?
    {
        return Ok(y);
    }
    composed::window_attention_with_rel_pos(qkv, p, pad, relative)
}

/// What both have in common.
pub(crate) fn check(op: &'static str, qkv: &Tensor, p: &WindowAttention, pad: Option<&Tensor>) -> Result<()> {
    check_float(op, "qkv", qkv)?;
    let [_, h, w, c3] = *qkv.dims() else {
        return shape_error(op, "qkv", qkv, "[B, H, W, 3C]");
    };
    if p.heads == 0 {
        return parameter_error(op, "heads", p.heads, "1 or more");
    }
    if c3 % (3 * p.heads) != 0 {
        return shape_error(op, "qkv", qkv, format!("a last axis that 3 × {} heads divide", p.heads));
    }
    if p.query_pool == 0 {
        return parameter_error(op, "query_pool", p.query_pool, "1 or more");
    }
    if !p.window.is_multiple_of(p.query_pool) {
        return parameter_error(op, "window", p.window, format!("a multiple of query_pool, {}", p.query_pool));
    }
    if !p.scale.is_finite() {
        return parameter_error(op, "scale", p.scale, "a finite number");
    }
    if let Some(pad) = pad {
        check_vector(op, "pad", pad, c3, qkv)?;
    } else if p.window > 0 && (!h.is_multiple_of(p.window) || !w.is_multiple_of(p.window)) {
        let expected = format!("[{c3}], as windows of {} do not divide a map of {h} × {w}", p.window);
        return Err(OpError::Missing { op, tensor: "pad", expected }.into());
    }
    Ok(())
}
