//! U-shaped decoders on the pyramid of a frozen encoder: SAM2-UNet's and SAM2-UNeXT's.

mod glue;
mod rfb;
mod up;

pub use glue::DenseGlue;
pub use rfb::Rfb;
pub use up::{DoubleConv, Up, UpOrder};
