//! Multi-view Complementary Enhancement Module (arXiv 2503.23786, section 3.3; models/sam2/modeling/sam/mask_decoder.py of sevenshr/MGD-SAM2).

use candle_core::{Device, Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Attention, Epilogue, LayerNorm, Mlp, trace};
use seg_ops::Resize;
use serde::{Deserialize, Serialize};

use crate::ViewGrid;

/// Sizes of the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct McemConfig {
    /// Channels of the maps.
    pub dim: usize,
    /// Heads of every attention.
    pub num_heads: usize,
    /// The attentions work on `dim / attention_downsample_rate` channels.
    pub attention_downsample_rate: usize,
    /// Hidden channels of the two MLPs.
    pub mlp_dim: usize,
    /// Local views along a side of the image.
    pub views_per_side: usize,
}

impl McemConfig {
    /// MGD-SAM2's.
    pub fn mgd_sam2() -> Self {
        Self {
            dim: 256,
            num_heads: 8,
            attention_downsample_rate: 2,
            mlp_dim: 512,
            views_per_side: ViewGrid::MGD_SAM2.per_side(),
        }
    }
}

/// Where the module's position encoding comes from.
///
/// The official module makes its table at the size of the first image it ever sees and stretches that one for all others. With test-time augmentation
/// the first is the smallest, so results at the other sizes depend on it. Here the caller holds what the official module hides.
#[derive(Clone, Debug, Default)]
pub enum PositionTable {
    /// A table for each size.
    #[default]
    EachSize,
    /// The official behaviour: the table of the first call, stretched bicubically. `None` until there was one.
    FirstCall(Option<Tensor>),
}

impl PositionTable {
    /// The official behaviour, before the first call.
    pub fn first_call() -> Self {
        Self::FirstCall(None)
    }

    /// The table for a `height × width` map, `[1, dim, height, width]`.
    fn get(&mut self, dim: usize, (height, width): (usize, usize), device: &Device) -> Result<Tensor> {
        match self {
            Self::EachSize => half_pixel_sine_map(dim, height, width, device),
            Self::FirstCall(Some(table)) if table.dims()[2..] == [height, width] => Ok(table.clone()),
            Self::FirstCall(Some(table)) => seg_ops::resize(table, (height, width), &Resize::bicubic()),
            Self::FirstCall(empty) => Ok(empty.insert(half_pixel_sine_map(dim, height, width, device)?).clone()),
        }
    }
}

/// MGD-SAM2's sine position map, `[1, channels, height, width]`: as SAM 2's ([`seg_layers::sine_position_map`]), but at the pixels' centres.
pub fn half_pixel_sine_map(channels: usize, height: usize, width: usize, device: &Device) -> Result<Tensor> {
    seg_layers::sine_position_map_at(channels, (height, width), 0.5, device)
}

/// Local views and the global one look at each other: the global at all locals, then every local at its part of the new global.
///
/// Keys: `attention.{0..n²}`, `norm1` … `norm4`, `mlp1`, `mlp2`.
#[derive(Clone, Debug)]
pub struct Mcem {
    dim: usize,
    grid: ViewGrid,
    to_global: Attention,
    to_locals: Vec<Attention>,
    norms: [LayerNorm; 4],
    mlp1: Mlp,
    mlp2: Mlp,
}

/// What [`Mcem::forward`] returns, channels last.
#[derive(Clone, Debug)]
pub struct McemOutput {
    /// All views, `[(n² + 1)·B, h, w, C]`.
    pub views: Tensor,
    /// The locals put together, `[B, n·h, n·w, C]`.
    pub joined: Tensor,
    /// The position encoding of the locals put together, `[1, C, n·h, n·w]`.
    pub position: Tensor,
}

