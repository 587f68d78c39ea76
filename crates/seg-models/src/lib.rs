#![doc = include_str!("../README.md")]

pub mod automatic;
mod base_files;
mod clamp;
pub mod dense;
pub mod dis_sam;
mod error;
pub mod is_net;
pub mod mgd_sam2;
pub mod mpg_sam2;
pub mod normalize;
pub mod pi_sam;
pub mod prompt_free;
pub mod promptable;
pub mod registry;
pub mod sam;
pub mod sam2;
pub mod sam2_unet;
pub mod sam2_unext;

pub use automatic::{AutomaticMask, AutomaticMaskConfig, AutomaticMaskGenerator};
pub use error::{Error, Result};
pub use prompt_free::PromptFreeSegmenter;
pub use promptable::{
    EmbeddedImage, ImageEmbedding, LowResPrediction, MaskCleanup, MaskPrompt, Point, Prediction, PromptableSegmenter,
    Prompts,
};
