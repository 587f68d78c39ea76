#![doc = include_str!("../README.md")]

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(any(feature = "cli", feature = "serve"))]
#[cfg_attr(not(feature = "cli"), allow(dead_code))] // the server looks at a part
mod memory;
pub mod pipeline;
#[cfg(feature = "serve")]
pub mod serve;
pub mod verify;

pub use beit3_encoder;
pub use detail_refine;
pub use hiera_encoder;
pub use hr_decoders;
pub use multiview_fusion;
pub use sam_adapters;
pub use seg_checkpoints;
pub use seg_data;
pub use seg_golden;
pub use seg_layers;
pub use seg_metrics;
pub use seg_models;
pub use seg_ops;
pub use seg_train;
pub use video_memory;
pub use vit_encoder;

/// What most programs need: `use hrseg::prelude::*`.
pub mod prelude {
    pub use candle_core::{DType, Device, Tensor};
    pub use seg_data::{DecodeLimits, GrayImage, LoadedImage, RgbImage, Rle, load_image, load_mask};
    pub use seg_models::registry::{LoadOptions, ModelName};
    pub use seg_models::{EmbeddedImage, MaskPrompt, Point, Prediction, PromptableSegmenter, Prompts};
}
