//! The HR-Conv head: features of the object and pixels to logits at the input's size.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Conv2d, ConvTranspose2d, Epilogue, LayerNorm2d, Observer, trace};
use seg_ops::{Conv2dParams, ConvTranspose2dParams};

const EPS: f64 = 1e-6;

/// Channels first: at the input's size there are so few of them that vectors must run along rows.
///
/// Keys: `output_upscaling_2.{0,1,3}`, `out_act.{0,1,2,4}`.
#[derive(Clone, Debug)]
pub(super) struct HrConvHead {
    up1: ConvTranspose2d,
    up_norm: LayerNorm2d,
    up2: ConvTranspose2d,
    norm1: LayerNorm2d,
    conv1: Conv2d,
    norm2: LayerNorm2d,
    conv2: Conv2d,
}

impl HrConvHead {
    /// From maps of `map` channels to `pixel` channels at the input's size; `vb` is at the root of the decoder's state dict.
    pub fn new(map: usize, pixel: usize, vb: VarBuilder) -> Result<Self> {
        let (up, out) = (vb.pp("output_upscaling_2"), vb.pp("out_act"));
        let twice = ConvTranspose2dParams { stride: 2, ..Default::default() };
        let same = Conv2dParams { padding: 1, ..Default::default() };
        Ok(Self {
            up1: ConvTranspose2d::new(map, map / 2, 2, twice, up.pp("0"))?,
            up_norm: LayerNorm2d::new(map / 2, EPS, up.pp("1"))?,
            up2: ConvTranspose2d::new(map / 2, pixel, 2, twice, up.pp("3"))?,
            norm1: LayerNorm2d::new(pixel, EPS, out.pp("0"))?,
            conv1: Conv2d::new(pixel, pixel, 3, same, out.pp("1"))?,
            norm2: LayerNorm2d::new(pixel, EPS, out.pp("2"))?,
            conv2: Conv2d::new(pixel, 1, 3, same, out.pp("4"))?,
        })
    }

    /// `[B, C, H, W]` and the embedded pixels `[B or 1, P, 4H, 4W]` to logits `[B, 1, 4H, 4W]`. `observer` gets `output_upscaling_2`.
    pub fn forward(&self, map: &Tensor, pixels: &Tensor, observer: &mut dyn Observer) -> Result<Tensor> {
        let _span = trace::module("hr_conv_head");
        let x = self.up_norm.forward(&self.up1.forward(&map.contiguous()?)?)?;
        let x = seg_ops::gelu(&x)?;
        let pixels = super::decoder::for_each(pixels, map.dim(0)?)?.contiguous()?;
        let x = if observer.active() {
            let up = self.up2.forward(&x)?;
            observer.observe("output_upscaling_2", &up)?;
            (up + pixels)?
        } else {
            self.up2.forward_with(&x, Epilogue::NONE.with_residual(&pixels))?
        };
        let x = self.conv1.forward(&self.norm1.forward(&x)?)?;
        let x = seg_ops::gelu(&self.norm2.forward(&x)?)?;
        self.conv2.forward(&x)
    }
}
