//! The network.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use hr_decoders::u_decoder::{DenseGlue, Up, UpOrder};
use sam_adapters::PromptedHiera;
use seg_checkpoints::{ParameterGroup, ParameterRules, Treatment};
use seg_layers::{Conv2d, Observer, Statistics, Unobserved, conv::nhwc, observe_nhwc, trace};
use seg_ops::Resize;
use vit_encoder::DinoV2;

use super::Sam2UnextConfig;
use crate::dense::LogitsModel;

/// SAM2-UNeXT (SAM2UNeXT.py).
///
/// Keys: `sam.*` (see [`PromptedHiera`]), `dino.model.*`, `align{1..4}`, `reduce{1..4}`, `up{1..4}`, `head`.
#[derive(Clone, Debug)]
pub struct Sam2Unext {
    sam: PromptedHiera,
    dino: DinoV2,
    glue: Vec<DenseGlue>, // finest first
    up1: Up,
    up2: Up,
    up3: Up,
    up4: Up,
    head: Conv2d,
    image_size: usize,
}

impl Sam2Unext {
    /// Reads the network; `vb` is at the root of an official file.
    pub fn new(cfg: &Sam2UnextConfig, vb: VarBuilder) -> Result<Self> {
        let c = cfg.channels;
        let up = |i: usize, from: usize| Up::new(from, c, UpOrder::ConcatFirst, vb.pp(format!("up{i}")));
        Ok(Self {
            sam: PromptedHiera::new(&cfg.trunk, vb.pp("sam"))?,
            dino: DinoV2::new(&cfg.dino, vb.pp("dino.model"))?,
            glue: cfg
                .trunk
                .stage_channels()
                .into_iter()
                .enumerate()
                .map(|(i, channels)| DenseGlue::new(i + 1, cfg.dino.embed_dim, channels, c, &vb))
                .collect::<Result<_>>()?,
            up1: up(1, 2 * c)?,
            up2: up(2, 2 * c)?,
            up3: up(3, 2 * c)?,
            up4: up(4, c)?,
            head: Conv2d::new(c, 1, 1, nhwc(1, 0), vb.pp("head"))?,
            image_size: cfg.image_size,
        })
    }

    /// Whether the backward pass computes what lies within the trunk's blocks and the decoder's steps again instead of keeping it: less memory, more time, the
    /// same gradients ([`seg_ops::checkpoint`]).
    pub fn set_checkpointing(&mut self, checkpointing: bool) {
        self.sam.set_checkpointing(checkpointing);
        for up in [&mut self.up1, &mut self.up2, &mut self.up3, &mut self.up4] {
            up.set_checkpointing(checkpointing);
        }
    }

    /// What the published training does with the weights: both encoders stay as they are, adapters and decoder move.
    pub fn parameter_rules() -> ParameterRules {
        let trained = Treatment::Trained(ParameterGroup::new("adapters and decoder", 1., 5e-4));
        ParameterRules::new([
            ("sam.*.prompt_learn.*", trained.clone()),
            ("sam.*", Treatment::Frozen),
            ("dino.*", Treatment::Frozen),
            ("*", trained),
        ])
    }

    /// Normalised images `[B, 3, H, W]`, sides multiples of 32, to logits `[B, 1, H, W]`; with `train` batch norms use the batch's statistics.
    pub fn forward_t<'a>(&self, images: &Tensor, train: impl Into<Statistics<'a>>) -> Result<Tensor> {
        let train = train.into();
        self.forward_with(images, train, &mut Unobserved)
    }

    /// As [`Sam2Unext::forward_t`]; the observer sees `trunk.*`, `dino.input`, `dino.{0..2}` (the last three blocks), `align{1..4}`, `reduce{1..4}`,
    /// `up{1..4}`, `head`, all `[B, C, h, w]` but the trunk's blocks.
    pub fn forward_with<'a>(
        &self,
        images: &Tensor,
        train: impl Into<Statistics<'a>>,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let train = train.into();
        let (b, _, h, w) = images.dims4()?;
        let aux = self.auxiliary(images, observer)?; // [B, 32, 32, 1024]
        let stages = self.sam.forward_with(images.clone(), observer)?; // [B, h, w, C], strides 4 to 32
        let [x1, x2, x3, x4] = self.fuse(stages, &aux, observer)?; // [B, h, w, 128]
        drop(aux);
        let _decoder = trace::module("decoder");

        let x = self.up4.forward_t(x4, None, train)?; // [B, H/16, W/16, 128]
        observe_nhwc(observer, "up4", &x)?;
        let x = self.up3.forward_t(x, Some(&x3), train)?; // [B, H/8, W/8, 128]
        drop(x3);
        observe_nhwc(observer, "up3", &x)?;
        let x = self.up2.forward_t(x, Some(&x2), train)?; // [B, H/4, W/4, 128]
        drop(x2);
        observe_nhwc(observer, "up2", &x)?;
        let x = self.up1.forward_t(x, Some(&x1), train)?; // [B, H/2, W/2, 128]
        drop(x1);
        observe_nhwc(observer, "up1", &x)?;
        let head = self.head.forward(&x)?.permute((0, 3, 1, 2))?; // [B, 1, H/2, W/2]
        observer.observe("head", &head)?;
        if head.dims4()? != (b, 1, h / 2, w / 2) {
            candle_core::bail!("SAM2-UNeXT: images of {h} x {w} pixels, expected multiples of 32");
        }
        seg_ops::resize(&head, (h, w), &Resize::bilinear().with_scale(2., 2.))
    }

    /// DINOv2's last map of the image at its own size.
    fn auxiliary(&self, images: &Tensor, observer: &mut dyn Observer) -> Result<Tensor> {
        let _dino = trace::module("dino");
        let (size, depth) = (self.dino.config().image_size, self.dino.config().depth);
        let input = seg_ops::resize(images, (size, size), &Resize::bilinear())?;
        observer.observe("dino.input", &input)?;
        let shown = if observer.active() { 3.min(depth) } else { 1 };
        let blocks: Vec<usize> = (depth - shown..depth).collect();
        let features = self.dino.intermediate_layers(&input, &blocks, &mut Unobserved)?;
        for (i, map) in features.iter().enumerate() {
            observer.observe(&format!("dino.{i}"), &map.patch_tokens)?;
        }
        match features.last() {
            Some(map) => map.patch_tokens.permute((0, 2, 3, 1)),
            None => candle_core::bail!("DINOv2 of {depth} blocks, expected at least one"),
        }
    }

    /// The dense glue layer: each stage with the auxiliary map at its size.
    fn fuse(&self, stages: Vec<Tensor>, aux: &Tensor, observer: &mut dyn Observer) -> Result<[Tensor; 4]> {
        let mut maps = Vec::with_capacity(stages.len());
        for (i, (stage, glue)) in stages.into_iter().zip(&self.glue).enumerate() {
            let aligned = glue.align(aux)?;
            observe_nhwc(observer, &format!("align{}", i + 1), &aligned)?;
            let map = glue.reduce(&stage, &aligned)?;
            observe_nhwc(observer, &format!("reduce{}", i + 1), &map)?;
            maps.push(map);
        }
        maps.try_into().map_err(|maps: Vec<Tensor>| {
            candle_core::Error::msg(format!("SAM2-UNeXT: a trunk of {} stages, expected 4", maps.len()))
        })
    }
}

impl LogitsModel for Sam2Unext {
    fn image_size(&self) -> usize {
        self.image_size
    }

    fn logits(&self, images: &Tensor) -> Result<Tensor> {
        self.forward_t(images, false)
    }
}
