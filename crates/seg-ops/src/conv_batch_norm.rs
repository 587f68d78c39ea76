//! A convolution with a batch norm of the batch's statistics behind it: what convolutional networks are made of, in training.

use crate::error::{Result, check_float, check_like, check_vector, parameter_error, shape_error};
use crate::narrow::is_half;
use crate::{Activation, AllReduce, BatchNormed, Conv2dParams, Epilogue, Layout, cpu};
use candle_core::Tensor;
use std::sync::Arc;

/// The parts of a [`conv_batch_norm`].
#[derive(Clone, Copy)]
pub struct ConvBatchNorm<'a> {
    /// Of the convolution: `[O, I / groups, kh, kw]`.
    pub weight: &'a Tensor,
    /// Of the convolution: `[O]`.
    pub bias: Option<&'a Tensor>,
    /// Of the norm: `[O]`.
    pub gamma: &'a Tensor,
    /// Of the norm: `[O]`.
    pub beta: &'a Tensor,
    /// Of the norm: see [`crate::batch_norm`].
    pub eps: f64,
    /// Of the convolution.
    pub params: &'a Conv2dParams,
    /// What follows the norm.
    pub epilogue: Epilogue<'a>,
    /// Processes whose elements are normalised together: see [`crate::batch_norm_across`].
    pub across: Option<&'a Arc<dyn AllReduce>>,
}

/// [`crate::conv2d`], then [`crate::batch_norm_across`] over its channels, then the epilogue; with `skip` (channels last alone) the convolution reads
/// [`crate::resize_concat`] of `x` and `skip`.
///
/// The same numbers as step by step. On the CPU, channels last, with no activation but ReLU and without a scale it is one operation: besides its arguments and
/// the output only the convolution's output is kept for the backward pass, and only until that has read it; what `x` and `skip` are together is made again there.
///
/// # Errors
/// Those of the three.
pub fn conv_batch_norm(x: &Tensor, skip: Option<&Tensor>, c: &ConvBatchNorm<'_>) -> Result<BatchNormed> {
    const OP: &str = "conv_batch_norm";
    let ConvBatchNorm { epilogue: e, params: p, .. } = *c;
    let depthwise = p.groups > 1;
    let known = matches!(e.activation, Activation::None | Activation::Relu) && e.scale.is_none();
    if !x.device().is_cpu() || is_half(x) || p.layout == Layout::Nchw || depthwise || !known {
        return composed(x, skip, c);
    }
    check_float(OP, "x", x)?;
    let (b, mut channels, mut h, mut w) = p.layout.dims(OP, "x", x)?;
    if let Some(skip) = skip {
        check_like(OP, "skip", skip, x)?;
        if h == 0 || w == 0 {
            return shape_error(OP, "x", x, "at least 1 × 1 pixels");
        }
        match *skip.dims() {
            [batch, height, width, d] if batch == b && height > 0 && width > 0 => {
                (h, w, channels) = (height, width, channels + d);
            }
            _ => return shape_error(OP, "skip", skip, format!("[{b}, H, W, D], at least 1 × 1 pixels")),
        }
    }
    let [_, outputs, oh, ow] = p.check(OP, x, (b, channels, h, w), c.weight, c.bias)?;
    for (name, vector) in [("gamma", c.gamma), ("beta", c.beta)] {
        check_vector(OP, name, vector, outputs, x)?;
    }
    if c.eps.is_nan() || c.eps < 0. {
        return parameter_error(OP, "eps", c.eps, "0 or more");
    }
    if c.across.is_none() && b * oh * ow < 2 {
        return shape_error(OP, "x", x, "at least two elements a channel");
    }
    e.check(OP, outputs, &p.layout.shape(b, outputs, oh, ow), x)?;
    cpu::conv_batch_norm::conv_batch_norm(x, skip, c)
}

/// Step by step.
fn composed(x: &Tensor, skip: Option<&Tensor>, c: &ConvBatchNorm<'_>) -> Result<BatchNormed> {
    let ConvBatchNorm { epilogue: e, params: p, .. } = *c;
    let map = match skip {
        Some(_) if p.layout == Layout::Nchw => {
            return shape_error("conv_batch_norm", "skip", x, "no second map with channels first");
        }
        Some(skip) => crate::resize_concat(x, skip)?,
        None => x.clone(),
    };
    let y = crate::conv2d(&map, c.weight, c.bias, p, Epilogue::NONE)?;
    let mut normed = crate::batch_norm_across(&p.layout.to_nhwc(&y)?, c.gamma, c.beta, c.eps, c.across)?;
    normed.output = cpu::activate_tail(p.layout.of_nhwc(normed.output)?, e, p.layout.channel_axis())?;
    Ok(normed)
}
