//! Patches and words as tokens, and their positions.

use candle_core::{DType, Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Conv2d, conv::nhwc};
use seg_ops::Resize;

use crate::{Beit3Config, TextTokens};

/// Patches behind the class token (torchscale/component/embedding.py, `VisionEmbedding`).
///
/// Keys: `proj`, `cls_token [1, 1, C]`.
#[derive(Clone, Debug)]
pub(crate) struct VisionEmbedding {
    proj: Conv2d,
    cls_token: Tensor, // [1, 1, C]
}

impl VisionEmbedding {
    pub(crate) fn new(cfg: &Beit3Config, vb: VarBuilder) -> Result<Self> {
        let (dim, patch) = (cfg.embed_dim, cfg.patch_size);
        Ok(Self {
            proj: Conv2d::new(3, dim, patch, nhwc(patch, 0), vb.pp("proj"))?,
            cls_token: vb.get((1, 1, dim), "cls_token")?,
        })
    }

    /// `[B, 3, H, W]` to `[B, 1 + P, C]`.
    pub(crate) fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let patches = self.proj.forward(&images.permute((0, 2, 3, 1))?)?.flatten(1, 2)?; // [B, P, C]
        let (b, _, c) = patches.dims3()?;
        Tensor::cat(&[self.cls_token.broadcast_as((b, 1, c))?, patches], 1)
    }
}

/// Rows of the text's table, not scaled.
///
/// Key: `weight [vocabulary, C]`.
#[derive(Clone, Debug)]
pub(crate) struct TextEmbedding {
    weight: Tensor,
}

impl TextEmbedding {
    pub(crate) fn new(cfg: &Beit3Config, vb: VarBuilder) -> Result<Self> {
        Ok(Self { weight: vb.get((cfg.vocab_size, cfg.embed_dim), "weight")? })
    }

    pub(crate) fn dtype(&self) -> DType {
        self.weight.dtype()
    }

    /// `[B, L, C]`.
    pub(crate) fn forward(&self, text: &TextTokens) -> Result<Tensor> {
        let (b, l) = text.dims();
        if text.largest_id() as usize >= self.weight.dim(0)? {
            candle_core::bail!(
                "BEiT-3: a text with token {}, expected tokens below the vocabulary's {}",
                text.largest_id(),
                self.weight.dim(0)?
            );
        }
        self.weight.index_select(&text.ids().flatten_all()?, 0)?.reshape((b, l, ()))
    }
}

/// A table for each part. Each is read from its row 2, the text's whatever comes before the text.
///
/// Keys: `A.weight [3 + G², C]`, `B.weight [max_text_positions, C]`.
#[derive(Clone, Debug)]
pub(crate) struct Positions {
    vision: Tensor,
    text: Tensor,
}

impl Positions {
    pub(crate) fn new(cfg: &Beit3Config, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            vision: vb.get((cfg.vision_positions(), cfg.embed_dim), "A.weight")?,
            text: vb.get((cfg.max_text_positions, cfg.embed_dim), "B.weight")?,
        })
    }

    /// With the vision table for square maps of `side × side` patches.
    pub(crate) fn resampled(self, side: usize) -> Result<Self> {
        Ok(Self { vision: resample_vision_positions(&self.vision, (side, side))?, ..self })
    }

    /// Of the class token and a map of `grid` patches, `[1 + P, C]`.
    pub(crate) fn vision(&self, (h, w): (usize, usize)) -> Result<Tensor> {
        resample_vision_positions(&self.vision, (h, w))?.narrow(0, Beit3Config::POSITION_OFFSET, 1 + h * w)
    }

    /// Of a text of `length` tokens, `[L, C]`.
    pub(crate) fn text(&self, length: usize) -> Result<Tensor> {
        let most = self.text.dim(0)?.saturating_sub(Beit3Config::POSITION_OFFSET);
        if length > most {
            candle_core::bail!(
                "BEiT-3: a text of {length} tokens, expected at most {most}, the rows of its position table"
            );
        }
        self.text.narrow(0, Beit3Config::POSITION_OFFSET, length)
    }
}

/// The vision position table `[3 + G², C]` for a map of `h × w` patches: its first three rows stay, the grid is interpolated, bicubic without
/// antialiasing (unilm/beit3/utils.py, `load_model_and_may_interpolate`). Unchanged where the sizes agree.
///
/// # Errors
/// Besides candle's, a table whose grid is not square.
pub fn resample_vision_positions(table: &Tensor, (h, w): (usize, usize)) -> Result<Tensor> {
    const EXTRA: usize = Beit3Config::POSITION_OFFSET + 1;
    let (rows, c) = table.dims2()?;
    let patches = rows.saturating_sub(EXTRA);
    let side = patches.isqrt();
    if side == 0 || side * side != patches {
        candle_core::bail!("BEiT-3: a vision position table of {rows} rows, expected {EXTRA} more than a square");
    }
    if (h, w) == (side, side) {
        return Ok(table.clone());
    }
    let grid = table.narrow(0, EXTRA, patches)?.reshape((1, side, side, c))?.permute((0, 3, 1, 2))?;
    let grid = seg_ops::resize(&grid, (h, w), &Resize::bicubic())?.permute((0, 2, 3, 1))?.reshape((h * w, c))?;
    Tensor::cat(&[table.narrow(0, 0, EXTRA)?, grid], 0)
}
