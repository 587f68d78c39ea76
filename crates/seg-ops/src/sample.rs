//! Sampling a feature map at given positions.

use crate::error::{Result, check_float, check_like, shape_error};
use crate::narrow::{is_half, wide};
use crate::{Layout, composed, cpu};
use candle_core::Tensor;

/// Samples a map between its pixels: PyTorch's `F.grid_sample` with its defaults (bilinear, zeros outside, `align_corners` off).
///
/// `x` is `[B, C, H, W]` or `[B, H, W, C]` by the layout. `grid` is `[B, h, w, 2]`: for every output its place in the map, x before y, where -1 and 1 are
/// the outer edges of the first and last pixel. The result is `[B, C, h, w]` or `[B, h, w, C]`. Both tensors get gradients.
///
/// # Errors
/// If shapes or types do not fit together, or the map has no pixels.
pub fn grid_sample(x: &Tensor, grid: &Tensor, layout: Layout) -> Result<Tensor> {
    const OP: &str = "grid_sample";
    check_float(OP, "x", x)?;
    let (b, _, h, w) = layout.dims(OP, "x", x)?;
    if h == 0 || w == 0 {
        return shape_error(OP, "x", x, "at least 1 × 1 pixels");
    }
    check_like(OP, "grid", grid, x)?;
    match *grid.dims() {
        [gb, _, _, 2] if gb == b => {}
        _ => return shape_error(OP, "grid", grid, format!("[{b}, h, w, 2]")),
    }
    if is_half(x) {
        return grid_sample(&wide(x)?, &wide(grid)?, layout)?.to_dtype(x.dtype());
    }
    let f = if x.device().is_cpu() { cpu::sample::grid_sample } else { composed::grid_sample };
    f(x, grid, layout)
}
