#![doc = include_str!("../README.md")]

mod attention;
mod neck;
pub mod sam_vit;
pub mod tiny_vit;

pub use sam_vit::{ImageEncoderViT, SamVitConfig};
pub use tiny_vit::{TinyVit, TinyVitConfig};
