//! A transformer block's second half: norm, two products with a GELU between them, and the residual around them.

use crate::error::{Result, check_float, check_like, check_vector, shape_error};
use crate::narrow::is_half;
use crate::{Activation, Epilogue, cpu};
use candle_core::Tensor;

/// The parts of a [`feed_forward`].
#[derive(Clone, Copy)]
pub struct FeedForward<'a> {
    /// Weight and bias of the norm, `[C]` each.
    pub norm: (&'a Tensor, Option<&'a Tensor>),
    /// See [`crate::layer_norm`].
    pub eps: f64,
    /// Weight `[H, C]` and bias `[H]` of the first product.
    pub up: (&'a Tensor, Option<&'a Tensor>),
    /// Weight `[C, H]` and bias `[C]` of the second.
    pub down: (&'a Tensor, Option<&'a Tensor>),
    /// Whether the hidden numbers, `[..., H]`, are kept for the backward pass; without it the norm and the first product are computed again there.
    pub keep: bool,
}

/// `x + down(gelu(up(norm(x))))`: `[..., C]` to the same, by [`crate::layer_norm`] and [`crate::linear`].
///
/// The same numbers as step by step. On the CPU it is one operation: besides its arguments and the output the hidden numbers alone are kept for the backward pass, or nothing.
///
/// # Errors
/// Those of the two.
pub fn feed_forward(x: &Tensor, f: &FeedForward<'_>) -> Result<Tensor> {
    const OP: &str = "feed_forward";
    let (up, down) = (f.up.0, f.down.0);
    let tensors = [Some(x), Some(f.norm.0), f.norm.1, Some(up), f.up.1, Some(down), f.down.1];
    if !x.device().is_cpu() || is_half(x) || !cpu::tracked(&tensors) {
        let normed = crate::layer_norm(x, f.norm.0, f.norm.1, f.eps)?;
        let hidden = crate::linear(&normed, up, f.up.1, Epilogue::act(Activation::Gelu))?;
        drop(normed);
        return crate::linear(&hidden, down, f.down.1, Epilogue::NONE.with_residual(x));
    }
    // the first two check what they are given
    check_float(OP, "x", x)?;
    check_like(OP, "down", down, x)?;
    let (Some(&channels), &[hidden, _]) = (x.dims().last(), up.dims()) else {
        return shape_error(OP, "up", up, "[H, C]");
    };
    if down.dims() != [channels, hidden] {
        return shape_error(
            OP,
            "down",
            down,
            format!("[{channels}, {hidden}], as x is {:?} and up {:?}", x.dims(), up.dims()),
        );
    }
    if let Some(bias) = f.down.1 {
        check_vector(OP, "down's bias", bias, channels, x)?;
    }
    cpu::feed_forward::feed_forward(x, f)
}
