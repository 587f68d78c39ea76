#![doc = include_str!("../README.md")]

pub mod components;
pub mod decode;
mod error;
pub mod frames;
pub mod geometry;
pub mod inputs;
pub mod inside;
pub mod labels;
pub mod mask;
pub mod output;
pub mod render;
pub mod resize;
pub mod rle;
pub mod tensor;
pub mod training;

pub use decode::{
    ColourProfile, DecodeLimits, ImageLoader, LabelImage, LoadedImage, decode_image, load_image, load_labels,
};
pub use error::{DataError, Result};
pub use frames::Frames;
pub use image::{GrayImage, RgbImage, RgbaImage};
pub use inside::{MaskImage, MaskReader, MaskRole, Meaning, decode_mask, load_levels, load_mask};
pub use resize::{PassOrder, PilFilter, resize_pil, resize_pil_in_order, to_luma_pil};
pub use rle::Rle;
