//! Memory encoder: a frame and its mask become a memory map.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Conv2d, Epilogue, LayerNorm, Linear, Observer, Unobserved, conv, trace};

use crate::config::MemoryEncoderConfig;

const EPS: f64 = 1e-6;

/// SAM 2's memory encoder (sam2/modeling/memory_encoder.py): the mask is halved to the features' size, added to the
/// projected features, mixed by ConvNeXt blocks and projected to the memory's width. Channels last inside.
///
/// Keys: `mask_downsampler.encoder.*`, `pix_feat_proj`, `fuser.layers.N.{gamma,dwconv,norm,pwconv1,pwconv2}`, `out_proj`.
#[derive(Clone, Debug)]
pub struct MemoryEncoder {
    mask_downsampler: MaskDownSampler,
    pix_feat_proj: Conv2d,
    fuser: Vec<CxBlock>,
    out_proj: Conv2d,
}

impl MemoryEncoder {
    /// Reads the module; `vb` is at `memory_encoder`.
    pub fn new(cfg: &MemoryEncoderConfig, vb: VarBuilder) -> Result<Self> {
        let dim = cfg.in_dim;
        Ok(Self {
            mask_downsampler: MaskDownSampler::new(cfg.mask_halvings, dim, vb.pp("mask_downsampler.encoder"))?,
            pix_feat_proj: Conv2d::new(dim, dim, 1, conv::nhwc(1, 0), vb.pp("pix_feat_proj"))?,
            fuser: (0..cfg.fuser_layers)
                .map(|i| CxBlock::new(dim, vb.pp("fuser.layers").pp(i)))
                .collect::<Result<_>>()?,
            out_proj: Conv2d::new(dim, cfg.out_dim, 1, conv::nhwc(1, 0), vb.pp("out_proj"))?,
        })
    }

    /// `pix_feat [B, C, h, w]` and `masks [B, 1, 16h, 16w]` (already scaled, not logits) to `[B, Cm, h, w]`, a view of
    /// channels-last memory.
    pub fn forward(&self, pix_feat: &Tensor, masks: &Tensor) -> Result<Tensor> {
        self.forward_with(pix_feat, masks, &mut Unobserved)
    }

    /// As [`Self::forward`]; `observer` gets `mask_downsampler` `[B, C, h, w]`.
    pub fn forward_with(&self, pix_feat: &Tensor, masks: &Tensor, observer: &mut dyn Observer) -> Result<Tensor> {
        let _module = trace::module("memory_encoder");
        let masks = self.mask_downsampler.forward(&masks.permute((0, 2, 3, 1))?)?; // [B, h, w, C]
        observer.observe("mask_downsampler", &masks.permute((0, 3, 1, 2))?)?;
        let features = pix_feat.permute((0, 2, 3, 1))?;
        if masks.dims() != features.dims() {
            candle_core::bail!(
                "memory encoder: a mask reduced to {:?} for features {:?}",
                masks.dims(),
                features.dims()
            );
        }
        let mut x = self.pix_feat_proj.forward_with(&features, Epilogue::NONE.with_residual(&masks))?;
        drop(masks);
        for block in &self.fuser {
            x = block.forward(&x)?;
        }
        self.out_proj.forward(&x)?.permute((0, 3, 1, 2))
    }
}

/// Strided 3×3 convolutions, each with norm and GELU, that quadruple the channels; then 1×1.
#[derive(Clone, Debug)]
struct MaskDownSampler {
    stages: Vec<(Conv2d, LayerNorm)>,
    project: Conv2d,
}

impl MaskDownSampler {
    fn new(halvings: usize, dim: usize, vb: VarBuilder) -> Result<Self> {
        let mut stages = Vec::with_capacity(halvings);
        let mut channels = 1;
        for i in 0..halvings {
            // convolution, norm and activation have a number each
            let (from, to) = (channels, 4 * channels);
            let conv = Conv2d::new(from, to, 3, conv::nhwc(2, 1), vb.pp(3 * i))?;
            stages.push((conv, LayerNorm::new(to, EPS, vb.pp(3 * i + 1))?));
            channels = to;
        }
        Ok(Self { stages, project: Conv2d::new(channels, dim, 1, conv::nhwc(1, 0), vb.pp(3 * halvings))? })
    }

    /// `[B, H, W, 1]` to `[B, H/16, W/16, C]`.
    fn forward(&self, masks: &Tensor) -> Result<Tensor> {
        let mut x = masks.clone();
        for (conv, norm) in &self.stages {
            x = seg_ops::gelu(&norm.forward(&conv.forward(&x)?)?)?; // [B, H/2, W/2, 4C]
        }
        self.project.forward(&x)
    }
}

/// A ConvNeXt block.
#[derive(Clone, Debug)]
struct CxBlock {
    dwconv: Conv2d,
    norm: LayerNorm,
    pwconv1: Linear,
    pwconv2: Linear,
    gamma: Tensor, // [C]
}

impl CxBlock {
    fn new(dim: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            dwconv: Conv2d::new(dim, dim, 7, conv::depthwise_nhwc(dim, 7, 1), vb.pp("dwconv"))?,
            norm: LayerNorm::new(dim, EPS, vb.pp("norm"))?,
            pwconv1: Linear::new(dim, 4 * dim, vb.pp("pwconv1"))?,
            pwconv2: Linear::new(4 * dim, dim, vb.pp("pwconv2"))?,
            gamma: vb.get(dim, "gamma")?,
        })
    }

    /// `[B, h, w, C]` to the same.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = self.norm.forward(&self.dwconv.forward(x)?)?;
        let hidden = self.pwconv1.forward_with(&hidden, Epilogue::act(Activation::Gelu))?;
        self.pwconv2.forward_with(&hidden, Epilogue::NONE.with_scale(&self.gamma).with_residual(x))
    }
}
