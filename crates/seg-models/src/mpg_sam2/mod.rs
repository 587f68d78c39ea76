//! MPG-SAM 2 (arXiv 2501.13667): a sentence and a video to a mask on every frame.
//!
//! BEiT-3 looks at all frames with the sentence; a prior generator makes a coarse mask of each, a context of all and the sentence's token; SAM 2, with
//! its memory, follows the object with these for prompts.

mod base;
mod config;
pub mod input;
mod load;
mod model;
mod predictor;
mod prior;
mod sizes;
mod state;
mod training;
mod video;

pub use base::MpgBaseWeights;
pub use config::MpgSam2Config;
pub use load::{load, tokenizer_beside};
pub use model::{MpgImageMasks, MpgSam2};
pub use predictor::{MpgClip, MpgSam2Predictor, MpgTracking};
pub use prior::{MaskPrior, MaskPriorGenerator};
pub use state::saved_notes;
pub use video::MpgVideo;
