//! Receptive field block.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Conv2dBn, ConvBnKeys, Epilogue, Statistics, conv::nhwc, trace};
use seg_ops::Conv2dParams;

/// Four views of a map of growing reach, joined and added to the map (arXiv 1711.07767, in the form of SAM2UNet.py, `RFB_modified`): no
/// activation but the last.
///
/// Keys: `branch{0..3}.N.{conv,bn}`, `conv_cat.{conv,bn}`, `conv_res.{conv,bn}`.
#[derive(Clone, Debug)]
pub struct Rfb {
    branches: Vec<Vec<BasicConv>>,
    conv_cat: BasicConv,
    conv_res: BasicConv,
}

impl Rfb {
    /// Reads the block.
    pub fn new(in_channels: usize, out_channels: usize, vb: VarBuilder) -> Result<Self> {
        let c = out_channels;
        let mut branches = vec![vec![BasicConv::square(in_channels, c, 1, nhwc(1, 0), vb.pp("branch0.0"))?]];
        for (branch, reach) in [3, 5, 7].into_iter().enumerate() {
            let vb = vb.pp(format!("branch{}", branch + 1));
            let dilated = Conv2dParams { dilation: reach, ..nhwc(1, reach) };
            branches.push(vec![
                BasicConv::square(in_channels, c, 1, nhwc(1, 0), vb.pp(0))?,
                BasicConv::row(c, reach, vb.pp(1))?,
                BasicConv::column(c, reach, vb.pp(2))?,
                BasicConv::square(c, c, 3, dilated, vb.pp(3))?,
            ]);
        }
        Ok(Self {
            branches,
            conv_cat: BasicConv::square(4 * c, c, 3, nhwc(1, 1), vb.pp("conv_cat"))?,
            conv_res: BasicConv::square(in_channels, c, 1, nhwc(1, 0), vb.pp("conv_res"))?,
        })
    }

    /// `[B, H, W, in]` to `[B, H, W, out]`; with `train` the norms use the batch's statistics.
    pub fn forward_t<'a>(&self, x: &Tensor, train: impl Into<Statistics<'a>>) -> Result<Tensor> {
        let train = train.into();
        let _span = trace::module("rfb");
        let mut views = Vec::with_capacity(self.branches.len());
        for branch in &self.branches {
            let mut view = x.clone();
            for conv in branch {
                view = conv.forward_t(&view, Epilogue::NONE, train)?;
            }
            views.push(view);
        }
        let residual = self.conv_res.forward_t(x, Epilogue::NONE, train)?;
        let joined = Tensor::cat(&views, 3)?; // [B, H, W, 4 out]
        let y = self.conv_cat.forward_t(&joined, Epilogue::NONE.with_residual(&residual), train)?;
        seg_ops::activate(&y, Activation::Relu)
    }
}

/// A convolution with a batch norm and no activation.
///
/// Keys: `conv`, `bn`.
#[derive(Clone, Debug)]
struct BasicConv {
    conv: Conv2dBn,
    /// Zeros above and below, left and right, where the two differ.
    margin: (usize, usize),
}

const KEYS: ConvBnKeys = ConvBnKeys { conv: "conv", conv_bias: false, norm: "bn", keep_apart: false };

impl BasicConv {
    fn square(from: usize, to: usize, kernel: usize, params: Conv2dParams, vb: VarBuilder) -> Result<Self> {
        Ok(Self { conv: Conv2dBn::with_keys(from, to, kernel, params, KEYS, vb)?, margin: (0, 0) })
    }

    /// `1 × taps`.
    fn row(channels: usize, taps: usize, vb: VarBuilder) -> Result<Self> {
        let conv = Conv2dBn::with_keys(channels, channels, (1, taps), nhwc(1, 0), KEYS, vb)?;
        Ok(Self { conv, margin: (0, taps / 2) })
    }

    /// `taps × 1`.
    fn column(channels: usize, taps: usize, vb: VarBuilder) -> Result<Self> {
        let conv = Conv2dBn::with_keys(channels, channels, (taps, 1), nhwc(1, 0), KEYS, vb)?;
        Ok(Self { conv, margin: (taps / 2, 0) })
    }

    fn forward_t(&self, x: &Tensor, epilogue: Epilogue<'_>, train: Statistics<'_>) -> Result<Tensor> {
        match self.margin {
            (0, 0) => self.conv.forward_t(x, epilogue, train),
            (rows, columns) => {
                let x = x.pad_with_zeros(1, rows, rows)?.pad_with_zeros(2, columns, columns)?;
                self.conv.forward_t(&x, epilogue, train)
            }
        }
    }
}
