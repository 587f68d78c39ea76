//! MGD-SAM2's Detail Refinement Module (arXiv 2503.23786, section 3.5; `DetailRefinement` in models/sam.py of sevenshr/MGD-SAM2): the image itself tells
//! where the edges are. All maps are channels last.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{
    Activation, BatchNorm, Conv2d, Conv2dBn, ConvBnKeys, DepthwisePair, Epilogue, KeptStatistics, Observer, Statistics,
    Unobserved, bands, conv::nhwc, observe_nhwc, trace,
};
use seg_ops::Resize;
use serde::{Deserialize, Serialize};

/// Rows of a band at the image's size.
const ROWS: usize = 64;
/// How far the convolutions on the image look up and down: one row, then three.
const IMAGE_REACH: usize = 4;
/// How far what follows the last enlargement looks, in rows of the map before it: one row of the enlarged map for the enlargement, one for each of
/// three convolutions.
const TAIL_REACH: usize = 2;

/// Sizes of the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetailRefinementConfig {
    /// Channels of the decoder's features and of the image's.
    pub dim: usize,
    /// Channels before the last layer.
    pub out_dim: usize,
}

impl DetailRefinementConfig {
    /// MGD-SAM2's.
    pub fn mgd_sam2() -> Self {
        Self { dim: 32, out_dim: 16 }
    }
}

/// Features of the views and the image to a mask at the image's size.
///
/// Keys: `img_in_conv.{0,1}`, `img_er`, `fusion_feature`, `fusion_feature_bn.0`, `feature_upsample2.{1,2}`, `feature_upsample3.{1,2}`,
/// `fusion_conv.{0,1,3,4}`, `out_conv`.
#[derive(Clone, Debug)]
pub struct DetailRefinement {
    img_in_conv: Conv2dBn,
    img_er: MultiScaleEdges,
    fusion_feature: DepthwisePair,
    fusion_feature_bn: BatchNorm,
    feature_upsample2: Conv2dBn,
    feature_upsample3: Conv2dBn,
    fusion_conv: [Conv2dBn; 2],
    out_conv: Conv2d,
    checkpointing: bool,
}

/// Three kernel sizes side by side, with a residual.
///
/// Keys: `linear`, `conv{1,2,3}.{0,1}`, `projector.{1,2}`.
#[derive(Clone, Debug)]
struct MultiScaleEdges {
    linear: Conv2d,
    convs: [Conv2dBn; 3],
    projector: Conv2dBn,
}

/// A convolution that keeps the size, and its batch norm.
fn conv_bn(input: usize, output: usize, kernel: usize, keys: ConvBnKeys, vb: VarBuilder) -> Result<Conv2dBn> {
    Conv2dBn::with_keys(input, output, kernel, nhwc(1, kernel / 2), keys, vb)
}

fn keys(conv: &'static str, norm: &'static str, conv_bias: bool) -> ConvBnKeys {
    ConvBnKeys { conv, conv_bias, norm, keep_apart: false }
}

impl MultiScaleEdges {
    fn new(dim: usize, vb: VarBuilder) -> Result<Self> {
        let inner = dim / 2;
        let conv = |i: usize| conv_bn(inner, inner, 2 * i + 1, keys("0", "1", true), vb.pp(format!("conv{i}")));
        Ok(Self {
            linear: Conv2d::new(dim, inner, 1, nhwc(1, 0), vb.pp("linear"))?,
            convs: [conv(1)?, conv(2)?, conv(3)?],
            projector: conv_bn(3 * inner, dim, 1, keys("1", "2", true), vb.pp("projector"))?,
        })
    }

    fn forward(&self, x: &Tensor, train: Statistics<'_>) -> Result<Tensor> {
        let narrow = self.linear.forward(x)?;
        let relu = Epilogue::act(Activation::Relu);
        let maps = self.convs.iter().map(|conv| conv.forward_t(&narrow, relu, train)).collect::<Result<Vec<_>>>()?;
        let maps = Tensor::cat(&maps, 3)?;
        let x = self.projector.forward_t(&maps, Epilogue::NONE.with_residual(x), train)?;
        seg_ops::activate(&x, Activation::Relu)
    }
}

