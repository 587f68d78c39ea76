#![doc = include_str!("../README.md")]

mod block;
mod config;
mod neck;
mod trunk;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Observer, Unobserved};

pub use config::{HieraConfig, ImageEncoderConfig, TopDown};
pub use neck::FpnNeck;
pub use trunk::{BlockHook, Hiera};

/// SAM 2's image encoder: the Hiera trunk and the FPN neck.
///
/// Keys: `trunk.*` and `neck.*`; in an official file below `image_encoder`.
#[derive(Clone, Debug)]
pub struct ImageEncoder {
    trunk: Hiera,
    neck: FpnNeck,
    scalp: usize,
}

/// What [`ImageEncoder::forward`] returns.
#[derive(Clone, Debug)]
pub struct ImageEncoderOutput {
    /// The coarsest level kept, `[B, d_model, H/16, W/16]`: the last of `backbone_fpn`.
    pub vision_features: Tensor,
    /// Pyramid levels, finest first: `[B, d_model, H/4, W/4]`, `H/8`, `H/16`. Views of channels-last memory.
    pub backbone_fpn: Vec<Tensor>,
}

impl ImageEncoderOutput {
    /// The sine position map of every level of `backbone_fpn`, `[1, d_model, …]`. Made on request: masks of still images
    /// need none, and the finest takes as much memory as its features.
    pub fn vision_pos_enc(&self) -> Result<Vec<Tensor>> {
        self.backbone_fpn.iter().map(neck::position_map).collect()
    }
}

impl ImageEncoder {
    /// Reads the encoder; `vb` is at `image_encoder` of an official file.
    pub fn new(cfg: &ImageEncoderConfig, vb: VarBuilder) -> Result<Self> {
        let levels = cfg.trunk.stages.len();
        if cfg.scalp >= levels {
            candle_core::bail!("ImageEncoderConfig: scalp {} drops all {levels} levels", cfg.scalp);
        }
        Ok(Self {
            trunk: Hiera::new(&cfg.trunk, vb.pp("trunk"))?,
            neck: FpnNeck::new(cfg, vb.pp("neck"))?,
            scalp: cfg.scalp,
        })
    }

    /// Images `[B, 3, H, W]`, normalised by ImageNet's mean and standard deviation, sides multiples of 32.
    pub fn forward(&self, images: &Tensor) -> Result<ImageEncoderOutput> {
        self.forward_with(images, &(), &mut Unobserved)
    }

    /// As [`ImageEncoder::forward`], with a hook before each block and an observer of the intermediate maps.
    pub fn forward_with(
        &self,
        images: &Tensor,
        hook: &dyn BlockHook,
        observer: &mut dyn Observer,
    ) -> Result<ImageEncoderOutput> {
        let stages = self.trunk.forward_with(images, hook, observer)?;
        let mut backbone_fpn = self.neck.forward(&stages, observer)?;
        let kept = backbone_fpn.len() - self.scalp;
        backbone_fpn.truncate(kept);
        let vision_features = backbone_fpn[kept - 1].clone();
        observer.observe("vision_features", &vision_features)?;
        Ok(ImageEncoderOutput { vision_features, backbone_fpn })
    }
}
