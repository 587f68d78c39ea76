//! The Hiera trunk.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Conv2d, Epilogue, Observer, Unobserved, bands, conv::nhwc, trace};
use seg_ops::Resize;

use crate::block::{BlockSpec, MultiScaleBlock};
use crate::config::HieraConfig;
use std::sync::Arc;

/// Something that changes the token map before each block: an adapter in a frozen trunk.
pub trait BlockHook {
    /// `x` is the input of block `index`, `[B, H, W, C]`; returns what the block gets, of the same shape.
    fn before_block(&self, index: usize, x: Tensor) -> Result<Tensor>;

    /// The same, to keep: what the backward pass runs again under [`Hiera::set_checkpointing`]. `None`: it is not to be run again, and nothing is checkpointed.
    fn shared(&self) -> Option<Arc<dyn BlockHook + Send + Sync>> {
        None
    }
}

/// No adapter.
impl BlockHook for () {
    fn before_block(&self, _index: usize, x: Tensor) -> Result<Tensor> {
        Ok(x)
    }

    fn shared(&self) -> Option<Arc<dyn BlockHook + Send + Sync>> {
        Some(Arc::new(()))
    }
}

/// The hierarchical transformer of SAM 2 (Hiera, arXiv 2306.00989, with the absolute windowed position
/// embedding of arXiv 2311.05613; sam2/modeling/backbones/hieradet.py).
///
/// Keys: `pos_embed`, `pos_embed_window`, `patch_embed.proj`, `blocks.N.*`.
#[derive(Clone, Debug)]
pub struct Hiera {
    patch_embed: Conv2d,
    pos_embed: Tensor,        // [1, C, g, g], stretched over the map
    pos_embed_window: Tensor, // [1, C, w, w], tiled over the map
    window: usize,
    blocks: Vec<MultiScaleBlock>,
    stage_ends: Vec<usize>,
    one_by_one: bool,
    checkpointing: bool,
}

impl Hiera {
    /// Stride of the first stage's map, in pixels.
    pub const PATCH_STRIDE: usize = 4;

    /// Reads the trunk; `vb` is at `image_encoder.trunk` of an official file.
    pub fn new(cfg: &HieraConfig, vb: VarBuilder) -> Result<Self> {
        cfg.validate()?;
        let (grid, window) = (cfg.window_pos_embed_bkg_spatial_size, cfg.window_spec[0]);
        let blocks = block_specs(cfg)
            .into_iter()
            .enumerate()
            .map(|(i, spec)| MultiScaleBlock::new(spec, vb.pp("blocks").pp(i)))
            .collect::<Result<_>>()?;
        Ok(Self {
            patch_embed: Conv2d::new(3, cfg.embed_dim, 7, nhwc(Self::PATCH_STRIDE, 3), vb.pp("patch_embed.proj"))?,
            pos_embed: vb.get((1, cfg.embed_dim, grid, grid), "pos_embed")?,
            pos_embed_window: vb.get((1, cfg.embed_dim, window, window), "pos_embed_window")?,
            window,
            blocks,
            stage_ends: stage_ends(cfg),
            one_by_one: false,
            checkpointing: false,
        })
    }

    /// Whether the images of a batch go through each block one after another: less memory for the maps inside a block, the same numbers. The hook before a
    /// block still sees all of them.
    pub fn set_one_by_one(&mut self, one_by_one: bool) {
        self.one_by_one = one_by_one;
    }

    /// Whether the backward pass computes again, instead of keeping it, what lies within the hook before a block, in the first two stages what lies within the block, and in
    /// the others its queries, keys and values: less memory, more time, the same gradients ([`seg_ops::checkpoint`], [`seg_ops::Attend::keep`], [`seg_ops::FeedForward::keep`]).
    pub fn set_checkpointing(&mut self, checkpointing: bool) {
        self.checkpointing = checkpointing;
    }

    /// Normalised images `[B, 3, H, W]` to the four stages' maps, channels last: `[B, H/4, W/4, C]`,
    /// `[B, H/8, W/8, 2C]`, `[B, H/16, W/16, 4C]`, `[B, H/32, W/32, 8C]`. H and W must be multiples of 32.
    pub fn forward(&self, images: Tensor) -> Result<Vec<Tensor>> {
        let mut stages = Vec::with_capacity(self.stage_ends.len());
        self.forward_stages(images, &(), &mut Unobserved, &mut |map| {
            stages.push(map.clone());
            Ok(())
        })?;
        Ok(stages)
    }

    /// As [`Hiera::forward`], handing each stage's map to `stage` as soon as it is there, with a hook before each block and an observer that sees
    /// `trunk.patch_embed`, `trunk.pos_embed`, `trunk.block{i}` (channels last) and `trunk.stage{1..4}` (channels first).
    ///
    /// Maps are freed once nobody needs them: `images` behind the first layer, a stage's map inside the next one's first block.
    pub fn forward_stages(
        &self,
        images: Tensor,
        hook: &dyn BlockHook,
        observer: &mut dyn Observer,
        stage: &mut dyn FnMut(&Tensor) -> Result<()>,
    ) -> Result<()> {
        let _trunk = trace::module("trunk");
        let mut x = self.embed(images, observer)?;
        let mut stages = 0;
        let shared = if self.checkpointing { hook.shared() } else { None };
        for (i, block) in self.blocks.iter().enumerate() {
            {
                let _block = trace::part("blocks", i);
                x = match &shared {
                    Some(hook) => {
                        // the first two stages have the largest maps and the least to compute
                        let large = stages < 2;
                        let hook = Arc::clone(hook);
                        let x = if large || !block.attends_at_once() {
                            let again = block.clone();
                            let half = move |x: &[Tensor], _| again.attend(hook.before_block(i, x[0].clone())?);
                            seg_ops::checkpoint(&[&x], half)?
                        } else {
                            let hooked = seg_ops::checkpoint(&[&x], move |x, _| hook.before_block(i, x[0].clone()))?;
                            block.attend_kept(&hooked, false)?
                        };
                        block.feed_forward(x, !large)?
                    }
                    None => {
                        let x = hook.before_block(i, x)?;
                        match x.dims4()? {
                            (b, height, ..) if self.one_by_one && b > 1 => {
                                bands::map(x, height, |one| block.forward(one))?
                            }
                            _ => block.forward(x)?,
                        }
                    }
                };
            }
            observer.observe(&format!("trunk.block{i}"), &x)?;
            if self.stage_ends.contains(&i) {
                stages += 1;
                observer.observe(&format!("trunk.stage{stages}"), &x.permute((0, 3, 1, 2))?)?;
                stage(&x)?;
            }
        }
        Ok(())
    }

