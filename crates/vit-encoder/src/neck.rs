//! What all of SAM's image encoders end in.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Conv2d, LayerNorm, Observer, conv::nhwc, trace};

/// To the width of the image embedding: a 1×1 and a 3×3 convolution without biases, each with a norm over the channels
/// behind it (segment_anything/modeling/image_encoder.py).
///
/// Keys: `0`, `1`, `2`, `3`.
#[derive(Clone, Debug)]
pub(crate) struct Neck {
    conv1: Conv2d,
    norm1: LayerNorm,
    conv2: Conv2d,
    norm2: LayerNorm,
}

impl Neck {
    pub(crate) fn new(dim: usize, out_channels: usize, vb: VarBuilder) -> Result<Self> {
        const EPS: f64 = 1e-6;
        Ok(Self {
            conv1: Conv2d::new_no_bias(dim, out_channels, 1, nhwc(1, 0), vb.pp(0))?,
            norm1: LayerNorm::new(out_channels, EPS, vb.pp(1))?,
            conv2: Conv2d::new_no_bias(out_channels, out_channels, 3, nhwc(1, 1), vb.pp(2))?,
            norm2: LayerNorm::new(out_channels, EPS, vb.pp(3))?,
        })
    }

    /// `[B, H, W, C]` to `[B, out, H, W]`, a view of channels-last memory; the observer sees `neck1`, what is behind
    /// the first norm, and `image_embeddings`.
    pub(crate) fn forward_with(&self, x: &Tensor, observer: &mut dyn Observer) -> Result<Tensor> {
        let _neck = trace::module("neck");
        let x = self.norm1.forward(&self.conv1.forward(x)?)?;
        observer.observe("neck1", &x.permute((0, 3, 1, 2))?)?;
        let x = self.norm2.forward(&self.conv2.forward(&x)?)?;
        let embeddings = x.permute((0, 3, 1, 2))?;
        observer.observe("image_embeddings", &embeddings)?;
        Ok(embeddings)
    }
}
