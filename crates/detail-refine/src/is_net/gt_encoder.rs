//! The ground-truth encoder.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Conv2dBn, ConvBnKeys, Epilogue, Observer, Statistics, Unobserved, conv, observe_nhwc};

use super::parts::{Encoder, Sides, channels_first, channels_last};
use super::{IsNetGtConfig, IsNetOutput};

/// The encoder of ground-truth masks whose features supervise IS-Net's (arXiv 2203.03041, section 4.2); for training only.
///
/// Keys: `conv_in.{conv,bn}`, `stage1` … `stage6`, `side1` … `side6`.
///
/// Its batch norms are never folded: the official training leaves the frozen encoder in train mode, with the batch's
/// statistics.
#[derive(Clone, Debug)]
pub struct IsNetGtEncoder {
    conv_in: Conv2dBn,
    encoder: Encoder,
    sides: Sides,
}

impl IsNetGtEncoder {
    /// Reads the network; `vb` is at the root of the official state dict.
    pub fn new(cfg: &IsNetGtConfig, vb: VarBuilder) -> Result<Self> {
        let keys = ConvBnKeys { conv: "conv", conv_bias: true, norm: "bn", keep_apart: true };
        let conv_in = Conv2dBn::with_keys(cfg.in_channels, cfg.stem, 3, conv::nhwc(2, 1), keys, vb.pp("conv_in"))?;
        Ok(Self {
            conv_in,
            encoder: Encoder::new(cfg.stem, &cfg.encoder, true, &vb)?,
            sides: Sides::new(&cfg.encoder.map(|stage| stage.out), &vb)?,
        })
    }

    /// See [`super::IsNet::set_checkpointing`].
    pub fn set_checkpointing(&mut self, checkpointing: bool) {
        self.encoder.checkpointing = checkpointing;
    }

    /// Masks `[B, 1, H, W]` in 0..1 to six probability maps and the features behind them; with `train` the batch norms use
    /// the batch's statistics and move the running ones.
    pub fn forward_t<'a>(&self, masks: &Tensor, train: impl Into<Statistics<'a>>) -> Result<IsNetOutput> {
        let train = train.into();
        self.forward_observed(masks, train, &mut Unobserved)
    }

    /// As [`Self::forward_t`], with `observer` told every stage: `conv_in`, `stage1` … `stage6`, `side1` … `side6`,
    /// `d1` … `d6`.
    pub fn forward_observed<'a>(
        &self,
        masks: &Tensor,
        train: impl Into<Statistics<'a>>,
        observer: &mut dyn Observer,
    ) -> Result<IsNetOutput> {
        let train = train.into();
        let (_, _, h, w) = masks.dims4()?;
        let x = self.conv_in.forward_t(&channels_last(masks)?, Epilogue::act(Activation::Relu), train)?;
        observe_nhwc(observer, "conv_in", &x)?;
        let features = self.encoder.forward_t(x, train, observer)?;
        let probabilities = self.sides.probabilities(&features, (h, w), observer)?;
        let features = features.iter().map(channels_first).collect::<Result<_>>()?;
        Ok(IsNetOutput { probabilities, features })
    }

    /// The running statistics of the first batch norm, mean and variance, `[stem]` each: a look at whether training moves them.
    pub fn first_running_statistics(&self) -> Option<(Tensor, Tensor)> {
        self.conv_in.batch_norm().map(|norm| (norm.running_mean(), norm.running_var()))
    }
}
