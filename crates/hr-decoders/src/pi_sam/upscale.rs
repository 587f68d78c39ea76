//! Two steps up: transposed convolution, norm, GELU, transposed convolution.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{ConvTranspose2d, Epilogue, LayerNorm, conv, trace};

/// `[B, h, w, from]` to `[B, 4h, 4w, to]`, channels last.
///
/// Keys: `0` (transposed convolution), `1` (norm), `3` (transposed convolution).
#[derive(Clone, Debug)]
pub(super) struct Upscale {
    name: &'static str,
    conv1: ConvTranspose2d,
    norm: LayerNorm,
    conv2: ConvTranspose2d,
}

impl Upscale {
    pub fn new((from, mid, to): (usize, usize, usize), name: &'static str, vb: VarBuilder) -> Result<Self> {
        let vb = vb.pp(name);
        Ok(Self {
            name,
            conv1: ConvTranspose2d::new(from, mid, 2, conv::upscale_nhwc(), vb.pp("0"))?,
            norm: LayerNorm::new(mid, 1e-6, vb.pp("1"))?,
            conv2: ConvTranspose2d::new(mid, to, 2, conv::upscale_nhwc(), vb.pp("3"))?,
        })
    }

    pub fn forward_with(&self, x: &Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
        let _span = trace::module(self.name);
        let x = seg_ops::gelu(&self.norm.forward(&self.conv1.forward(x)?)?)?;
        self.conv2.forward_with(&x, epilogue)
    }
}
