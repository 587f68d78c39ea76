//! The convolutional parts: patch embedding, MBConv, patch merging. All maps are channels last.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Conv2dBn, Epilogue, bands, conv, trace};
use std::ops::Range;

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

impl PatchEmbed {
    /// `[B, H, W, 3]` to `[B, H/4, W/4, C]`.
    pub fn forward(&self, x: Tensor) -> Result<Tensor> {
        let half = self.conv1.forward_with(&x, GELU)?;
        drop(x);
        self.conv2.forward(&half)
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

impl MbConv {
    /// `[B, H, W, C]` to the same; large maps in bands, each with a row more on both sides for the depthwise convolution.
    pub fn forward(&self, x: Tensor) -> Result<Tensor> {
        match bands::rows(&x, 1)? {
            Some(rows) if !self.conv1.is_trained() => bands::map_with_margin(x, rows, 1, |x, rows| self.rows(&x, rows)),
            _ => {
                let rows = 0..x.dim(1)?;
                self.rows(&x, rows)
            }
        }
    }

    /// The given rows of the output; `x` has what they need.
    fn rows(&self, x: &Tensor, rows: Range<usize>) -> Result<Tensor> {
        let hidden = self.conv1.forward_with(x, GELU)?;
        let hidden = self.conv2.forward_with(&hidden, GELU)?.narrow(1, rows.start, rows.len())?;
        let x = x.narrow(1, rows.start, rows.len())?;
        // the activation comes after the sum here
        let sum = self.conv3.forward_with(&hidden, Epilogue::NONE.with_residual(&x))?;
        drop(hidden);
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
    stride: usize,
}

impl PatchMerging {
    /// Reads the layer from `dim` to `out_dim` channels.
    pub fn new(dim: usize, out_dim: usize, vb: VarBuilder) -> Result<Self> {
        let stride = if matches!(out_dim, 320 | 448 | 576) { 1 } else { 2 };
        Ok(Self {
            conv1: Conv2dBn::new(dim, out_dim, 1, conv::nhwc(1, 0), vb.pp("conv1"))?,
            conv2: Conv2dBn::new(out_dim, out_dim, 3, conv::depthwise_nhwc(out_dim, 3, stride), vb.pp("conv2"))?,
            conv3: Conv2dBn::new(out_dim, out_dim, 1, conv::nhwc(1, 0), vb.pp("conv3"))?,
            stride,
        })
    }

    /// `[B, H, W, C]` to `[B, H/2, W/2, C']`; large maps in bands, as in [`MbConv`].
    pub fn forward(&self, x: Tensor) -> Result<Tensor> {
        let stride = self.stride;
        match bands::rows(&x, stride)? {
            Some(rows) if !self.conv1.is_trained() => {
                bands::map_with_margin(x, rows, stride, |x, rows| self.rows(x, rows))
            }
            _ => {
                let rows = 0..x.dim(1)?;
                self.rows(x, rows)
            }
        }
    }

    /// The rows of the output that belong to the given ones of the input.
    fn rows(&self, x: Tensor, rows: Range<usize>) -> Result<Tensor> {
        let hidden = self.conv1.forward_with(&x, GELU)?;
        drop(x);
        let halved = self.conv2.forward_with(&hidden, GELU)?;
        drop(hidden);
        let (from, to) = (rows.start / self.stride, rows.end.div_ceil(self.stride));
        self.conv3.forward(&halved.narrow(1, from, to - from)?)
    }
}
