#![doc = include_str!("../README.md")]

pub mod bands;
pub mod conv;
mod linear;
mod mlp;
mod norm;
mod observe;
mod position;
pub mod trace;

pub use conv::{Conv2d, Conv2dBn, ConvTranspose2d};
pub use linear::Linear;
pub use mlp::Mlp;
pub use norm::{LayerNorm, LayerNorm2d};
pub use observe::{Observer, Unobserved};
pub use position::{RandomFourierPosition, sine_position_map};
pub use seg_ops::{Activation, Epilogue, Layout};
