//! The Object Embedder: the coarse mask joined to the features, seen through kernels that follow the object.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Conv2d, Epilogue, LayerNorm, Layout, Observer, conv::nhwc, trace};
use seg_ops::DeformConv2dParams;

const EPS: f64 = 1e-6;

/// A convolution that chooses for every pixel where its taps lie and what each of them weighs (deformable convolution v2, arXiv 1811.11168): offsets and
/// masks come from convolutions of the same kernel, masks as `2 sigmoid`.
///
/// Keys: `offset_conv.{weight,bias}` (2k² channels, row before column for each tap), `modulator_conv.{weight,bias}` (k² channels),
/// `regular_conv.weight`.
#[derive(Clone, Debug)]
pub struct DeformableConv2d {
    offset_conv: Conv2d,
    modulator_conv: Conv2d,
    weight: Tensor,
    params: DeformConv2dParams,
}

impl DeformableConv2d {
    /// Reads a `kernel × kernel` layer, padded so that the size stays; `kernel` is odd.
    pub fn new(in_channels: usize, out_channels: usize, kernel: usize, vb: VarBuilder) -> Result<Self> {
        let taps = kernel * kernel;
        let same = nhwc(1, kernel / 2);
        let regular = vb.pp("regular_conv");
        Ok(Self {
            offset_conv: Conv2d::new(in_channels, 2 * taps, kernel, same, vb.pp("offset_conv"))?,
            modulator_conv: Conv2d::new(in_channels, taps, kernel, same, vb.pp("modulator_conv"))?,
            weight: regular.get((out_channels, in_channels, kernel, kernel), "weight")?,
            params: DeformConv2dParams { padding: kernel / 2, layout: Layout::Nhwc, ..Default::default() },
        })
    }

    /// `[B, H, W, I]` to the offsets `[B, H, W, 2k²]`, in pixels, and the masks `[B, H, W, k²]`, in 0..2.
    pub fn moves(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let taps = self.weight.dim(2)? * self.weight.dim(3)?;
        let two = Tensor::full(2f32, taps, x.device())?.to_dtype(x.dtype())?;
        let epilogue = Epilogue::act(Activation::Sigmoid).with_scale(&two);
        Ok((self.offset_conv.forward(x)?, self.modulator_conv.forward_with(x, epilogue)?))
    }

    /// The convolution with moves that [`DeformableConv2d::moves`] has made: `[B, H, W, O]`.
    pub fn forward_moved(&self, x: &Tensor, offset: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let _span = trace::sized_layer(|| {
            let (outputs, inputs, kernel, _) = self.weight.dims4().unwrap_or_default();
            let pixels = x.elem_count() / inputs.max(1);
            let flops = trace::product_flops(pixels, outputs, inputs * kernel * kernel);
            (format!("deform_conv2d {kernel}x{kernel} {inputs} -> {outputs}"), flops)
        });
        seg_ops::deform_conv2d(x, offset, Some(mask), &self.weight, None, &self.params)
    }
}

impl Module for DeformableConv2d {
    /// `[B, H, W, I]` to `[B, H, W, O]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (offset, mask) = self.moves(x)?;
        self.forward_moved(x, &offset, &mask)
    }
}

/// A deformable convolution with norm and GELU behind it.
#[derive(Clone, Debug)]
struct Branch {
    conv: DeformableConv2d,
    norm: LayerNorm,
}

impl Branch {
    fn new(channels: usize, kernel: usize, vb: VarBuilder) -> Result<Self> {
        let vb = vb.pp("atrous_conv");
        Ok(Self {
            conv: DeformableConv2d::new(channels, channels, kernel, vb.pp("0"))?,
            norm: LayerNorm::new(channels, EPS, vb.pp("1"))?,
        })
    }

