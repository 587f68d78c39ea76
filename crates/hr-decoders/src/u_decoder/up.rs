//! A step up: two maps made one of twice the size.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Conv2dBn, ConvBnKeys, Epilogue, KeptStatistics, Statistics, conv::nhwc, trace};
use seg_ops::Resize;

/// Twice a 3×3 convolution with batch norm and ReLU behind it (U-Net's block).
///
/// Keys: `double_conv.{0,1}`, `double_conv.{3,4}`.
#[derive(Clone, Debug)]
pub struct DoubleConv {
    conv1: Conv2dBn,
    conv2: Conv2dBn,
}

impl DoubleConv {
    /// Reads the two convolutions; `mid_channels` are between them.
    pub fn new(in_channels: usize, mid_channels: usize, out_channels: usize, vb: VarBuilder) -> Result<Self> {
        let vb = vb.pp("double_conv");
        let conv = |from, to, conv, norm| {
            let keys = ConvBnKeys { conv, conv_bias: false, norm, keep_apart: false };
            Conv2dBn::with_keys(from, to, 3, nhwc(1, 1), keys, vb.clone())
        };
        Ok(Self {
            conv1: conv(in_channels, mid_channels, "0", "1")?,
            conv2: conv(mid_channels, out_channels, "3", "4")?,
        })
    }

    /// `[B, H, W, in]` to `[B, H, W, out]`; with `train` the norms use the batch's statistics.
    pub fn forward_t<'a>(&self, x: Tensor, train: impl Into<Statistics<'a>>) -> Result<Tensor> {
        let train = train.into();
        let mid = self.conv1.forward_t(&x, Epilogue::act(Activation::Relu), train)?;
        drop(x);
        self.conv2.forward_t(&mid, Epilogue::act(Activation::Relu), train)
    }
}

/// What comes first, and so which of the two maps are enlarged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpOrder {
    /// SAM2-UNeXT: `[deep, skip]`, of one size, are put side by side and both enlarged.
    ConcatFirst,
    /// SAM2-UNet: the deep map is enlarged to the skip's size, `[skip, deep]`.
    UpsampleFirst,
}

/// Bilinear enlargement by two with aligned corners, and a [`DoubleConv`] with half of the input's channels in its middle
/// (SAM2UNet.py and SAM2UNeXT.py, `Up`).
///
/// Keys: `conv.double_conv`.
#[derive(Clone, Debug)]
pub struct Up {
    conv: DoubleConv,
    order: UpOrder,
    checkpointing: bool,
}

impl Up {
    /// Reads the convolutions; `in_channels` are those of both maps together.
    pub fn new(in_channels: usize, out_channels: usize, order: UpOrder, vb: VarBuilder) -> Result<Self> {
        let conv = DoubleConv::new(in_channels, in_channels / 2, out_channels, vb.pp("conv"))?;
        Ok(Self { conv, order, checkpointing: false })
    }

    /// Whether only the two maps and the output are kept for the backward pass ([`seg_ops::checkpoint`]).
    pub fn set_checkpointing(&mut self, checkpointing: bool) {
        self.checkpointing = checkpointing;
    }

    /// `deep` `[B, h, w, C]` to `[B, 2h, 2w, out]`. `skip` is `[B, h, w, D]` or, with [`UpOrder::UpsampleFirst`], `[B, 2h, 2w, D]`.
    pub fn forward_t<'a>(
        &self,
        deep: Tensor,
        skip: Option<&Tensor>,
        train: impl Into<Statistics<'a>>,
    ) -> Result<Tensor> {
        let train = train.into();
        if !self.checkpointing {
            return self.run(deep, skip, train);
        }
        let (up, train) = (self.clone(), KeptStatistics::from(train));
        let maps: Vec<&Tensor> = std::iter::once(&deep).chain(skip).collect();
        seg_ops::checkpoint(&maps, move |maps, pass| up.run(maps[0].clone(), maps.get(1), train.on(pass)))
    }

    fn run(&self, deep: Tensor, skip: Option<&Tensor>, train: Statistics<'_>) -> Result<Tensor> {
        let x = match (self.order, skip) {
            (_, None) => enlarge(&deep)?,
            (UpOrder::ConcatFirst, Some(skip)) => enlarge(&Tensor::cat(&[&deep, skip], 3)?)?,
            (UpOrder::UpsampleFirst, Some(skip)) => Tensor::cat(&[skip, &enlarge(&deep)?], 3)?,
        };
        drop(deep);
        self.conv.forward_t(x, train)
    }
}

/// Twice the size.
fn enlarge(x: &Tensor) -> Result<Tensor> {
    let _span = trace::layer("resize", || 0);
    let (_, h, w, _) = x.dims4()?;
    seg_ops::resize_nhwc(x, (2 * h, 2 * w), &Resize::bilinear().align_corners())
}
