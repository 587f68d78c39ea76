//! SAM 2 and 2.1 on video: prompts on any frame, objects followed forwards and backwards, frames one by one.
//!
//! ```no_run
//! use candle_core::{DType, Device};
//! use seg_models::sam2::video::{Direction, Sam2VideoConfig, Sam2VideoModel, Sam2VideoPredictor, SessionOptions};
//! use seg_models::{Prompts, sam2::{Sam2Config, Sam2Version}};
//! # fn frames() -> Vec<seg_data::RgbImage> { Vec::new() }
//! # let vb = candle_nn::VarBuilder::zeros(DType::F32, &Device::Cpu);
//! let cfg = Sam2VideoConfig::new(Sam2Config::tiny(Sam2Version::V2_1));
//! let predictor = Sam2VideoPredictor::new(Sam2VideoModel::new(&cfg, vb)?, DType::F32, &Device::Cpu);
//! let mut session = predictor.session(SessionOptions::default());
//! for (index, image) in frames().iter().enumerate() {
//!     let frame = predictor.encode(image)?; // once a frame
//!     if index == 0 {
//!         session.prompt(0, &frame, 1, &Prompts::point(200., 150.))?; // object 1
//!     }
//!     for mask in session.track(index, &frame, Direction::Forward)?.masks {
//!         println!("frame {index}, object {}: {:?}", mask.object, mask.logits); // [H, W], above 0 is inside
//!     }
//! }
//! # Ok::<(), seg_models::Error>(())
//! ```

mod config;
mod masks;
mod model;
mod object;
mod predictor;
mod session;
mod state;
pub(crate) mod stored;

pub use config::{Sam2VideoConfig, TrackingConfig};
pub use masks::{FrameMasks, ObjectMask};
pub use model::Sam2VideoModel;
pub use predictor::{Sam2VideoPredictor, VideoFrame};
pub use session::{SessionOptions, VideoSession};
pub use video_memory::{Direction, Retention};
