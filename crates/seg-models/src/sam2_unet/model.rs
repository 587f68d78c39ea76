//! The network.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use hiera_encoder::HieraConfig;
use hr_decoders::u_decoder::{Rfb, Up, UpOrder};
use sam_adapters::PromptedHiera;
use seg_checkpoints::{ParameterGroup, ParameterRules, Treatment};
use seg_layers::{Conv2d, Observer, Statistics, Unobserved, conv::nhwc, observe_nhwc, trace};
use seg_ops::Resize;
use serde::{Deserialize, Serialize};

use crate::dense::LogitsModel;

/// Sizes of SAM2-UNet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sam2UnetConfig {
    /// SAM 2's trunk.
    pub trunk: HieraConfig,
    /// Side of the square images, in pixels: a multiple of 32.
    pub image_size: usize,
    /// Channels of the decoder.
    pub channels: usize,
}

impl Sam2UnetConfig {
    /// Side of the images that the published system is trained on, in pixels.
    pub const IMAGE_SIZE: usize = 352;

    /// The published system, on Hiera-L at 352×352.
    pub fn large() -> Self {
        Self::on(HieraConfig::large())
    }

    /// The same on another trunk.
    pub fn on(trunk: HieraConfig) -> Self {
        Self { trunk, image_size: Self::IMAGE_SIZE, channels: 64 }
    }
}

/// SAM2-UNet (SAM2UNet.py).
///
/// Keys: `encoder.*` (see [`PromptedHiera`]), `rfb{1..4}`, `up{1..4}`, `side1`, `side2`, `head`.
#[derive(Clone, Debug)]
pub struct Sam2Unet {
    encoder: PromptedHiera,
    rfbs: Vec<Rfb>, // finest first
    up1: Up,
    up2: Up,
    up3: Up,
    side1: Conv2d,
    side2: Conv2d,
    head: Conv2d,
    image_size: usize,
}

/// Logits `[B, 1, H, W]` at the size of the input.
#[derive(Clone, Debug)]
pub struct Sam2UnetOutput {
    /// The prediction, of `head`.
    pub out: Tensor,
    /// Of `side1`, from an eighth of the prediction's resolution; for training.
    pub out1: Tensor,
    /// Of `side2`, from a half of it; for training.
    pub out2: Tensor,
}

impl Sam2Unet {
    /// Reads the network; `vb` is at the root of an official file.
    pub fn new(cfg: &Sam2UnetConfig, vb: VarBuilder) -> Result<Self> {
        let c = cfg.channels;
        let up = |i: usize| Up::new(2 * c, c, UpOrder::UpsampleFirst, vb.pp(format!("up{i}")));
        let side = |name: &str| Conv2d::new(c, 1, 1, nhwc(1, 0), vb.pp(name));
        up(4)?; // official files have it, nothing calls it
        Ok(Self {
            encoder: PromptedHiera::new(&cfg.trunk, vb.pp("encoder"))?,
            rfbs: cfg
                .trunk
                .stage_channels()
                .into_iter()
                .enumerate()
                .map(|(i, channels)| Rfb::new(channels, c, vb.pp(format!("rfb{}", i + 1))))
                .collect::<Result<_>>()?,
            up1: up(1)?,
            up2: up(2)?,
            up3: up(3)?,
            side1: side("side1")?,
            side2: side("side2")?,
            head: side("head")?,
            image_size: cfg.image_size,
        })
    }

    /// Whether the backward pass computes what lies within the trunk's blocks and the decoder's steps again instead of keeping it: less memory, more time, the
    /// same gradients ([`seg_ops::checkpoint`]).
    pub fn set_checkpointing(&mut self, checkpointing: bool) {
        self.encoder.set_checkpointing(checkpointing);
        for up in [&mut self.up1, &mut self.up2, &mut self.up3] {
            up.set_checkpointing(checkpointing);
        }
    }

