//! What IS-Net and its ground-truth encoder share: stages with poolings between them, and side outputs.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Conv2d, KeptStatistics, Observer, Statistics, conv, observe_nhwc, trace};
use seg_ops::Resize;

use crate::rsu::{Rsu, RsuConfig, halve};

/// `[B, C, H, W]` to channels last.
pub(super) fn channels_last(x: &Tensor) -> Result<Tensor> {
    x.permute((0, 2, 3, 1))?.contiguous()
}

/// A channels-last map seen channels first; nothing is copied.
pub(super) fn channels_first(x: &Tensor) -> Result<Tensor> {
    x.permute((0, 3, 1, 2))
}

/// `stage1` to `stage6`, each but the first at half the size of the one before.
#[derive(Clone, Debug)]
pub(super) struct Encoder {
    stages: Vec<Rsu>,
    pub checkpointing: bool,
}

impl Encoder {
    pub fn new(stem: usize, stages: &[RsuConfig], keep_apart: bool, vb: &VarBuilder) -> Result<Self> {
        let mut channels = stem;
        let mut read = Vec::with_capacity(stages.len());
        for (i, cfg) in stages.iter().enumerate() {
            read.push(Rsu::new(channels, cfg, keep_apart, vb.pp(format!("stage{}", i + 1)))?);
            channels = cfg.out;
        }
        Ok(Self { stages: read, checkpointing: false })
    }

    /// The output of every stage, the largest first. `x` is consumed.
    pub fn forward_t<'a>(
        &self,
        x: Tensor,
        train: impl Into<Statistics<'a>>,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Tensor>> {
        let train = train.into();
        let mut maps: Vec<Tensor> = Vec::with_capacity(self.stages.len());
        let mut stem = Some(x);
        for (i, stage) in self.stages.iter().enumerate() {
            let name = format!("stage{}", i + 1);
            let _span = trace::module(&name);
            let map = match (stem.take(), maps.last()) {
                (Some(x), _) => run(stage, (Input::Stem, vec![x]), self.checkpointing, train)?,
                (None, Some(above)) => run(stage, (Input::Above, vec![above.clone()]), self.checkpointing, train)?,
                (None, None) => break,
            };
            observe_nhwc(observer, &name, &map)?;
            maps.push(map);
        }
        Ok(maps)
    }
}

/// What a stage reads.
#[derive(Clone, Copy)]
pub(super) enum Input {
    /// The stem.
    Stem,
    /// The stage above, which is halved.
    Above,
    /// The deeper stage of the decoder, and the encoder's map of the stage's own size.
    Beside,
}

impl Input {
    /// `maps` are one, or [`Self::Beside`] two.
    fn forward(self, stage: &Rsu, mut maps: Vec<Tensor>, train: Statistics<'_>) -> Result<Tensor> {
        match (self, maps.pop(), maps.pop()) {
            (Self::Stem, Some(x), None) => stage.forward_t(x, train),
            (Self::Above, Some(x), None) => {
                let half = halve(&x)?;
                drop(x);
                stage.forward_t(half, train)
            }
            (Self::Beside, Some(skip), Some(x)) => stage.forward_beside(x, skip, train),
            _ => candle_core::bail!("IS-Net: a stage with other maps than it reads"),
        }
    }
}

/// `stage` of its input. With `checkpointing` only the maps that it is made of and the output are kept for the backward pass.
pub(super) fn run(
    stage: &Rsu,
    (input, maps): (Input, Vec<Tensor>),
    checkpointing: bool,
    train: Statistics<'_>,
) -> Result<Tensor> {
    if !checkpointing {
        return input.forward(stage, maps, train);
    }
    let (stage, train) = (stage.clone(), KeptStatistics::from(train));
    let again = move |maps: &[Tensor], pass| input.forward(&stage, maps.to_vec(), train.on(pass));
    seg_ops::checkpoint(&maps.iter().collect::<Vec<_>>(), again)
}

/// `side1` to `side6`: a 3×3 convolution to one channel, bilinear to the input's size, sigmoid.
#[derive(Clone, Debug)]
pub(super) struct Sides(Vec<Conv2d>);

impl Sides {
    pub fn new(channels: &[usize], vb: &VarBuilder) -> Result<Self> {
        let side = |(i, &c): (usize, &usize)| Conv2d::new(c, 1, 3, conv::nhwc(1, 1), vb.pp(format!("side{}", i + 1)));
        Ok(Self(channels.iter().enumerate().map(side).collect::<Result<_>>()?))
    }

    /// The probability map `[B, 1, H, W]` of side `i` from its channels-last features.
    pub fn probability(
        &self,
        i: usize,
        features: &Tensor,
        (height, width): (usize, usize),
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let name = format!("side{}", i + 1);
        let _span = trace::module(&name);
        let side = self.0[i].forward(features)?; // [B, h, w, 1]
        let (b, h, w, _) = side.dims4()?;
        let side = side.reshape((b, 1, h, w))?;
        observer.observe(&name, &side)?;
        let _resize = trace::layer("resize", || 0);
        let probability =
            seg_ops::activate(&seg_ops::resize(&side, (height, width), &Resize::bilinear())?, Activation::Sigmoid)?;
        observer.observe(&format!("d{}", i + 1), &probability)?;
        Ok(probability)
    }

    /// All probability maps, those of the largest features first.
    pub fn probabilities(
        &self,
        features: &[Tensor],
        size: (usize, usize),
        observer: &mut dyn Observer,
    ) -> Result<Vec<Tensor>> {
        features.iter().enumerate().map(|(i, map)| self.probability(i, map, size, observer)).collect()
    }
}
