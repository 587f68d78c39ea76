//! The feature pyramid on the trunk.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Conv2d, Observer, conv::nhwc, sine_position_map, trace};
use seg_ops::Resize;

use crate::config::{ImageEncoderConfig, TopDown};

/// `FpnNeck` of SAM 2: a 1×1 convolution a level, and a top-down sum into the coarse levels only
/// (sam2/modeling/backbones/image_encoder.py).
///
/// Keys: `convs.{i}.conv`, deepest level first.
#[derive(Clone, Debug)]
pub struct FpnNeck {
    convs: Vec<Conv2d>, // finest level first, unlike the keys
    top_down_levels: Vec<usize>,
    top_down: Resize,
}

impl FpnNeck {
    /// Reads the neck; `vb` is at `image_encoder.neck` of an official file.
    pub fn new(cfg: &ImageEncoderConfig, vb: VarBuilder) -> Result<Self> {
        let channels = cfg.trunk.stage_channels();
        let levels = channels.len();
        let convs = channels
            .iter()
            .enumerate()
            .map(|(level, &c)| {
                Conv2d::new(c, cfg.d_model, 1, nhwc(1, 0), vb.pp(format!("convs.{}.conv", levels - 1 - level)))
            })
            .collect::<Result<_>>()?;
        let top_down = match cfg.fpn_interp {
            TopDown::Nearest => Resize::nearest(),
            TopDown::Bilinear => Resize::bilinear(),
        };
        Ok(Self { convs, top_down_levels: cfg.fpn_top_down_levels.clone(), top_down })
    }

    /// The trunk's maps, finest first and channels last, to as many pyramid levels, finest first: `[B, d_model, H, W]`,
    /// views of channels-last memory. The observer sees `neck.fpn{level}` and, of its own making, `neck.pos{level}`.
    pub fn forward(&self, stages: &[Tensor], observer: &mut dyn Observer) -> Result<Vec<Tensor>> {
        if stages.len() != self.convs.len() {
            candle_core::bail!("FpnNeck: {} maps, expected {}", stages.len(), self.convs.len());
        }
        let _neck = trace::module("neck");
        let mut features: Vec<Tensor> = Vec::with_capacity(stages.len()); // coarsest first
        for (level, (conv, stage)) in self.convs.iter().zip(stages).enumerate().rev() {
            let mut feature = conv.forward(stage)?.permute((0, 3, 1, 2))?; // [B, d_model, H, W]
            if let Some(coarser) = features.last().filter(|_| self.top_down_levels.contains(&level)) {
                let (_, _, h, w) = feature.dims4()?;
                feature = (feature + seg_ops::resize(coarser, (h, w), &self.top_down)?)?;
            }
            features.push(feature);
        }
        features.reverse();
        for (level, feature) in features.iter().enumerate() {
            observer.observe(&format!("neck.fpn{level}"), feature)?;
            if observer.active() {
                observer.observe(&format!("neck.pos{level}"), &position_map(feature)?)?;
            }
        }
        Ok(features)
    }
}

/// The sine position map of a pyramid level `[B, d_model, H, W]`: `[1, d_model, H, W]`.
pub(crate) fn position_map(feature: &Tensor) -> Result<Tensor> {
    let (_, d_model, h, w) = feature.dims4()?;
    sine_position_map(d_model, h, w, feature.device())?.to_dtype(feature.dtype())
}
