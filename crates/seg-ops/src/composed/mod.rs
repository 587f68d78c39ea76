//! The same operations put together from candle's own, with every gradient right.
//!
//! This is the path on CUDA and Metal, and what the CPU kernels are tested against. It avoids those operations of candle that drop a
//! gradient or have a wrong one. Arguments are taken as already checked: call the functions at the crate's root instead.

mod across;
mod attention;
mod batch_norm;
mod conv;
mod deform;
mod norm;
mod pointwise;
mod pool;
mod product;
mod resize;
mod resize_concat;
mod rope;
mod sample;

pub use attention::{attention, window_attention, window_attention_with_rel_pos};
pub use batch_norm::{batch_norm, batch_norm_across};
pub use conv::{conv_transpose2d, conv2d};
pub use deform::deform_conv2d;
pub use norm::{layer_norm, layer_norm_2d, softmax};
pub use pointwise::{activate, binary_cross_entropy};
pub use pool::{avg_pool2d, max_pool2d};
pub use product::linear;
pub use resize::resize;
pub use resize_concat::{resize_concat, resize_nhwc};
pub use rope::rope_2d;
pub use sample::grid_sample;

use crate::error::Result;
use candle_core::{DType, Tensor};

/// 16-bit tensors are widened to f32: candle sums them in their own type in places.
fn widen(x: &Tensor) -> Result<Tensor> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.to_dtype(DType::F32),
        _ => Ok(x.clone()),
    }
}

/// Candle's CPU convolutions do not know bf16; on a GPU the 16-bit types are meant to be used as they are.
fn widen_on_cpu(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { widen(x) } else { Ok(x.clone()) }
}
