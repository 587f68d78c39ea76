//! A depthwise convolution over two maps at once.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use seg_ops::Epilogue;

use crate::conv::depthwise_nhwc;
use crate::trace;

/// A depthwise convolution over a pair of channels-last maps, one behind the other: torch's `Conv3d` with a kernel of `(2, k, k)` and `groups`
/// the number of channels, on two maps stacked along the depth. It is the sum of two 2-D depthwise convolutions, and so it is computed.
///
/// Keys: `weight [C, 1, 2, k, k]`, `bias [C]`.
#[derive(Clone, Debug)]
pub struct DepthwisePair {
    weight: Tensor, // split at every call, so that gradients reach it
    bias: Tensor,
    channels: usize,
    kernel: usize,
}

impl DepthwisePair {
    /// Reads `weight` and `bias`; `kernel` is odd, and maps keep their size.
    pub fn new(channels: usize, kernel: usize, vb: VarBuilder) -> Result<Self> {
        let weight = vb.get((channels, 1, 2, kernel, kernel), "weight")?;
        Ok(Self { weight, bias: vb.get(channels, "bias")?, channels, kernel })
    }

    /// `first` and `second`, both `[B, H, W, C]`, to `[B, H, W, C]`, plus `residual` where there is one.
    pub fn forward(&self, first: &Tensor, second: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        if first.dims() != second.dims() {
            candle_core::bail!("DepthwisePair: maps of {:?} and {:?}, expected one shape", first.dims(), second.dims());
        }
        let _span = trace::sized_layer(|| {
            let flops = 4 * (first.elem_count() * self.kernel * self.kernel) as u64;
            (format!("depthwise pair {0}x{0} {1}", self.kernel, self.channels), flops)
        });
        let params = depthwise_nhwc(self.channels, self.kernel, 1);
        let half = |i: usize| self.weight.narrow(2, i, 1)?.squeeze(2)?.contiguous(); // [C, 1, k, k]
        let bias = Some(&self.bias);
        let behind = seg_ops::conv2d(second, &half(1)?, bias, &params, Epilogue { residual, ..Epilogue::NONE })?;
        seg_ops::conv2d(first, &half(0)?, None, &params, Epilogue::NONE.with_residual(&behind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use std::collections::HashMap;

    #[test]
    fn each_map_has_its_half_of_the_kernel() -> Result<()> {
        let device = &Device::Cpu;
        // the first half takes the pixel on the left, the second twice the pixel itself
        let mut weight = vec![0f32; 18];
        (weight[3], weight[9 + 4]) = (1., 2.);
        let weights = HashMap::from([
            ("weight".to_owned(), Tensor::from_vec(weight, (1, 1, 2, 3, 3), device)?),
            ("bias".to_owned(), Tensor::new(&[100f32], device)?),
        ]);
        let pair = DepthwisePair::new(1, 3, VarBuilder::from_tensors(weights, DType::F32, device))?;
        let map = |values: [f32; 3]| Tensor::new(&values, device)?.reshape((1, 1, 3, 1));
        let (first, second) = (map([1., 2., 3.])?, map([10., 20., 30.])?);
        let values = |y: Tensor| y.flatten_all()?.to_vec1::<f32>();
        assert_eq!(values(pair.forward(&first, &second, None)?)?, [120., 141., 162.]);
        assert_eq!(values(pair.forward(&first, &second, Some(&map([0.5, 0., 0.])?))?)?, [120.5, 141., 162.]);
        assert!(pair.forward(&first, &second.narrow(2, 0, 2)?, None).is_err());
        Ok(())
    }
}