    fn forward(&self, x: &Tensor, name: &str, observer: &mut dyn Observer) -> Result<Tensor> {
        let _span = trace::module(name);
        let (offset, mask) = self.conv.moves(x)?;
        if observer.active() {
            observer.observe(&format!("{name}.offset"), &offset.permute((0, 3, 1, 2))?)?;
        }
        let y = seg_ops::gelu(&self.norm.forward(&self.conv.forward_moved(x, &offset, &mask)?)?)?;
        if observer.active() {
            observer.observe(name, &y.permute((0, 3, 1, 2))?)?;
        }
        Ok(y)
    }
}

/// Pi-SAM's Object Embedder (`MaskASPPDeformable`): features and coarse logits through deformable kernels of 3 and 7.
///
/// Keys: `mask_embedding.{0,1,3,4}`, `aspp1.atrous_conv`, `aspp2.atrous_conv`, `conv_out.{0.weight,1}`.
#[derive(Clone, Debug)]
pub struct ObjectEmbedder {
    conv1: Conv2d,
    norm1: LayerNorm,
    conv2: Conv2d,
    norm2: LayerNorm,
    aspp1: Branch,
    aspp2: Branch,
    out_weight: Tensor, // [C, 3C, 1, 1]
    out_norm: LayerNorm,
}

impl ObjectEmbedder {
    /// Reads the module for maps of `channels`; `vb` is at `mask_aspp`.
    pub fn new(channels: usize, vb: VarBuilder) -> Result<Self> {
        let (embedding, out) = (vb.pp("mask_embedding"), vb.pp("conv_out"));
        Ok(Self {
            conv1: Conv2d::new(channels + 1, channels, 1, nhwc(1, 0), embedding.pp("0"))?,
            norm1: LayerNorm::new(channels, EPS, embedding.pp("1"))?,
            conv2: Conv2d::new(channels, channels, 3, nhwc(1, 1), embedding.pp("3"))?,
            norm2: LayerNorm::new(channels, EPS, embedding.pp("4"))?,
            aspp1: Branch::new(channels, 3, vb.pp("aspp1"))?,
            aspp2: Branch::new(channels, 7, vb.pp("aspp2"))?,
            out_weight: out.pp("0").get((channels, 3 * channels, 1, 1), "weight")?,
            out_norm: LayerNorm::new(channels, EPS, out.pp("1"))?,
        })
    }

    /// `features` and `masks` (logits), channels last, `[B, H, W, C]` and `[B, H, W, 1]`, to `[B, H, W, C]`. `observer` gets `aspp.mask_embedding`,
    /// `aspp1.offset`, `aspp1`, `aspp2.offset`, `aspp2` and `aspp.out`, channels first.
    pub fn forward(&self, features: &Tensor, masks: &Tensor, observer: &mut dyn Observer) -> Result<Tensor> {
        let _span = trace::module("mask_aspp");
        let x = self.conv1.forward(&Tensor::cat(&[features, masks], 3)?)?;
        let x = self.conv2.forward(&seg_ops::gelu(&self.norm1.forward(&x)?)?)?;
        let x = seg_ops::gelu(&self.norm2.forward(&x)?)?;
        if observer.active() {
            observer.observe("aspp.mask_embedding", &x.permute((0, 3, 1, 2))?)?;
        }
        let x1 = self.aspp1.forward(&x, "aspp1", observer)?;
        let x2 = self.aspp2.forward(&x, "aspp2", observer)?;
        // the three side by side through one 1 × 1 convolution: three products that are added up
        let channels = self.out_weight.dim(0)?;
        let part = |i: usize| self.out_weight.narrow(1, i * channels, channels)?.reshape((channels, channels));
        let y = seg_ops::linear(&x, &part(0)?, None, Epilogue::NONE)?;
        let y = seg_ops::linear(&x1, &part(1)?, None, Epilogue::NONE.with_residual(&y))?;
        let y = seg_ops::linear(&x2, &part(2)?, None, Epilogue::NONE.with_residual(&y))?;
        let y = seg_ops::gelu(&self.out_norm.forward(&y)?)?;
        if observer.active() {
            observer.observe("aspp.out", &y.permute((0, 3, 1, 2))?)?;
        }
        Ok(y)
    }
}
