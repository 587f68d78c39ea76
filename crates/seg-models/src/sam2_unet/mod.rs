//! SAM2-UNet (arXiv 2408.08870): the salient object of an image, by SAM 2's trunk with adapters and a U-shaped decoder. The ancestor of
//! [SAM2-UNeXT](crate::sam2_unext).

mod model;

pub use model::{Sam2Unet, Sam2UnetConfig, Sam2UnetOutput};
