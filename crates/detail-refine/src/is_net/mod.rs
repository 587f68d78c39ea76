//! IS-Net (arXiv 2203.03041), in its original form and in DIS-SAM's (arXiv 2401.00248), and the encoder of ground truths
//! that it is trained with. Official file: `IS-Net/models/isnet.py`.

mod config;
mod gt_encoder;
mod net;
mod parts;

pub use config::{IsNetConfig, IsNetGtConfig};
pub use gt_encoder::IsNetGtEncoder;
pub use net::IsNet;

use candle_core::Tensor;

/// What training looks at: six levels, the largest first.
#[derive(Clone, Debug)]
pub struct IsNetOutput {
    /// `d1` to `d6`: probabilities in 0..1 at the input's size, `[B, 1, H, W]`. The prediction is the first.
    pub probabilities: Vec<Tensor>,
    /// The features behind them, `[B, C, H/2, W/2]` to `[B, C, H/64, W/64]` (sizes rounded up): 64, 64, 128, 256, 512 and
    /// 512 channels. They are channels last in memory, seen channels first.
    pub features: Vec<Tensor>,
}
