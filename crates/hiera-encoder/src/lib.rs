#![doc = include_str!("../README.md")]

mod block;
mod config;
mod neck;
mod trunk;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Conv2d, Observer, Unobserved};

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

    /// See [`Hiera::set_one_by_one`].
    pub fn set_one_by_one(&mut self, one_by_one: bool) {
        self.trunk.set_one_by_one(one_by_one);
    }

    /// See [`Hiera::set_checkpointing`].
    pub fn set_checkpointing(&mut self, checkpointing: bool) {
        self.trunk.set_checkpointing(checkpointing);
    }

    /// Images `[B, 3, H, W]`, normalised by ImageNet's mean and standard deviation, sides multiples of 32.
    pub fn forward(&self, images: Tensor) -> Result<ImageEncoderOutput> {
        self.forward_with(images, &(), &mut Unobserved)
    }

    /// As [`ImageEncoder::forward`], with a hook before each block and an observer of the intermediate maps.
    pub fn forward_with(
        &self,
        images: Tensor,
        hook: &dyn BlockHook,
        observer: &mut dyn Observer,
    ) -> Result<ImageEncoderOutput> {
        self.run(images, hook, observer, &[])
    }

    /// As [`ImageEncoder::forward`], with `projections[level]`, a channels-last 1×1 convolution, applied to each of the first levels of
    /// `backbone_fpn`: what SAM 2 does with the two finest levels, of which its mask decoder needs a few channels only. The whole levels are then
    /// never made.
    ///
    /// # Errors
    /// If a level is to be projected that takes part in the top-down sum, or that the output does not have.
    pub fn forward_projected(&self, images: Tensor, projections: &[&Conv2d]) -> Result<ImageEncoderOutput> {
        let refused = (0..projections.len()).find(|&level| !self.neck.stands_alone(level));
        if let Some(level) = refused.or((projections.len() > self.kept()).then_some(self.kept())) {
            candle_core::bail!("ImageEncoder: level {level} cannot be projected: it is summed with others or not kept");
        }
        self.run(images, &(), &mut Unobserved, projections)
    }

    /// Levels of the output.
    fn kept(&self) -> usize {
        self.neck.levels() - self.scalp
    }

    fn run(
        &self,
        images: Tensor,
        hook: &dyn BlockHook,
        observer: &mut dyn Observer,
        projections: &[&Conv2d],
    ) -> Result<ImageEncoderOutput> {
        // each stage goes through the neck's first layer at once, so that its own map need not wait for the others
        let mut laterals = Vec::with_capacity(self.neck.levels());
        self.trunk.forward_stages(images, hook, observer, &mut |stage| {
            let level = laterals.len();
            laterals.push(self.neck.lateral(level, stage.clone(), projections.get(level).copied())?);
            Ok(())
        })?;
        let mut backbone_fpn = self.neck.top_down(laterals, observer)?;
        backbone_fpn.truncate(self.kept());
        let vision_features = backbone_fpn[self.kept() - 1].clone();
        observer.observe("vision_features", &vision_features)?;
        Ok(ImageEncoderOutput { vision_features, backbone_fpn })
    }
}
