use super::resize;
use crate::Resize;
use crate::error::Result;
use candle_core::Tensor;

/// See [`crate::resize_concat`].
pub fn resize_concat(x: &Tensor, skip: &Tensor) -> Result<Tensor> {
    let (_, h, w, _) = skip.dims4()?;
    Tensor::cat(&[&resize_nhwc(x, (h, w), &Resize::bilinear())?, skip], 3)
}

/// See [`crate::resize_nhwc`].
pub fn resize_nhwc(x: &Tensor, size: (usize, usize), r: &Resize) -> Result<Tensor> {
    resize(&x.permute((0, 3, 1, 2))?, size, r)?.permute((0, 2, 3, 1))?.contiguous()
}
