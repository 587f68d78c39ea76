use crate::error::Result;
use candle_core::Tensor;

/// See [`crate::rope_2d`].
pub fn rope_2d(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let (b, h, n, d) = x.dims4()?;
    if x.elem_count() == 0 {
        return Ok(x.clone());
    }
    let pairs = x.contiguous()?.reshape((b, h, n, d / 2, 2))?;
    let (first, second) = (pairs.narrow(4, 0, 1)?, pairs.narrow(4, 1, 1)?);
    let (cos, sin) = (cos.reshape((1, 1, n, d / 2, 1))?, sin.reshape((1, 1, n, d / 2, 1))?);
    let a = (first.broadcast_mul(&cos)? - second.broadcast_mul(&sin)?)?;
    let b = (first.broadcast_mul(&sin)? + second.broadcast_mul(&cos)?)?;
    Tensor::cat(&[a, b], 4)?.reshape(x.dims())
}
