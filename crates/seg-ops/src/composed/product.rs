use super::pointwise::finish;
use crate::Epilogue;
use crate::error::Result;
use candle_core::Tensor;

/// See [`crate::linear`].
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, epilogue: Epilogue<'_>) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    let mut dims = x.dims().to_vec();
    let rows: usize = dims[..dims.len() - 1].iter().product();
    let axis = dims.len() - 1;
    dims[axis] = outputs;
    let y = if rows == 0 || inputs == 0 || outputs == 0 {
        Tensor::zeros(dims, x.dtype(), x.device())?
    } else {
        x.contiguous()?.reshape((rows, inputs))?.matmul(&weight.contiguous()?.t()?)?.reshape(dims)?
    };
    finish(y, bias, epilogue, axis)
}
