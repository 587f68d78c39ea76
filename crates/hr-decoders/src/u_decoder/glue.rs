//! Two encoders' maps made one.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Conv2d, Epilogue, conv::nhwc, trace};
use seg_ops::Resize;

/// SAM2-UNeXT's dense glue layer at one level: the auxiliary encoder's map is brought to the channels of the main one's (`align`) and enlarged to its size,
/// and both side by side are reduced (`reduce`), all by 1×1 convolutions (SAM2UNeXT.py).
///
/// Enlarging commutes with a 1×1 convolution: the auxiliary half of `reduce` is computed on the small map, and the map of both side by side never exists.
///
/// Keys, with the level's number behind the names: `align [C, aux]`, `reduce [out, 2C]`.
#[derive(Clone, Debug)]
pub struct DenseGlue {
    align: Conv2d,
    reduce_weight: Tensor, // [out, 2C, 1, 1]
    reduce_bias: Tensor,   // [out]
    channels: usize,
}

impl DenseGlue {
    /// Reads level `level`, counted from 1 at the finest; `vb` is at the root of the model.
    pub fn new(
        level: usize,
        aux_channels: usize,
        channels: usize,
        out_channels: usize,
        vb: &VarBuilder,
    ) -> Result<Self> {
        let reduce = vb.pp(format!("reduce{level}"));
        Ok(Self {
            align: Conv2d::new(aux_channels, channels, 1, nhwc(1, 0), vb.pp(format!("align{level}")))?,
            reduce_weight: reduce.get((out_channels, 2 * channels, 1, 1), "weight")?,
            reduce_bias: reduce.get(out_channels, "bias")?,
            channels,
        })
    }

    /// The auxiliary map `[B, h, w, aux]` with the main encoder's channels, `[B, h, w, C]`.
    pub fn align(&self, aux: &Tensor) -> Result<Tensor> {
        self.align.forward(aux)
    }

    /// `main` `[B, H, W, C]` and the aligned map to `[B, H, W, out]`.
    pub fn reduce(&self, main: &Tensor, aligned: &Tensor) -> Result<Tensor> {
        let _span = trace::module("glue");
        let (_, h, w, _) = main.dims4()?;
        let half = |from: usize| self.reduce_weight.narrow(1, from, self.channels)?.flatten_from(1)?.contiguous();
        let aux = seg_ops::linear(aligned, &half(self.channels)?, None, Epilogue::NONE)?; // [B, h, w, out]
        let aux = seg_ops::resize_nhwc(&aux, (h, w), &Resize::bilinear())?;
        seg_ops::linear(main, &half(0)?, Some(&self.reduce_bias), Epilogue::NONE.with_residual(&aux))
    }
}