impl DetailRefinement {
    /// Reads the module; `vb` is at `detail_enhance` of an official file.
    pub fn new(cfg: &DetailRefinementConfig, vb: VarBuilder) -> Result<Self> {
        let DetailRefinementConfig { dim, out_dim } = *cfg;
        let upsample = |name: &str| conv_bn(dim, dim, 3, keys("1", "2", false), vb.pp(name));
        let fusion = vb.pp("fusion_conv");
        Ok(Self {
            img_in_conv: conv_bn(3, dim, 3, keys("0", "1", false), vb.pp("img_in_conv"))?,
            img_er: MultiScaleEdges::new(dim, vb.pp("img_er"))?,
            fusion_feature: DepthwisePair::new(dim, 3, vb.pp("fusion_feature"))?,
            fusion_feature_bn: BatchNorm::new(dim, vb.pp("fusion_feature_bn.0"))?,
            feature_upsample2: upsample("feature_upsample2")?,
            feature_upsample3: upsample("feature_upsample3")?,
            fusion_conv: [
                conv_bn(dim, dim, 3, keys("0", "1", false), fusion.clone())?,
                conv_bn(dim, out_dim, 3, keys("3", "4", false), fusion)?,
            ],
            out_conv: Conv2d::new(out_dim, 1, 1, nhwc(1, 0), vb.pp("out_conv"))?,
            checkpointing: false,
        })
    }

    /// Whether what lies between images and features at the images' size is computed again in the backward pass, not kept ([`seg_ops::checkpoint`]).
    pub fn set_checkpointing(&mut self, checkpointing: bool) {
        self.checkpointing = checkpointing;
    }

