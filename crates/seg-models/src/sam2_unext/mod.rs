//! SAM2-UNeXT (arXiv 2508.03566): the salient object of an image, by two frozen encoders of different resolution, SAM 2's trunk with adapters and
//! DINOv2, and a U-shaped decoder.

mod base;
mod config;
mod model;

pub use base::BaseWeights;
pub use config::Sam2UnextConfig;
pub use model::Sam2Unext;
