//! The transformer block: attention in windows or over the whole map, with decomposed relative positions, and an MLP.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, LayerNorm, Mlp, Observer};
use seg_ops::{QkvOrder, RelativePositions};

use super::config::SamVitConfig;
use super::positions;
use crate::attention::{Attention, Positions, pad_to_windows};

/// The norms of the block; the mask decoder's have 1e-5.
const EPS: f64 = 1e-6;

/// `x + attention(norm1(x))`, `x + mlp(norm2(x))`.
///
/// Keys: `norm1`, `attn.{qkv,proj,rel_pos_h,rel_pos_w}`, `norm2`, `mlp.{lin1,lin2}`.
#[derive(Clone, Debug)]
pub struct SamVitBlock {
    norm1: LayerNorm,
    attn: Attention,
    rel_pos_h: Tensor, // [2 S - 1, d], S the window's side or the whole map's
    rel_pos_w: Tensor, // [2 S - 1, d]
    norm2: LayerNorm,
    mlp: Mlp,
}

impl SamVitBlock {
    /// Reads a block; `window` 0 is attention over the whole map.
    pub fn new(cfg: &SamVitConfig, window: usize, vb: VarBuilder) -> Result<Self> {
        let (dim, heads) = (cfg.embed_dim, cfg.num_heads);
        let attn = Attention::new("SAM's ViT block", dim, heads, window, QkvOrder::SplitHeads, vb.pp("attn"))?;
        let side = if window == 0 { cfg.grid() } else { window };
        let table = |name: &str| vb.pp("attn").get((2 * side - 1, dim / heads), name);
        Ok(Self {
            norm1: LayerNorm::new(dim, EPS, vb.pp("norm1"))?,
            rel_pos_h: table("rel_pos_h")?,
            rel_pos_w: table("rel_pos_w")?,
            attn,
            norm2: LayerNorm::new(dim, EPS, vb.pp("norm2"))?,
            mlp: Mlp::with_names(&[dim, cfg.mlp_ratio * dim, dim], &["lin1", "lin2"], Activation::Gelu, vb.pp("mlp"))?,
        })
    }

    /// Whether its attention is over the whole map.
    pub fn is_global(&self) -> bool {
        self.attn.window() == 0
    }

    /// `[B, H, W, C]` to the same; the observer sees `{name}`, and one that wants it `{name}.attn`: the attention's
    /// output with what fills up the windows, `[B * windows, window, window, C]`, or of a global block `[B, H, W, C]`.
    pub fn forward_with(&self, x: Tensor, name: &str, observer: &mut dyn Observer) -> Result<Tensor> {
        let (_, h, w, _) = x.dims4()?;
        let (down, across) = if self.is_global() { (h, w) } else { (self.attn.window(), self.attn.window()) };
        let height = positions::relative(&self.rel_pos_h, down)?;
        let width = positions::relative(&self.rel_pos_w, across)?;
        let tables = Positions::Decomposed(RelativePositions { height: &height, width: &width });

        let attn_name = format!("{name}.attn");
        if observer.wants(&attn_name) {
            let padded = pad_to_windows(&self.norm1.forward(&x)?, self.attn.window())?;
            observer.observe(&attn_name, &self.attn.forward_windows(&padded, &tables)?)?;
        }
        // windows are filled up with zeros behind the norm: to the projection they are its bias
        let x = self.attn.forward_residual(x, &self.norm1, self.attn.qkv.bias(), &tables, None)?;
        let x = self.mlp.forward_residual(self.norm2.forward(&x)?, &x)?;
        observer.observe(name, &x)?;
        Ok(x)
    }
}
