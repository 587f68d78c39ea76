//! One Hiera block.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Epilogue, LayerNorm, Layout, Linear, Mlp, bands, trace};
use seg_ops::{Attend, Pool2dParams, QkvOrder, WindowAttention};

/// The place of a block in the trunk, from which its sizes follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockSpec {
    pub dim: usize,
    pub dim_out: usize,
    pub num_heads: usize,
    /// Window side in tokens; 0 attends to the whole map.
    pub window_size: usize,
    /// Halves the map by pooling the queries (the first block of stages 2 to 4).
    pub pool: bool,
}

/// Pre-norm block with windowed attention and, at a stage's start, query pooling:
/// `x + attention(norm1(x))`, then `x + mlp(norm2(x))` (`MultiScaleBlock` in hieradet.py).
///
/// Keys: `norm1`, `attn.qkv`, `attn.proj`, `norm2`, `mlp.layers.{0,1}`, and `proj` where the width changes.
#[derive(Clone, Debug)]
pub(crate) struct MultiScaleBlock {
    norm1: LayerNorm,
    qkv: Linear,
    attention: WindowAttention,
    attn_proj: Linear,
    norm2: LayerNorm,
    mlp: Mlp,
    proj: Option<Linear>,
    pool: bool,
}

const QUERY_POOL: Pool2dParams =
    Pool2dParams { kernel: 2, stride: 2, padding: 0, ceil_mode: false, layout: Layout::Nhwc };

impl MultiScaleBlock {
    const EPS: f64 = 1e-6;

    pub fn new(spec: BlockSpec, vb: VarBuilder) -> Result<Self> {
        let BlockSpec { dim, dim_out, num_heads, window_size, pool } = spec;
        let attn = vb.pp("attn");
        Ok(Self {
            norm1: LayerNorm::new(dim, Self::EPS, vb.pp("norm1"))?,
            qkv: Linear::new(dim, 3 * dim_out, attn.pp("qkv"))?,
            attention: WindowAttention {
                heads: num_heads,
                window: window_size,
                query_pool: if pool { 2 } else { 1 },
                order: QkvOrder::SplitHeads,
                scale: ((dim_out / num_heads) as f64).powf(-0.5),
            },
            attn_proj: Linear::new(dim_out, dim_out, attn.pp("proj"))?,
            norm2: LayerNorm::new(dim_out, Self::EPS, vb.pp("norm2"))?,
            mlp: Mlp::new(&[dim_out, 4 * dim_out, dim_out], Activation::Gelu, vb.pp("mlp"))?,
            proj: if dim == dim_out { None } else { Some(Linear::new(dim, dim_out, vb.pp("proj"))?) },
            pool,
        })
    }

    /// `[B, H, W, dim]` to `[B, H, W, dim_out]`, or half of H and W where the queries are pooled. Large maps go through in bands of whole windows,
    /// unless gradients are wanted.
    pub fn forward(&self, x: Tensor) -> Result<Tensor> {
        let trained = self.qkv.weight().track_op() || self.attn_proj.weight().track_op();
        match bands::rows(&x, self.attention.window)? {
            Some(rows) if !trained => bands::map(x, rows, |band| self.forward_whole(band)),
            _ => self.forward_whole(x),
        }
    }

    fn forward_whole(&self, x: Tensor) -> Result<Tensor> {
        let tracked = x.track_op() || self.qkv.weight().track_op() || self.attn_proj.weight().track_op();
        let x = if tracked && self.attends_at_once() { self.attend_kept(&x, true)? } else { self.attend(x)? };
        self.feed_forward(x, true)
    }

    /// Whether the first half can be [`Self::attend_kept`]: not where the width changes or the queries are pooled.
    pub fn attends_at_once(&self) -> bool {
        !self.pool && self.proj.is_none()
    }

    /// [`Self::attend`] as one operation, of which what the last product reads is kept for the backward pass, and queries, keys and values if asked for.
    pub fn attend_kept(&self, x: &Tensor, keep: bool) -> Result<Tensor> {
        let Some(bias) = self.qkv.bias() else { return self.attend(x.clone()) };
        let _span = trace::layer("attend", || 0);
        let parts = Attend {
            norm: (self.norm1.weight(), Some(self.norm1.bias())),
            eps: Self::EPS,
            qkv: (self.qkv.weight(), bias),
            attention: &self.attention,
            proj: (self.attn_proj.weight(), self.attn_proj.bias()),
            keep,
        };
        seg_ops::attend(x, &parts)
    }

    /// The first half: `x + attention(norm1(x))`.
    pub fn attend(&self, x: Tensor) -> Result<Tensor> {
        let normed = self.norm1.forward(&x)?;
        // where the width changes, the shortcut starts from the normalised input
        let mut shortcut = match &self.proj {
            Some(proj) => {
                drop(x);
                proj.forward(&normed)?
            }
            None => x,
        };
        if self.pool {
            let _span = trace::layer("max_pool2d", || 0);
            shortcut = seg_ops::max_pool2d(&shortcut, &QUERY_POOL)?; // [B, H/2, W/2, dim_out]
        }
        // tokens that pad the last windows are zeros before `qkv`, hence its bias after it
        let qkv = self.qkv.forward(&normed)?; // [B, H, W, 3 * dim_out]
        drop(normed);
        let attended = {
            let _span = trace::layer("attention", || attention_flops(&qkv, &self.attention));
            seg_ops::window_attention(&qkv, &self.attention, self.qkv.bias(), None)?
        };
        drop(qkv);
        self.attn_proj.forward_with(&attended, Epilogue::NONE.with_residual(&shortcut))
    }

    /// The second: `x + mlp(norm2(x))`. For the backward pass the hidden numbers are kept, or computed again.
    pub fn feed_forward(&self, x: Tensor, keep: bool) -> Result<Tensor> {
        self.mlp.forward_normed(&self.norm2, x, keep)
    }
}

/// Multiplications and additions of the attention over `qkv [B, H, W, 3C]`, padding not counted.
fn attention_flops(qkv: &Tensor, p: &WindowAttention) -> u64 {
    let Ok((b, h, w, c3)) = qkv.dims4() else { return 0 };
    let keys = if p.window == 0 { h * w } else { p.window * p.window };
    let queries = h * w / (p.query_pool * p.query_pool).max(1);
    trace::attention_flops(b * p.heads, queries, keys, c3 / 3 / p.heads.max(1))
}