    /// Patches with their positions: `[B, 3, H, W]` to `[B, H/4, W/4, C]`.
    fn embed(&self, images: Tensor, observer: &mut dyn Observer) -> Result<Tensor> {
        let (b, _, h, w) = images.dims4()?;
        let side = |pixels: usize| pixels.div_ceil(Self::PATCH_STRIDE); // the patches overlap and reach beyond the edge
        let pos_embed = self.position_embedding(side(h), side(w))?;
        let images = images.permute((0, 2, 3, 1))?;
        if b == 1 && !observer.active() {
            return self.patch_embed.forward_with(&images, Epilogue::NONE.with_residual(&pos_embed));
        }
        let x = self.patch_embed.forward(&images)?; // [B, H/4, W/4, C]
        observer.observe("trunk.patch_embed", &x)?;
        observer.observe("trunk.pos_embed", &pos_embed)?;
        x.broadcast_add(&pos_embed)
    }

    /// The stretched coarse grid plus the tiled window, `[1, h, w, C]`.
    ///
    /// Stretching is linear in the columns as in the rows, and so is repeating: the columns are stretched and repeated first, and one product with
    /// the rows' factors gives the sum of both in the encoder's layout.
    fn position_embedding(&self, h: usize, w: usize) -> Result<Tensor> {
        let window = self.window;
        if h == 0 || w == 0 || !h.is_multiple_of(window) || !w.is_multiple_of(window) {
            candle_core::bail!(
                "Hiera: a token map of {h} x {w}, expected positive multiples of {window} \
                 (image sides that are multiples of {})",
                window * Self::PATCH_STRIDE
            );
        }
        let (_, c, grid, _) = self.pos_embed.dims4()?;
        let (dtype, device) = (self.pos_embed.dtype(), self.pos_embed.device());
        let unit = Tensor::eye(grid, dtype, device)?.reshape((1, 1, grid, grid))?;
        let stretch = seg_ops::resize(&unit, (h, grid), &Resize::bicubic())?.reshape((h, grid))?;
        let repeat = Tensor::eye(window, dtype, device)?.repeat((h / window, 1))?;
        let rows = Tensor::cat(&[stretch, repeat], 1)?; // [h, grid + window]
        let background = seg_ops::resize(&self.pos_embed, (grid, w), &Resize::bicubic())?;
        let tiled = self.pos_embed_window.repeat((1, 1, 1, w / window))?;
        let columns = Tensor::cat(&[background, tiled], 2)?.squeeze(0)?; // [C, grid + window, w]
        let columns = columns.permute((2, 0, 1))?.reshape((w * c, grid + window))?;
        seg_ops::linear(&rows, &columns, None, Epilogue::NONE)?.reshape((1, h, w, c))
    }
}

/// Index of the last block of each stage.
fn stage_ends(cfg: &HieraConfig) -> Vec<usize> {
    cfg.stages
        .iter()
        .scan(0, |end, blocks| {
            *end += blocks;
            Some(*end - 1)
        })
        .collect()
}

/// Sizes of every block. A stage's first block doubles width and heads and pools its queries, but still has the
/// window of the stage before.
fn block_specs(cfg: &HieraConfig) -> Vec<BlockSpec> {
    let mut specs = Vec::with_capacity(cfg.depth());
    for (stage, &blocks) in cfg.stages.iter().enumerate() {
        for block in 0..blocks {
            let first = block == 0 && stage > 0;
            let from = if first { stage - 1 } else { stage };
            let global = cfg.global_att_blocks.contains(&specs.len());
            specs.push(BlockSpec {
                dim: cfg.embed_dim << from,
                dim_out: cfg.embed_dim << stage,
                num_heads: cfg.num_heads << stage,
                window_size: if global { 0 } else { cfg.window_spec[from] },
                pool: first,
            });
        }
    }
    specs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiny_blocks_follow_the_official_table() {
        let specs = block_specs(&HieraConfig::tiny());
        let windows: Vec<usize> = specs.iter().map(|s| s.window_size).collect();
        assert_eq!(windows, [8, 8, 4, 4, 14, 0, 14, 0, 14, 0, 14, 7]);
        let pooled: Vec<usize> = (0..specs.len()).filter(|&i| specs[i].pool).collect();
        assert_eq!(pooled, [1, 3, 10]);
        assert_eq!(specs[10], BlockSpec { dim: 384, dim_out: 768, num_heads: 8, window_size: 14, pool: true });
        assert_eq!(stage_ends(&HieraConfig::tiny()), [0, 2, 9, 11]);
    }
}
