#![doc = include_str!("../README.md")]

mod attention;
pub mod bands;
mod batch_norm;
pub mod conv;
mod conv_bn;
mod depthwise_pair;
mod dropout;
mod linear;
mod mlp;
mod norm;
mod observe;
mod position;
pub mod trace;

pub use attention::Attention;
pub use batch_norm::{BatchNorm, KeptStatistics, Statistics};
pub use conv::{Conv2d, ConvTranspose2d};
pub use conv_bn::{Conv2dBn, ConvBnKeys};
pub use depthwise_pair::DepthwisePair;
pub use dropout::{Dropout, Uniform};
pub use linear::Linear;
pub use mlp::Mlp;
pub use norm::{LayerNorm, LayerNorm2d};
pub use observe::{Observer, Unobserved, observe_nhwc};
pub use position::{RandomFourierPosition, sine_position_map, sine_position_map_at};
pub use seg_ops::{Activation, Epilogue, Layout};
