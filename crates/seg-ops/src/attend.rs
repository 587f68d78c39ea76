//! A transformer block's first half: norm, attention in windows, and the residual around them.

use crate::error::{Result, check_float, check_like, check_vector, shape_error};
use crate::{Epilogue, WindowAttention, cpu};
use candle_core::Tensor;

/// The parts of an [`attend`].
#[derive(Clone, Copy)]
pub struct Attend<'a> {
    /// Weight and bias of the norm, `[C]` each.
    pub norm: (&'a Tensor, Option<&'a Tensor>),
    /// See [`crate::layer_norm`].
    pub eps: f64,
    /// Weight `[3C, C]` and bias `[3C]` of what makes queries, keys and values.
    pub qkv: (&'a Tensor, &'a Tensor),
    /// The attention; queries are not pooled.
    pub attention: &'a WindowAttention,
    /// Weight `[C, C]` and bias `[C]` of the last product.
    pub proj: (&'a Tensor, Option<&'a Tensor>),
    /// Whether queries, keys and values are kept for the backward pass; without it the norm and their product are computed again there.
    pub keep: bool,
}

/// `x + proj(attention(qkv(norm(x))))`: `[B, H, W, C]` to the same, by [`crate::layer_norm`], [`crate::linear`] and [`crate::window_attention`], where `qkv` of a token that
/// pads a window is its bias.
///
/// The same numbers as step by step. In f32 on the CPU it is one operation: besides its arguments and the output only what the last product reads is kept for the backward
/// pass, and `qkv` if asked for.
///
/// # Errors
/// Those of the three.
pub fn attend(x: &Tensor, a: &Attend<'_>) -> Result<Tensor> {
    const OP: &str = "attend";
    let (qkv, proj) = (a.qkv.0, a.proj.0);
    let tensors = [Some(x), Some(a.norm.0), a.norm.1, Some(qkv), Some(a.qkv.1), Some(proj), a.proj.1];
    if !cpu::tracked(&tensors) || !x.device().is_cpu() || !cpu::attend::serves(x, a) {
        let map = crate::linear(&crate::layer_norm(x, a.norm.0, a.norm.1, a.eps)?, qkv, Some(a.qkv.1), Epilogue::NONE)?;
        let attended = crate::window_attention(&map, a.attention, Some(a.qkv.1), None)?;
        drop(map);
        return crate::linear(&attended, proj, a.proj.1, Epilogue::NONE.with_residual(x));
    }
    // norm, product and attention check what they are given
    check_float(OP, "x", x)?;
    check_like(OP, "proj", proj, x)?;
    let &[_, _, _, channels] = x.dims() else {
        return shape_error(OP, "x", x, "[B, H, W, C]");
    };
    for (name, weight, rows) in [("qkv", qkv, 3 * channels), ("proj", proj, channels)] {
        if weight.dims() != [rows, channels] {
            return shape_error(OP, name, weight, format!("[{rows}, {channels}], as x is {:?}", x.dims()));
        }
    }
    if let Some(bias) = a.proj.1 {
        check_vector(OP, "proj's bias", bias, channels, x)?;
    }
    cpu::attend::attend(x, a)
}
