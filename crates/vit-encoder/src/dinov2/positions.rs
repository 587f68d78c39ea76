//! The position table for maps of another size than the checkpoint's.

use candle_core::{Result, Tensor};
use seg_ops::Resize;

use super::config::PositionInterpolation;

/// The table of the patches `[1, G, G, C]` for a map of `h × w` tokens, unchanged where the sizes agree.
pub(super) fn resampled(table: &Tensor, (h, w): (usize, usize), how: PositionInterpolation) -> Result<Tensor> {
    let (_, rows, columns, _) = table.dims4()?;
    if (rows, columns) == (h, w) {
        return Ok(table.clone());
    }
    let resize = match how {
        PositionInterpolation::Antialiased => Resize::bicubic().antialiased(),
        PositionInterpolation::Offset => {
            let factor = |side: usize, of: usize| (side as f64 + 0.1) / of as f64;
            Resize::bicubic().with_scale(factor(h, rows), factor(w, columns))
        }
    };
    seg_ops::resize(&table.permute((0, 3, 1, 2))?, (h, w), &resize)?.permute((0, 2, 3, 1))?.contiguous()
}

/// A whole position table `[1, N, C]`, a square grid with or without a row for the class token before it, for another number of `rows` of the same kind:
/// that row stays, the grid is interpolated. Unchanged where the numbers agree.
///
/// # Errors
/// Besides candle's, numbers of rows that are not both squares, or both one more than squares.
pub fn resample_position_table(table: &Tensor, rows: usize, how: PositionInterpolation) -> Result<Tensor> {
    let (_, n, c) = table.dims3()?;
    if n == rows {
        return Ok(table.clone());
    }
    let side = |grid: usize| Some(grid.isqrt()).filter(|side| side * side == grid && grid > 0);
    let sides = |class: usize| Some((class, side(n.checked_sub(class)?)?, side(rows.checked_sub(class)?)?));
    let Some((class, from, to)) = sides(1).or_else(|| sides(0)) else {
        candle_core::bail!("DINOv2: a position table of {n} rows for {rows}, expected squares, or one more");
    };
    let grid = table.narrow(1, class, from * from)?.reshape((1, from, from, c))?;
    let grid = resampled(&grid, (to, to), how)?.reshape((1, to * to, c))?;
    Tensor::cat(&[table.narrow(1, 0, class)?, grid], 1)
}
