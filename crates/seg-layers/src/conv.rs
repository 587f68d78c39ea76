//! Convolutions, plain and transposed.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_ops::{Conv2dParams, ConvTranspose2dParams, Epilogue, Layout};

use crate::trace;

/// Height and width of a convolution's kernel; of a single number both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl From<usize> for Kernel {
    fn from(side: usize) -> Self {
        Self { height: side, width: side }
    }
}

impl From<(usize, usize)> for Kernel {
    fn from((height, width): (usize, usize)) -> Self {
        Self { height, width }
    }
}

/// 2-D convolution, `[B, C, H, W]` or, with [`Layout::Nhwc`], `[B, H, W, C]`.
///
/// Keys: `weight [out, in / groups, kh, kw]` and `bias [out]`, in both layouts as torch stores them.
#[derive(Clone, Debug)]
pub struct Conv2d {
    pub(crate) weight: Tensor,
    pub(crate) bias: Option<Tensor>,
    pub(crate) params: Conv2dParams,
}

impl Conv2d {
    /// Reads `weight` and `bias`; `kernel` is a side or (height, width).
    pub fn new(
        in_channels: usize,
        out_channels: usize,
        kernel: impl Into<Kernel>,
        params: Conv2dParams,
        vb: VarBuilder,
    ) -> Result<Self> {
        let bias = vb.get(out_channels, "bias")?;
        Ok(Self { bias: Some(bias), ..Self::new_no_bias(in_channels, out_channels, kernel, params, vb)? })
    }

    /// Reads `weight` alone.
    pub fn new_no_bias(
        in_channels: usize,
        out_channels: usize,
        kernel: impl Into<Kernel>,
        params: Conv2dParams,
        vb: VarBuilder,
    ) -> Result<Self> {
        let Kernel { height, width } = kernel.into();
        let weight = vb.get((out_channels, in_channels / params.groups.max(1), height, width), "weight")?;
        Ok(Self { weight, bias: None, params })
    }

    /// `[out, in / groups, k, k]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// The convolution followed by `epilogue` (activation, scale, residual) in the same pass.
    pub fn forward_with(&self, x: &Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
        let _span = trace::sized_layer(|| describe(x, &self.weight, &self.params));
        seg_ops::conv2d(x, &self.weight, self.bias.as_ref(), &self.params, epilogue)
    }
}

impl Module for Conv2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_with(x, Epilogue::NONE)
    }
}

/// Transposed 2-D convolution with bias.
///
/// Keys: `weight [in, out, k, k]`, `bias [out]`.
#[derive(Clone, Debug)]
pub struct ConvTranspose2d {
    weight: Tensor,
    bias: Tensor,
    params: ConvTranspose2dParams,
}

impl ConvTranspose2d {
    /// Reads `weight` and `bias` of a `kernel × kernel` transposed convolution.
    pub fn new(
        in_channels: usize,
        out_channels: usize,
        kernel: usize,
        params: ConvTranspose2dParams,
        vb: VarBuilder,
    ) -> Result<Self> {
        let weight = vb.get((in_channels, out_channels, kernel, kernel), "weight")?;
        Ok(Self { weight, bias: vb.get(out_channels, "bias")?, params })
    }

    /// The convolution followed by `epilogue` (activation, scale, residual) in the same pass.
    pub fn forward_with(&self, x: &Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
        // every input value meets every weight of its channel once
        let flops = || 2 * (x.elem_count() * self.weight.elem_count() / self.weight.dim(0).unwrap_or(1).max(1)) as u64;
        let _span = trace::layer("conv_transpose2d", flops);
        seg_ops::conv_transpose2d(x, &self.weight, Some(&self.bias), &self.params, epilogue)
    }
}

impl Module for ConvTranspose2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_with(x, Epilogue::NONE)
    }
}

/// Name and size of a convolution, for traces.
fn describe(x: &Tensor, weight: &Tensor, params: &Conv2dParams) -> (String, u64) {
    let name = match weight.dims() {
        [o, i, kh, kw] => format!("conv2d {kh}x{kw} {} -> {o}", i * params.groups),
        _ => "conv2d".to_owned(),
    };
    (name, conv_flops(x, weight, params))
}

/// Multiplications and additions of a convolution: every output pixel meets every weight.
fn conv_flops(x: &Tensor, weight: &Tensor, params: &Conv2dParams) -> u64 {
    let (Ok((b, h, w)), Ok((_, _, kh, kw))) = (sides(x, params.layout), weight.dims4()) else { return 0 };
    let out = |side: usize, kernel: usize| {
        let reach = params.dilation * (kernel - 1) + 1;
        (side + 2 * params.padding).saturating_sub(reach) / params.stride.max(1) + 1
    };
    2 * (b * out(h, kh) * out(w, kw)) as u64 * weight.elem_count() as u64
}

/// Batch, height and width of a map.
fn sides(x: &Tensor, layout: Layout) -> Result<(usize, usize, usize)> {
    let (b, d1, d2, d3) = x.dims4()?;
    Ok(match layout {
        Layout::Nchw => (b, d2, d3),
        Layout::Nhwc => (b, d1, d2),
    })
}

/// Parameters of a channels-last convolution: the layout that encoders use.
pub fn nhwc(stride: usize, padding: usize) -> Conv2dParams {
    Conv2dParams { stride, padding, layout: Layout::Nhwc, ..Conv2dParams::default() }
}

/// Parameters of a channels-last depthwise convolution over `channels`, padded to keep the size at stride 1.
pub fn depthwise_nhwc(channels: usize, kernel: usize, stride: usize) -> Conv2dParams {
    Conv2dParams { groups: channels, ..nhwc(stride, kernel / 2) }
}

/// Parameters of a channels-last transposed convolution that doubles the size (kernel 2, stride 2).
pub fn upscale_nhwc() -> ConvTranspose2dParams {
    ConvTranspose2dParams { stride: 2, layout: Layout::Nhwc, ..ConvTranspose2dParams::default() }
}
