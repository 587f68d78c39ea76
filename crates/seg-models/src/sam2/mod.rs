//! SAM 2 and 2.1 (arXiv 2408.00714): the image model, its predictor, and the heads that video builds on, and video.

mod config;
mod heads;
mod model;
mod predictor;
pub mod video;

pub use config::{Sam2Config, Sam2Version};
pub use heads::{NO_OBJ_SCORE, ObjectPointerHead, SamHeadsOutput};
pub use model::{Sam2ImageFeatures, Sam2ImageModel};
pub use predictor::Sam2ImagePredictor;
