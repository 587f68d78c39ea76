//! Threaded kernels for f32 and f64, and how they become differentiable operations.

use crate::error::Result;
use crate::{Activation, Epilogue};
use candle_core::Tensor;

mod alloc;
pub(crate) mod assembly;
mod attach;
mod attach_many;
pub(crate) mod attend;
pub(crate) mod attention;
pub(crate) mod batch_norm;
pub(crate) mod binary_cross_entropy;
pub(crate) mod conv;
pub(crate) mod conv_batch_norm;
mod conv_pixels;
mod conv_planes;
mod conv_weights;
pub(crate) mod deform;
mod deform_backward;
mod dense;
pub(crate) mod depthwise;
mod depthwise_kernel;
mod depthwise_maps;
mod depthwise_planes;
mod depthwise_slab;
pub(crate) mod feed_forward;
mod flash;
mod flash_backward;
mod flash_backward_block;
mod flash_block;
mod flash_state;
pub(crate) mod matrix;
pub(crate) mod norm;
pub(crate) mod norm2d;
mod norm_rows;
mod panels;
mod patches;
pub(crate) mod pointwise;
pub(crate) mod pool;
mod processor;
pub(crate) mod product;
mod region;
mod relative;
mod relative_backward;
pub(crate) mod resize;
pub(crate) mod resize_concat;
pub(crate) mod rope;
mod rows;
pub(crate) mod sample;
mod scratch;
pub(crate) mod softmax;
pub(crate) mod tail;
mod tile;
mod turn;
mod vector;
mod view;
pub(crate) mod window;
mod window_map;
mod window_plain;
mod window_tiled;
mod winograd;

pub(crate) use alloc::written;
pub(crate) use attach::{Value, Wanted, attach1, attach2, attach3, weighted};
use attach_many::{Detached, ForOnePass};
pub(crate) use attach_many::{attach_list, attach_many};
pub(crate) use view::{Data, tracked};

/// Runs `f` compiled for the widest vectors that this processor has. `f` and what it calls must be `#[inline(always)]` to gain by it.
#[inline(always)]
pub(crate) fn simd<R>(f: impl FnOnce() -> R) -> R {
    processor::arch().dispatch(f)
}

/// Calls a function generic over [`crate::float::Float`] with the element type of a tensor that is f32 or f64 (16-bit ones have been widened).
macro_rules! dispatch {
    ($x:expr, $f:ident :: $g:ident ( $($arg:expr),* $(,)? )) => {
        match $x.dtype() {
            candle_core::DType::F64 => $f::$g::<f64>($($arg),*),
            _ => $f::$g::<f32>($($arg),*),
        }
    };
}
pub(crate) use dispatch;

/// An [`crate::Epilogue`] step by step, so that each of its tensors gets a gradient; the channels are on `axis`.
pub(crate) fn activate_tail(y: Tensor, e: Epilogue<'_>, axis: usize) -> Result<Tensor> {
    let mut y = if e.activation == Activation::None { y } else { pointwise::activate(&y, e.activation)? };
    if let Some(scale) = e.scale {
        let mut dims = vec![1; y.rank()];
        dims[axis] = scale.elem_count();
        y = y.broadcast_mul(&scale.reshape(dims)?)?;
    }
    match e.residual {
        Some(residual) => y + residual,
        None => Ok(y),
    }
}
