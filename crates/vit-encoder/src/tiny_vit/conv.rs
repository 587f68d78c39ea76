//! The convolutional parts: patch embedding, MBConv, patch merging. All maps are channels last.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Conv2dBn, Epilogue, conv, trace};

const GELU: Epilogue<'static> = Epilogue { activation: Activation::Gelu, scale: None, residual: None };

/// Two strided convolutions: `[B, H, W, 3]` to `[B, H/4, W/4, C]`.
///
/// Keys: `seq.0`, `seq.2`.
#[derive(Clone, Debug)]
pub struct PatchEmbed {
    conv1: Conv2dBn,
    conv2: Conv2dBn,
}

impl PatchEmbed {
    /// Reads the embedding to `embed_dim` channels.
    pub fn new(in_channels: usize, embed_dim: usize, vb: VarBuilder) -> Result<Self> {
        let half = embed_dim / 2;
        Ok(Self {
            conv1: Conv2dBn::new(in_channels, half, 3, conv::nhwc(2, 1), vb.pp("seq.0"))?,
            conv2: Conv2dBn::new(half, embed_dim, 3, conv::nhwc(2, 1), vb.pp("seq.2"))?,
        })
    }
}

impl Module for PatchEmbed {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.conv2.forward(&self.conv1.forward_with(x, GELU)?)
    }
}

/// Expand, depthwise, project, add the input, GELU: `[B, H, W, C]` to the same.
///
/// Keys: `conv1`, `conv2`, `conv3`.
#[derive(Clone, Debug)]
pub struct MbConv {
    conv1: Conv2dBn,
    conv2: Conv2dBn,
    conv3: Conv2dBn,
}

impl MbConv {
    /// Reads a block of `dim` channels.
    pub fn new(dim: usize, expand_ratio: usize, vb: VarBuilder) -> Result<Self> {
        let hidden = dim * expand_ratio;
        Ok(Self {
            conv1: Conv2dBn::new(dim, hidden, 1, conv::nhwc(1, 0), vb.pp("conv1"))?,
            conv2: Conv2dBn::new(hidden, hidden, 3, conv::depthwise_nhwc(hidden, 3, 1), vb.pp("conv2"))?,
            conv3: Conv2dBn::new(hidden, dim, 1, conv::nhwc(1, 0), vb.pp("conv3"))?,
        })
    }
}

impl Module for MbConv {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = self.conv2.forward_with(&self.conv1.forward_with(x, GELU)?, GELU)?;
        // the activation comes after the sum here
        let sum = self.conv3.forward_with(&hidden, Epilogue::NONE.with_residual(x))?;
        let _span = trace::layer("gelu", || 0);
        seg_ops::gelu(&sum)
    }
}

/// Changes the width between stages and halves the map: `[B, H, W, C]` to `[B, H/2, W/2, C']`.
///
/// Towards 320, 448 or 576 channels MobileSAM keeps the map's size, so that the embedding stays at stride 16.
///
/// Keys: `conv1`, `conv2`, `conv3`.
#[derive(Clone, Debug)]
pub struct PatchMerging {
    conv1: Conv2dBn,
    conv2: Conv2dBn,
    conv3: Conv2dBn,
}

impl PatchMerging {
    /// Reads the layer from `dim` to `out_dim` channels.
    pub fn new(dim: usize, out_dim: usize, vb: VarBuilder) -> Result<Self> {
        let stride = if matches!(out_dim, 320 | 448 | 576) { 1 } else { 2 };
        Ok(Self {
            conv1: Conv2dBn::new(dim, out_dim, 1, conv::nhwc(1, 0), vb.pp("conv1"))?,
            conv2: Conv2dBn::new(out_dim, out_dim, 3, conv::depthwise_nhwc(out_dim, 3, stride), vb.pp("conv2"))?,
            conv3: Conv2dBn::new(out_dim, out_dim, 1, conv::nhwc(1, 0), vb.pp("conv3"))?,
        })
    }
}

impl Module for PatchMerging {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.conv2.forward_with(&self.conv1.forward_with(x, GELU)?, GELU)?;
        self.conv3.forward(&x)
    }
}