    /// `image` `[B, 3, H, W]`, normalised, with the decoder's features of the local views, put together, `[B, H/4, W/4, C]`, and of the global one,
    /// `[B, h, w, C]`, whatever its size: logits `[B, 1, H, W]`. With `train` batch norms use the batch's statistics and move the running ones.
    pub fn forward_t<'a>(
        &self,
        image: &Tensor,
        locals: &Tensor,
        global: &Tensor,
        train: impl Into<Statistics<'a>>,
    ) -> Result<Tensor> {
        let train = train.into();
        self.forward_observed(image, locals, global, train, &mut Unobserved)
    }

    /// As [`DetailRefinement::forward_t`], with an observer of the intermediate maps, channels first. Large images go in bands, unless somebody looks
    /// or gradients are wanted: at the image's size only the result exists whole.
    pub fn forward_observed<'a>(
        &self,
        image: &Tensor,
        locals: &Tensor,
        global: &Tensor,
        train: impl Into<Statistics<'a>>,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let train = train.into();
        let _module = trace::module("detail_enhance");
        let (b, _, height, width) = image.dims4()?;
        let (lb, lh, lw, _) = locals.dims4()?;
        if (lb, 4 * lh, 4 * lw) != (b, height, width) {
            candle_core::bail!(
                "DRM: local features {:?} for images {:?}, expected a quarter of their size",
                locals.dims(),
                image.dims()
            );
        }
        let image = image.permute((0, 2, 3, 1))?.contiguous()?;
        let banded = !train.of_batch()
            && !observer.active()
            && !self.out_conv.weight().track_op()
            && !self.img_in_conv.is_trained()
            && bands::rows(&image, 4)?.is_some();
        let again = self.checkpointing && !observer.active();
        let feature = self.fuse(locals, global, train, observer)?; // [B, H/4, W/4, C]
        let relu = Epilogue::act(Activation::Relu);

        let [half, quarter] = if banded {
            bands::maps_with_margin(image, ROWS, IMAGE_REACH, |band, rows| {
                let maps = self.edges(&band, Statistics::Running, &mut Unobserved)?;
                reductions(&maps.narrow(1, rows.start, rows.len())?)
            })?
        } else if again {
            self.edges_again(&image, train)?
        } else {
            let edges = self.edges(&image, train, observer)?;
            [reduced(&edges, 2)?, reduced(&edges, 4)?]
        };

        let feature = twice((feature + quarter)?)?;
        let feature = self.feature_upsample2.forward_t(&feature, relu, train)?; // [B, H/2, W/2, C]
        observe_nhwc(observer, "drm.feature_upsample2", &feature)?;

        let feature = (feature + half)?;
        let logits = if banded {
            bands::map_with_margin(feature, ROWS / 2, TAIL_REACH, |band, rows| {
                let logits = self.finish(band, Statistics::Running, &mut Unobserved)?;
                logits.narrow(1, 2 * rows.start, 2 * rows.len())
            })?
        } else if again {
            let (drm, train) = (self.clone(), KeptStatistics::from(train));
            seg_ops::checkpoint(&[&feature], move |feature, pass| {
                drm.finish(feature[0].clone(), train.on(pass), &mut Unobserved)
            })?
        } else {
            self.finish(feature, train, observer)?
        };
        logits.reshape((b, 1, height, width))
    }

    /// Local and global features in one map, `[B, H/4, W/4, C]`.
    fn fuse(
        &self,
        locals: &Tensor,
        global: &Tensor,
        train: Statistics<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let (_, h, w, _) = locals.dims4()?;
        let global = seg_ops::resize_nhwc(global, (h, w), &Resize::bilinear())?;
        let fused = self.fusion_feature.forward(locals, &global, None)?;
        observe_nhwc(observer, "drm.fusion_feature", &fused)?;
        let fused = seg_ops::activate(&self.fusion_feature_bn.forward_t(&fused, train)?, Activation::Relu)?;
        observe_nhwc(observer, "drm.fusion_feature_bn", &fused)?;
        Ok(fused)
    }

    /// What the image shows: `[B, H, W, 3]` to `[B, H, W, C]`.
    fn edges(&self, image: &Tensor, train: Statistics<'_>, observer: &mut dyn Observer) -> Result<Tensor> {
        let x = self.img_in_conv.forward_t(image, Epilogue::act(Activation::Relu), train)?;
        observe_nhwc(observer, "drm.img_in_conv", &x)?;
        let x = self.img_er.forward(&x, train)?;
        observe_nhwc(observer, "drm.img_er", &x)?;
        Ok(x)
    }

    /// [`Self::edges`] at half and at a quarter of the image's size, computed again in the backward pass.
    fn edges_again(&self, image: &Tensor, train: Statistics<'_>) -> Result<[Tensor; 2]> {
        let (b, h, w, _) = image.dims4()?;
        let (drm, train) = (self.clone(), KeptStatistics::from(train));
        // one tensor of both
        let both = seg_ops::checkpoint(&[image], move |image, pass| {
            let edges = drm.edges(&image[0], train.on(pass), &mut Unobserved)?;
            Tensor::cat(&[reduced(&edges, 2)?.flatten_all()?, reduced(&edges, 4)?.flatten_all()?], 0)
        })?;
        let c = both.elem_count() / (b * (h / 2 * (w / 2) + h / 4 * (w / 4))).max(1);
        let half = b * (h / 2) * (w / 2) * c;
        Ok([
            both.narrow(0, 0, half)?.reshape((b, h / 2, w / 2, c))?,
            both.narrow(0, half, both.elem_count() - half)?.reshape((b, h / 4, w / 4, c))?,
        ])
    }

    /// The last enlargement and what follows: `[B, H/2, W/2, C]` to `[B, H, W, 1]`.
    fn finish(&self, feature: Tensor, train: Statistics<'_>, observer: &mut dyn Observer) -> Result<Tensor> {
        let relu = Epilogue::act(Activation::Relu);
        let x = self.feature_upsample3.forward_t(&twice(feature)?, relu, train)?; // [B, H, W, C]
        observe_nhwc(observer, "drm.feature_upsample3", &x)?;
        let x = self.fusion_conv[0].forward_t(&x, relu, train)?;
        let x = self.fusion_conv[1].forward_t(&x, relu, train)?; // [B, H, W, out_dim]
        observe_nhwc(observer, "drm.fusion_conv", &x)?;
        self.out_conv.forward(&x)
    }
}

/// A map at half and a quarter of its size.
fn reductions(x: &Tensor) -> Result<[Tensor; 2]> {
    let x = x.contiguous()?;
    Ok([reduced(&x, 2)?, reduced(&x, 4)?])
}

fn reduced(x: &Tensor, factor: usize) -> Result<Tensor> {
    seg_ops::resize_nhwc(x, (x.dim(1)? / factor, x.dim(2)? / factor), &Resize::bilinear())
}

fn twice(x: Tensor) -> Result<Tensor> {
    seg_ops::resize_nhwc(&x, (2 * x.dim(1)?, 2 * x.dim(2)?), &Resize::bilinear())
}
