#![doc = include_str!("../README.md")]

mod activation;
mod assembly;
mod attention;
pub mod composed;
mod conv;
mod conv_transpose;
mod cpu;
mod error;
mod float;
mod interpolate;
mod linear;
mod narrow;
mod norm;
mod pool;
mod resize;
mod rope;
mod softmax;
mod types;
mod window;

pub use activation::{activate, gelu};
pub use assembly::Assembly;
pub use attention::attention;
pub use conv::{Conv2dParams, conv2d};
pub use conv_transpose::{ConvTranspose2dParams, conv_transpose2d};
pub use error::OpError;
pub use linear::linear;
pub use norm::{layer_norm, layer_norm_2d};
pub use pool::{Pool2dParams, avg_pool2d, max_pool2d};
pub use resize::{Interpolation, Resize, resize};
pub use rope::rope_2d;
pub use softmax::softmax;
pub use types::{Activation, Epilogue, Layout};
pub use window::{QkvOrder, RelativePositions, WindowAttention, window_attention, window_attention_with_rel_pos};
