//! The residual U-block (U²-Net, arXiv 2005.09007, section 3.1): a small U-Net with a residual around it. All maps are
//! channels last. Official file: `IS-Net/models/isnet.py`.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Conv2dBn, ConvBnKeys, Epilogue, Layout, Statistics, trace};
use seg_ops::{Conv2dParams, Pool2dParams};
use serde::{Deserialize, Serialize};

/// Which residual U-block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RsuKind {
    /// `RSU-L` with L levels, of which all but the last are half as large as the one before; the last is dilated by two.
    Pooled(usize),
    /// `RSU-4F`: four levels of one size, dilated by 1, 2, 4, 8.
    Dilated,
}

/// A residual U-block without its input width, which follows from what comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RsuConfig {
    /// Its levels.
    pub kind: RsuKind,
    /// Channels inside.
    pub mid: usize,
    /// Channels of its output.
    pub out: usize,
}

impl RsuConfig {
    /// `RSU-L` with L levels.
    pub const fn pooled(levels: usize, mid: usize, out: usize) -> Self {
        Self { kind: RsuKind::Pooled(levels), mid, out }
    }

    /// `RSU-4F`.
    pub const fn dilated(mid: usize, out: usize) -> Self {
        Self { kind: RsuKind::Dilated, mid, out }
    }
}

/// 3×3 convolution, batch norm, ReLU.
///
/// Keys: `conv_s1.{weight,bias}`, `bn_s1.…`.
#[derive(Clone, Debug)]
struct RebnConv(Conv2dBn);

impl RebnConv {
    fn new(input: usize, output: usize, dilation: usize, train: bool, vb: VarBuilder) -> Result<Self> {
        let params = Conv2dParams { padding: dilation, dilation, layout: Layout::Nhwc, ..Conv2dParams::default() };
        let keys = ConvBnKeys { conv: "conv_s1", conv_bias: true, norm: "bn_s1", keep_apart: train };
        Ok(Self(Conv2dBn::with_keys(input, output, 3, params, keys, vb)?))
    }

    fn forward(&self, x: &Tensor, train: Statistics<'_>) -> Result<Tensor> {
        self.0.forward_t(x, Epilogue::act(Activation::Relu), train)
    }

    /// Of `x` at `skip`'s size and `skip`.
    fn forward_beside(
        &self,
        (x, skip): (Tensor, Tensor),
        residual: Option<&Tensor>,
        train: Statistics<'_>,
    ) -> Result<Tensor> {
        let relu = Epilogue::act(Activation::Relu);
        let epilogue = residual.map_or(relu, |residual| relu.with_residual(residual));
        self.0.forward_beside(x, skip, epilogue, train)
    }
}

/// A residual U-block: `[B, H, W, in]` to `[B, H, W, out]`, of any size.
///
/// Keys: `rebnconvin`, `rebnconv1` … `rebnconvL`, `rebnconv{L-1}d` … `rebnconv1d`, each with `conv_s1` and `bn_s1`.
#[derive(Clone, Debug)]
pub struct Rsu {
    input: RebnConv,
    /// `rebnconv1` to `rebnconvL`.
    down: Vec<RebnConv>,
    /// `rebnconv1d` to `rebnconv{L-1}d`.
    up: Vec<RebnConv>,
    pooled: bool,
}

impl Rsu {
    /// Reads the block. With `keep_apart` its batch norms can use the batch's statistics though nothing is a variable
    /// (see [`ConvBnKeys::keep_apart`]).
    pub fn new(in_channels: usize, cfg: &RsuConfig, keep_apart: bool, vb: VarBuilder) -> Result<Self> {
        let RsuConfig { kind, mid, out } = *cfg;
        let (levels, pooled) = match kind {
            RsuKind::Pooled(levels) => (levels, true),
            RsuKind::Dilated => (4, false),
        };
        if levels < 2 {
            candle_core::bail!("RSU: {levels} levels, expected 2 or more");
        }
        let conv = |name: String, input: usize, output: usize, dilation: usize| {
            RebnConv::new(input, output, dilation, keep_apart, vb.pp(name))
        };
        // level 0 is the largest; only the dilated block's middle levels and the last one of the others reach further
        let dilation = |level: usize| match (pooled, level + 1 == levels) {
            (true, true) => 2,
            (true, false) => 1,
            (false, _) => 1 << level,
        };
        let down = (0..levels)
            .map(|i| conv(format!("rebnconv{}", i + 1), if i == 0 { out } else { mid }, mid, dilation(i)))
            .collect::<Result<_>>()?;
        let up = (0..levels - 1)
            .map(|i| conv(format!("rebnconv{}d", i + 1), 2 * mid, if i == 0 { out } else { mid }, dilation(i)))
            .collect::<Result<_>>()?;
        Ok(Self { input: conv("rebnconvin".to_owned(), in_channels, out, 1)?, down, up, pooled })
    }

    /// The block in evaluation, or with `train` its batch norms with the batch's statistics. `x` is consumed, so that its
    /// memory is free as soon as the first convolution has read it.
    pub fn forward_t<'a>(&self, x: Tensor, train: impl Into<Statistics<'a>>) -> Result<Tensor> {
        let train = train.into();
        let hxin = self.input.forward(&x, train)?;
        drop(x);
        self.levels(hxin, train)
    }

    /// [`Self::forward_t`] of `x`, resized to the size of `skip`, and `skip` side by side.
    pub fn forward_beside<'a>(&self, x: Tensor, skip: Tensor, train: impl Into<Statistics<'a>>) -> Result<Tensor> {
        let train = train.into();
        self.levels(self.input.forward_beside((x, skip), None, train)?, train)
    }

    /// What follows the first convolution.
    fn levels(&self, hxin: Tensor, train: Statistics<'_>) -> Result<Tensor> {
        let mut maps: Vec<Tensor> = Vec::with_capacity(self.down.len());
        for (i, conv) in self.down.iter().enumerate() {
            let _span = trace::part("down", i);
            // each level but the last halves the map before it; the last two work at one size
            let map = match maps.last() {
                None => conv.forward(&hxin, train)?,
                Some(above) if self.pooled && i + 1 < self.down.len() => conv.forward(&halve(above)?, train)?,
                Some(above) => conv.forward(above, train)?,
            };
            maps.push(map);
        }
        let none = || candle_core::Error::Msg("RSU without levels".to_owned());
        let mut x = maps.pop().ok_or_else(none)?;
        for (i, conv) in self.up.iter().enumerate().rev() {
            let _span = trace::part("up", i);
            let skip = maps.pop().ok_or_else(none)?;
            x = conv.forward_beside((x, skip), (i == 0).then_some(&hxin), train)?;
        }
        Ok(x)
    }
}

/// The maximum of 2×2 pixels, sizes rounded up: `[B, H, W, C]` to `[B, ⌈H/2⌉, ⌈W/2⌉, C]`.
pub(crate) fn halve(x: &Tensor) -> Result<Tensor> {
    let _span = trace::layer("max_pool2d", || 0);
    let p = Pool2dParams { kernel: 2, stride: 2, padding: 0, ceil_mode: true, layout: Layout::Nhwc };
    seg_ops::max_pool2d(x, &p)
}
