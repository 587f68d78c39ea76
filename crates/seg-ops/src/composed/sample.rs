use super::deform::samples;
use super::widen;
use crate::Layout;
use crate::error::Result;
use candle_core::Tensor;

/// See [`crate::grid_sample`].
pub fn grid_sample(x: &Tensor, grid: &Tensor, layout: Layout) -> Result<Tensor> {
    let dtype = x.dtype();
    let (x, grid) = (widen(&layout.to_nhwc(x)?.contiguous()?)?, widen(grid)?);
    let ((b, h, w, c), (_, gh, gw, _)) = (x.dims4()?, grid.dims4()?);
    let y = if b * gh * gw * c == 0 {
        Tensor::zeros((b, gh, gw, c), x.dtype(), x.device())?
    } else {
        let position = |axis: usize, len: usize| -> Result<Tensor> {
            let half = len as f64 / 2.;
            grid.narrow(3, axis, 1)?.reshape((b, gh * gw))?.affine(half, half - 0.5)
        };
        let (xs, ys) = (position(0, w)?, position(1, h)?);
        samples(&x.reshape((b * h * w, c))?, (h, w), &ys, &xs)?.reshape((b, gh, gw, c))?
    };
    layout.of_nhwc(y.to_dtype(dtype)?)
}
