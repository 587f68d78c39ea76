//! SAM of the first generation (arXiv 2304.02643), with its own encoders or MobileSAM's (arXiv 2306.14289).

mod config;
mod model;
mod predictor;
mod transforms;

pub use config::{SamConfig, SamEncoderConfig};
pub use model::{Sam, SamImageEncoder};
pub use predictor::SamPredictor;
pub use transforms::ResizeLongestSide;
