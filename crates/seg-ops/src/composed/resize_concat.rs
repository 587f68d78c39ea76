use super::resize;
use crate::Resize;
use crate::error::Result;
use candle_core::Tensor;

/// See [`crate::resize_concat`].
pub fn resize_concat(x: &Tensor, skip: &Tensor) -> Result<Tensor> {
    let (_, h, w, _) = skip.dims4()?;
    let resized = resize(&x.permute((0, 3, 1, 2))?, (h, w), &Resize::bilinear())?;
    Tensor::cat(&[&resized.permute((0, 2, 3, 1))?, skip], 3)
}
