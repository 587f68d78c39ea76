//! IS-Net.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Conv2d, Observer, Statistics, Unobserved, conv, observe_nhwc, trace};

use super::parts::{Encoder, Input, Sides, channels_first, channels_last, run};
use super::{IsNetConfig, IsNetOutput};
use crate::rsu::Rsu;

/// IS-Net: an image `[B, in_channels, H, W]` to the probability of each pixel to belong to the object, `[B, 1, H, W]`.
///
/// The original takes RGB in −0.5..0.5, DIS-SAM's form RGB in −0.5..0.5, the coarse mask in 0..1 and the box, 0 or 1. Any size
/// will do; it is trained on 1024×1024.
///
/// Keys: `conv_in`, `stage1` … `stage6`, `stage5d` … `stage1d`, `side1` … `side6`.
#[derive(Clone, Debug)]
pub struct IsNet {
    in_channels: usize,
    conv_in: Conv2d,
    encoder: Encoder,
    /// `stage1d` to `stage5d`.
    decoder: Vec<Rsu>,
    sides: Sides,
}

impl IsNet {
    /// Reads the network; `vb` is at the root of the official state dict.
    ///
    /// Where no weight is a variable, batch norms are folded into their convolutions at once, and the network is in evaluation in train mode, too.
    pub fn new(cfg: &IsNetConfig, vb: VarBuilder) -> Result<Self> {
        let widths = cfg.encoder.map(|stage| stage.out);
        let mut deeper = widths[5];
        let mut decoder = Vec::with_capacity(cfg.decoder.len());
        for (i, stage) in cfg.decoder.iter().enumerate().rev() {
            decoder.push(Rsu::new(deeper + widths[i], stage, false, vb.pp(format!("stage{}d", i + 1)))?);
            deeper = stage.out;
        }
        decoder.reverse();
        let mut features: Vec<usize> = cfg.decoder.iter().map(|stage| stage.out).collect();
        features.push(widths[5]);
        Ok(Self {
            in_channels: cfg.in_channels,
            conv_in: Conv2d::new(cfg.in_channels, cfg.stem, 3, conv::nhwc(2, 1), vb.pp("conv_in"))?,
            encoder: Encoder::new(cfg.stem, &cfg.encoder, false, &vb)?,
            decoder,
            sides: Sides::new(&features, &vb)?,
        })
    }

    /// Whether only what goes from stage to stage is kept for the backward pass, which then computes what lies within a stage again: less memory, more time, the same
    /// gradients ([`seg_ops::checkpoint`]).
    pub fn set_checkpointing(&mut self, checkpointing: bool) {
        self.encoder.checkpointing = checkpointing;
    }

    /// Channels of the input: 3, or 5 in DIS-SAM's form.
    pub fn in_channels(&self) -> usize {
        self.in_channels
    }

    /// All six probability maps and the features behind them; with `train` the batch norms use the batch's statistics and
    /// move the running ones.
    pub fn forward_t<'a>(&self, x: &Tensor, train: impl Into<Statistics<'a>>) -> Result<IsNetOutput> {
        let train = train.into();
        self.forward_observed(x, train, &mut Unobserved)
    }

    /// As [`Self::forward_t`], with `observer` told every stage: `conv_in`, `stage1` … `stage6`, `stage5d` … `stage1d`,
    /// `side1` … `side6`, `d1` … `d6`.
    pub fn forward_observed<'a>(
        &self,
        x: &Tensor,
        train: impl Into<Statistics<'a>>,
        observer: &mut dyn Observer,
    ) -> Result<IsNetOutput> {
        let train = train.into();
        let (_, _, h, w) = x.dims4()?;
        let mut maps = self.encode(x, train, observer)?;
        let deepest = maps.last().cloned();
        let mut features = Vec::with_capacity(6);
        self.decode(&mut maps, train, observer, |map| features.push(map.clone()))?;
        features.reverse();
        features.extend(deepest);
        let probabilities = self.sides.probabilities(&features, (h, w), observer)?;
        let features = features.iter().map(channels_first).collect::<Result<_>>()?;
        Ok(IsNetOutput { probabilities, features })
    }

    /// The encoder's maps, channels last, the largest first.
    fn encode(&self, x: &Tensor, train: Statistics<'_>, observer: &mut dyn Observer) -> Result<Vec<Tensor>> {
        let x = self.conv_in.forward(&channels_last(x)?)?;
        observe_nhwc(observer, "conv_in", &x)?;
        self.encoder.forward_t(x, train, observer)
    }

    /// Takes the encoder's maps as they are needed; `each` sees every stage's output, the smallest first. The last is returned.
    fn decode(
        &self,
        maps: &mut Vec<Tensor>,
        train: Statistics<'_>,
        observer: &mut dyn Observer,
        mut each: impl FnMut(&Tensor),
    ) -> Result<Tensor> {
        let none = || candle_core::Error::Msg("IS-Net without stages".to_owned());
        let mut x = maps.pop().ok_or_else(none)?;
        for (i, stage) in self.decoder.iter().enumerate().rev() {
            let name = format!("stage{}d", i + 1);
            let _span = trace::module(&name);
            let skip = maps.pop().ok_or_else(none)?;
            x = run(stage, (Input::Beside, vec![x, skip]), self.encoder.checkpointing, train)?;
            observe_nhwc(observer, &name, &x)?;
            each(&x);
        }
        Ok(x)
    }
}

impl Module for IsNet {
    /// The prediction `d1` alone, `[B, 1, H, W]`: what is for training only is left out, and every map is let go as soon as
    /// nothing needs it any more.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (_, _, h, w) = x.dims4()?;
        let mut maps = self.encode(x, Statistics::Running, &mut Unobserved)?;
        let features = self.decode(&mut maps, Statistics::Running, &mut Unobserved, |_| {})?;
        self.sides.probability(0, &features, (h, w), &mut Unobserved)
    }
}
