//! A convolution, the batch norm behind it, and what follows, as one step of a training.

use super::batch_norm::{self, Moments};
use super::conv::{Convolution, channel_sums};
use super::{ForOnePass, Value, attach_many, dispatch, resize_concat};
use crate::error::Result;
use crate::float::Float;
use crate::{Activation, BatchNormed, ConvBatchNorm, Layout};
use candle_core::Tensor;

/// The tensors, detached, as the backward pass needs them.
struct Inputs {
    x: Tensor,
    skip: Option<Tensor>,
    weight: Tensor,
    gamma: Tensor,
    beta: Tensor,
}

impl Inputs {
    /// What the convolution reads.
    fn map(&self) -> Result<Tensor> {
        match &self.skip {
            Some(skip) => resize_concat::resize_concat(&self.x, skip),
            None => Ok(self.x.clone()),
        }
    }
}

/// See [`crate::conv_batch_norm`]: channels last, one activation at most, no scale.
pub(crate) fn conv_batch_norm(x: &Tensor, skip: Option<&Tensor>, c: &ConvBatchNorm<'_>) -> Result<BatchNormed> {
    dispatch!(x, self::typed(x, skip, c))
}

fn typed<T: super::vector::Vector + Float>(
    x: &Tensor,
    skip: Option<&Tensor>,
    c: &ConvBatchNorm<'_>,
) -> Result<BatchNormed> {
    let plain = |t: &Tensor| t.detach().contiguous();
    let inputs = Inputs {
        x: plain(x)?,
        skip: skip.map(plain).transpose()?,
        weight: plain(c.weight)?,
        gamma: plain(c.gamma)?,
        beta: plain(c.beta)?,
    };
    let bias = c.bias.map(plain).transpose()?;
    let residual = c.epilogue.residual.map(plain).transpose()?;
    let (relu, across) = (c.epilogue.activation == Activation::Relu, c.across.cloned());
    let map = inputs.map()?;
    let convolution = Convolution::new(&map, &inputs.weight, c.params)?;
    let convolved = move |map: &Tensor, weight: &Tensor| convolution.forward::<T>(map, weight, bias.as_ref())?.tensor();
    let z = convolved(&map, &inputs.weight)?;
    drop(map);
    let m = Moments::of::<T>(&z, inputs.gamma.elem_count(), c.eps, c.across)?;
    let (count, [mean, variance]) = (m.count, m.vectors::<T>()?);
    let affine = (&inputs.gamma, &inputs.beta);
    let value: Value = batch_norm::forward::<T>(&z, affine, &m, relu, residual.as_ref())?;
    drop(residual);

    let kept = ForOnePass::new(Some(z));
    let of = [Some(c.weight), Some(c.gamma), Some(c.beta), Some(x), skip, c.bias, c.epilogue.residual];
    let output = attach_many("conv_batch_norm", value, of, move |tracked, _, g| {
        let [of_weight, _, _, of_x, of_skip, of_bias, _] = tracked;
        let Inputs { weight, gamma, beta, .. } = &inputs;
        let z = kept.take_or(|| convolved(&inputs.map()?, weight))?;
        let [dz, dgamma, dbeta] = batch_norm::backward::<T>(&z, (gamma, beta), g, &m, across.as_ref(), relu)?;
        drop(z);
        let dweight = of_weight.then(|| convolution.weight_gradient::<T>(&inputs.map()?, &dz, weight)?.tensor());
        let dbias = of_bias.then(|| channel_sums(&dz, Layout::Nhwc)).transpose()?;
        let dmap = (of_x || of_skip).then(|| convolution.input_gradient::<T>(&dz, weight)?.tensor()).transpose()?;
        drop(dz);
        let (dx, dskip) = match (dmap, &inputs.skip) {
            (Some(dmap), Some(_)) => {
                let [dx, dskip] = resize_concat::split::<T>(&inputs.x, &dmap)?;
                (Some(dx), Some(dskip))
            }
            (dmap, _) => (dmap, None),
        };
        Ok([dweight.transpose()?, Some(dgamma), Some(dbeta), dx, dskip, dbias, Some(g.clone())])
    })?;
    Ok(BatchNormed { output, mean, variance, count })
}
