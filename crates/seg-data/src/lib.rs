#![doc = include_str!("../README.md")]

pub mod components;
pub mod decode;
mod error;
pub mod frames;
pub mod geometry;
pub mod inputs;
pub mod labels;
pub mod mask;
pub mod output;
pub mod render;
pub mod resize;
pub mod rle;
pub mod tensor;

pub use decode::{DecodeLimits, LoadedImage, decode_image, decode_mask, load_gray, load_image, load_labels, load_mask};
pub use error::{DataError, Result};
pub use frames::Frames;
pub use image::{GrayImage, RgbImage, RgbaImage};
pub use resize::{PassOrder, PilFilter, resize_pil, resize_pil_in_order, to_luma_pil};
pub use rle::Rle;
