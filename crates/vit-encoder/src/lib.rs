#![doc = include_str!("../README.md")]

mod attention;
pub mod dinov2;
mod neck;
pub mod sam_vit;
pub mod tiny_vit;

pub use dinov2::{DinoFeatures, DinoKeys, DinoV2, DinoV2Config};
pub use sam_vit::{ImageEncoderViT, SamVitConfig};
pub use tiny_vit::{TinyVit, TinyVitConfig};
