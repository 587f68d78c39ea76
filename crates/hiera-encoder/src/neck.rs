//! The feature pyramid on the trunk.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Conv2d, Observer, bands, conv::nhwc, sine_position_map, trace};
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

    /// Number of levels.
    pub fn levels(&self) -> usize {
        self.convs.len()
    }

    /// The trunk's maps, finest first and channels last, to as many pyramid levels, finest first: `[B, d_model, H, W]`,
    /// views of channels-last memory. The observer sees `neck.fpn{level}` and, of its own making, `neck.pos{level}`.
    pub fn forward(&self, stages: Vec<Tensor>, observer: &mut dyn Observer) -> Result<Vec<Tensor>> {
        if stages.len() != self.convs.len() {
            candle_core::bail!("FpnNeck: {} maps, expected {}", stages.len(), self.convs.len());
        }
        let laterals = stages
            .into_iter()
            .enumerate()
            .map(|(level, stage)| self.lateral(level, stage, None))
            .collect::<Result<_>>()?;
        self.top_down(laterals, observer)
    }

    /// Whether a level neither receives a coarser level nor is received by a finer one: whatever follows may be done on parts of it.
    pub(crate) fn stands_alone(&self, level: usize) -> bool {
        let receives = |level: &usize| self.top_down_levels.contains(level);
        !receives(&level) && !level.checked_sub(1).is_some_and(|finer| receives(&finer))
    }

    /// A level before the top-down sum, `[B, H, W, d_model]`, or what the 1×1 convolution `project` makes of it. Large maps go in bands, so that a
    /// projected level never exists whole.
    pub(crate) fn lateral(&self, level: usize, stage: Tensor, project: Option<&Conv2d>) -> Result<Tensor> {
        let _neck = trace::module("neck");
        let Some(conv) = self.convs.get(level) else {
            candle_core::bail!("FpnNeck: level {level} of {}", self.convs.len());
        };
        let Some(project) = project else { return conv.forward(&stage) };
        let projected = |band: Tensor| project.forward(&conv.forward(&band)?);
        match bands::rows(&stage, 1)? {
            Some(rows) => bands::map(stage, rows, projected),
            None => projected(stage),
        }
    }

    /// The top-down sum: laterals `[B, H, W, C]`, finest first, to levels `[B, C, H, W]`.
    pub(crate) fn top_down(&self, laterals: Vec<Tensor>, observer: &mut dyn Observer) -> Result<Vec<Tensor>> {
        let _neck = trace::module("neck");
        let mut features: Vec<Tensor> = Vec::with_capacity(laterals.len()); // coarsest first
        for (level, lateral) in laterals.into_iter().enumerate().rev() {
            let mut feature = lateral.permute((0, 3, 1, 2))?; // [B, d_model, H, W]
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
