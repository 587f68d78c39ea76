//! Pi-SAM (ACM MM 2024): SAM with a mask decoder that works at the input's full size, and whose masks are corrected by clicking on what is wrong.

mod base;
mod clicks;
mod config;
mod encoder;
mod load;
mod metrics;
mod model;
mod predictor;
mod torch_random;

pub use base::PiSamBase;
pub use clicks::{ClickMode, ClickRegions, ClickSimulation, SimulatedClick, stack_clicks};
pub use config::PiSamConfig;
pub use encoder::{PiSamEncoder, PiSamFeatures, RgbEmbed};
pub use load::{PiSamFiles, PiSamSize, load};
pub use metrics::{boundary_iou, label_box, mask_iou};
pub use model::{PiSamMaskDecoder, PiSamOutput};
pub use predictor::{Correction, PiSamPredictor};
pub use torch_random::TorchGenerator;
