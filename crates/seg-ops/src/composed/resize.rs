use super::widen;
use crate::Resize;
use crate::error::Result;
use crate::interpolate::Weights;
use candle_core::{DType, Tensor};

/// See [`crate::resize`]: two products with interpolation matrices.
pub fn resize(x: &Tensor, (oh, ow): (usize, usize), r: &Resize) -> Result<Tensor> {
    let (b, c, h, w) = x.dims4()?;
    if b * c == 0 {
        return Tensor::zeros((b, c, oh, ow), x.dtype(), x.device());
    }
    let wide = widen(x)?;
    let matrix = |out: usize, input: usize, scale: Option<f64>| -> Result<Tensor> {
        let weights = match wide.dtype() {
            DType::F64 => Weights::<f64>::new(input, out, r, scale).dense(),
            _ => Weights::<f32>::new(input, out, r, scale).dense().into_iter().map(f64::from).collect(),
        };
        Tensor::from_vec(weights, (out, input), &candle_core::Device::Cpu)?
            .to_dtype(wide.dtype())?
            .to_device(x.device())
    };
    let columns = matrix(ow, w, r.scale.map(|s| s.1))?;
    let rows = matrix(oh, h, r.scale.map(|s| s.0))?;
    let y = wide.contiguous()?.reshape((b * c * h, w))?.matmul(&columns.t()?)?.reshape((b * c, h, ow))?;
    let y = rows.unsqueeze(0)?.broadcast_as((b * c, oh, h))?.contiguous()?.matmul(&y)?;
    y.reshape((b, c, oh, ow))?.to_dtype(x.dtype())
}