    /// What the published training does with the weights: the trunk stays as it is, adapters and decoder move.
    pub fn parameter_rules() -> ParameterRules {
        let trained = Treatment::Trained(ParameterGroup::new("adapters and decoder", 1., 5e-4));
        ParameterRules::new([
            ("encoder.*.prompt_learn.*", trained.clone()),
            ("encoder.*", Treatment::Frozen),
            ("*", trained),
        ])
    }

    /// Normalised images `[B, 3, H, W]`, sides multiples of 32; with `train` batch norms use the batch's statistics.
    pub fn forward_t<'a>(&self, images: &Tensor, train: impl Into<Statistics<'a>>) -> Result<Sam2UnetOutput> {
        let train = train.into();
        self.forward_with(images, train, &mut Unobserved)
    }

    /// As [`Sam2Unet::forward_t`]; the observer sees `trunk.*`, `rfb{1..4}`, `up{1..3}`, `side{1,2}`, `head`, all `[B, C, h, w]` but the trunk's blocks.
    pub fn forward_with<'a>(
        &self,
        images: &Tensor,
        train: impl Into<Statistics<'a>>,
        observer: &mut dyn Observer,
    ) -> Result<Sam2UnetOutput> {
        let train = train.into();
        let (_, _, h, w) = images.dims4()?;
        let stages = self.encoder.forward_with(images.clone(), observer)?; // [B, h, w, C], strides 4 to 32
        let [x1, x2, x3, x4] = self.reduce(stages, train, observer)?; // [B, h, w, 64]
        let _decoder = trace::module("decoder");

        let x = self.up1.forward_t(x4, Some(&x3), train)?; // [B, H/16, W/16, 64]
        drop(x3);
        observe_nhwc(observer, "up1", &x)?;
        let side1 = self.side1.forward(&x)?;
        observe_nhwc(observer, "side1", &side1)?;
        let x = self.up2.forward_t(x, Some(&x2), train)?; // [B, H/8, W/8, 64]
        drop(x2);
        observe_nhwc(observer, "up2", &x)?;
        let side2 = self.side2.forward(&x)?;
        observe_nhwc(observer, "side2", &side2)?;
        let x = self.up3.forward_t(x, Some(&x1), train)?; // [B, H/4, W/4, 64]
        observe_nhwc(observer, "up3", &x)?;
        let head = self.head.forward(&x)?;
        observe_nhwc(observer, "head", &head)?;

        let full = |logits: &Tensor, factor: usize| {
            let scale = factor as f64;
            let resize = Resize::bilinear().with_scale(scale, scale);
            let (_, rows, columns, _) = logits.dims4()?;
            seg_ops::resize(&logits.permute((0, 3, 1, 2))?, (rows * factor, columns * factor), &resize)
        };
        let output = Sam2UnetOutput { out: full(&head, 4)?, out1: full(&side1, 16)?, out2: full(&side2, 8)? };
        if output.out.dims4()? != (images.dim(0)?, 1, h, w) {
            candle_core::bail!("SAM2-UNet: images of {h} x {w} pixels, expected multiples of 32");
        }
        Ok(output)
    }

    fn reduce(&self, stages: Vec<Tensor>, train: Statistics<'_>, observer: &mut dyn Observer) -> Result<[Tensor; 4]> {
        let mut maps = Vec::with_capacity(stages.len());
        for (i, (stage, rfb)) in stages.into_iter().zip(&self.rfbs).enumerate() {
            let map = rfb.forward_t(&stage, train)?;
            observe_nhwc(observer, &format!("rfb{}", i + 1), &map)?;
            maps.push(map);
        }
        maps.try_into().map_err(|maps: Vec<Tensor>| {
            candle_core::Error::msg(format!("SAM2-UNet: a trunk of {} stages, expected 4", maps.len()))
        })
    }
}

impl LogitsModel for Sam2Unet {
    fn image_size(&self) -> usize {
        self.image_size
    }

    fn logits(&self, images: &Tensor) -> Result<Tensor> {
        Ok(self.forward_t(images, false)?.out)
    }
}