impl Mcem {
    /// Reads the module; `vb` is at `sam_mask_decoder.new_multifieldcrossatt` of an official file.
    pub fn new(cfg: &McemConfig, vb: VarBuilder) -> Result<Self> {
        const EPS: f64 = 1e-5;
        let grid = ViewGrid::new(cfg.views_per_side)?;
        let (dim, inner) = (cfg.dim, cfg.dim / cfg.attention_downsample_rate.max(1));
        let attention = |i: usize| Attention::new(dim, inner, cfg.num_heads, vb.pp("attention").pp(i));
        let norm = |i: usize| LayerNorm::new(dim, EPS, vb.pp(format!("norm{i}")));
        let mlp = |name: &str| Mlp::new(&[dim, cfg.mlp_dim, dim], Activation::Relu, vb.pp(name));
        Ok(Self {
            dim,
            grid,
            to_global: attention(0)?,
            to_locals: (1..=grid.locals()).map(attention).collect::<Result<_>>()?,
            norms: [norm(1)?, norm(2)?, norm(3)?, norm(4)?],
            mlp1: mlp("mlp1")?,
            mlp2: mlp("mlp2")?,
        })
    }

    /// Views `[(n² + 1)·B, h, w, C]`, channels last.
    ///
    /// # Errors
    /// Besides candle's, sides that `n` does not divide: every local view looks at its part of the global one.
    pub fn forward(&self, views: &Tensor, table: &mut PositionTable) -> Result<McemOutput> {
        let _mcem = trace::module("mcem");
        let (_, h, w, c) = views.dims4()?;
        if c != self.dim {
            candle_core::bail!("MCEM: views of {:?}, expected {} channels", views.dims(), self.dim);
        }
        let n = self.grid.per_side();
        let (locals, globals) = self.grid.parts(views)?;
        let b = globals.dim(0)?;
        let joined = self.grid.join(&locals)?; // [B, n·h, n·w, C]
        let position = table.get(c, (n * h, n * w), views.device())?.to_dtype(views.dtype())?;
        let reduced = seg_ops::resize(&position, (h, w), &Resize::bicubic())?;
        let channels_last = |map: &Tensor| map.permute((0, 2, 3, 1))?.contiguous();
        let (position_locals, position_global) = (channels_last(&position)?, channels_last(&reduced)?);

        // the global view looks at all locals
        let (g, l) = (globals.flatten(1, 2)?, joined.flatten(1, 2)?);
        let queries = g.broadcast_add(&position_global.flatten(1, 2)?)?;
        let keys = l.broadcast_add(&position_locals.flatten(1, 2)?)?;
        let g = self.to_global.forward(&queries, &keys, &l, Epilogue::NONE.with_residual(&g))?;
        let [norm1, norm2, norm3, norm4] = &self.norms;
        let g = norm1.forward(&g)?;
        let g = norm2.forward(&self.mlp1.forward_residual(g.clone(), &g)?)?; // [B, hw, C]

        // every local view looks at its part of the new global one
        let global = g.reshape((b, h, w, c))?;
        let parts = self.grid.split(&global)?; // [n²·B, h/n, w/n, C]
        let position_parts = self.grid.split(&position_global)?; // [n², h/n, w/n, C]
        let position_views = self.grid.split(&position_locals)?; // [n², h, w, C]
        let mut looked = Vec::with_capacity(b * self.grid.locals());
        for image in 0..b {
            for (place, attention) in self.to_locals.iter().enumerate() {
                let view = image * self.grid.locals() + place;
                let tokens = |map: &Tensor, i: usize| map.narrow(0, i, 1)?.flatten(1, 2);
                let (local, part) = (tokens(&locals, view)?, tokens(&parts, view)?);
                let queries = (&local + tokens(&position_views, place)?)?;
                let keys = (&part + tokens(&position_parts, place)?)?;
                looked.push(attention.forward(&queries, &keys, &part, Epilogue::NONE.with_residual(&local))?);
            }
        }
        let l = norm3.forward(&Tensor::cat(&looked, 0)?)?; // [n²·B, hw, C]
        let l = norm4.forward(&self.mlp2.forward_residual(l.clone(), &l)?)?;
        let locals = l.reshape((b * self.grid.locals(), h, w, c))?;
        let joined = self.grid.join(&locals)?;
        Ok(McemOutput { views: Tensor::cat(&[locals, global], 0)?, joined, position })
    }
}
