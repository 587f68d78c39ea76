//! Position tables for maps of another size than the checkpoint's.

use candle_core::{Result, Tensor};
use seg_ops::Resize;

/// The absolute positions `[1, H, W, C]` for a map of `h × w` tokens: bicubic, as is usual for vision transformers (SAM
/// itself runs at one size only), and unchanged where the sizes agree.
pub(super) fn absolute(table: &Tensor, (h, w): (usize, usize)) -> Result<Tensor> {
    let (_, th, tw, _) = table.dims4()?;
    if (th, tw) == (h, w) {
        return Ok(table.clone());
    }
    seg_ops::resize(&table.permute((0, 3, 1, 2))?, (h, w), &Resize::bicubic())?.permute((0, 2, 3, 1))
}

/// The relative positions `[2 S - 1, d]` for `side` tokens: linear along the first axis (`get_rel_pos` in
/// segment_anything/modeling/image_encoder.py), and unchanged where the sizes agree.
pub(super) fn relative(table: &Tensor, side: usize) -> Result<Tensor> {
    let (rows, d) = table.dims2()?;
    let wanted = (2 * side).saturating_sub(1).max(1);
    if rows == wanted {
        return Ok(table.clone());
    }
    seg_ops::resize(&table.reshape((1, 1, rows, d))?, (wanted, d), &Resize::bilinear())?.reshape((wanted, d))
}
