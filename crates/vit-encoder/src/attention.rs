//! Attention inside the windows of a channels-last map, for all the encoders here.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Epilogue, LayerNorm, Linear, bands, trace};
use seg_ops::{QkvOrder, RelativePositions, WindowAttention};

/// What is added to the scores of a window.
#[derive(Clone, Debug)]
pub(crate) enum Positions<'a> {
    /// Nothing: positions are in the tokens.
    None,
    /// A number for every head and pair of tokens: `[heads, window², window²]`.
    Bias(Tensor),
    /// Decomposed relative positions (see [`RelativePositions`]).
    Decomposed(RelativePositions<'a>),
}

/// One projection to queries, keys and values, attention inside windows, one projection back.
///
/// Keys: `qkv`, `proj`.
#[derive(Clone, Debug)]
pub(crate) struct Attention {
    pub(crate) qkv: Linear,
    proj: Linear,
    params: WindowAttention,
}

impl Attention {
    /// Reads the two projections; `window` 0 is the whole map, `owner` names the block in errors.
    pub(crate) fn new(
        owner: &str,
        dim: usize,
        num_heads: usize,
        window: usize,
        order: QkvOrder,
        vb: VarBuilder,
    ) -> Result<Self> {
        if num_heads == 0 || dim == 0 || !dim.is_multiple_of(num_heads) {
            candle_core::bail!("{owner}: width {dim} and {num_heads} heads, expected a width that the heads divide");
        }
        let scale = ((dim / num_heads) as f64).powf(-0.5);
        Ok(Self {
            qkv: Linear::new(dim, 3 * dim, vb.pp("qkv"))?,
            proj: Linear::new(dim, dim, vb.pp("proj"))?,
            params: WindowAttention { heads: num_heads, window, query_pool: 1, order, scale },
        })
    }

    pub(crate) fn heads(&self) -> usize {
        self.params.heads
    }

    pub(crate) fn window(&self) -> usize {
        self.params.window
    }

    /// `x + scale ⊙ attention(norm(x))`, `[B, H, W, C]` to the same; large maps in bands of whole windows. `pad` is what the
    /// projection makes of a token that fills up a window, `[3C]`; `scale` is a factor a channel, `[C]`, 1 where there is none.
    pub(crate) fn forward_residual(
        &self,
        x: Tensor,
        norm: &LayerNorm,
        pad: Option<&Tensor>,
        positions: &Positions<'_>,
        scale: Option<&Tensor>,
    ) -> Result<Tensor> {
        let attend = |x: Tensor| {
            let attended = self.attend(norm.forward(&x)?, pad, positions)?;
            self.proj.forward_with(&attended, Epilogue { scale, ..Epilogue::NONE.with_residual(&x) })
        };
        match bands::rows(&x, self.window())? {
            Some(rows) if !self.qkv.weight().track_op() => bands::map(x, rows, attend),
            _ => attend(x),
        }
    }

    /// `x` is normalised.
    fn attend(&self, x: Tensor, pad: Option<&Tensor>, positions: &Positions<'_>) -> Result<Tensor> {
        let qkv = self.qkv.forward(&x)?;
        let (b, h, w, c) = x.dims4()?;
        let keys = if self.window() == 0 { h * w } else { self.window().pow(2) };
        let flops = || trace::attention_flops(b * self.heads(), h * w, keys, c / self.heads());
        drop(x);
        let _span = trace::layer("attention", flops);
        match positions {
            Positions::None => seg_ops::window_attention(&qkv, &self.params, pad, None),
            Positions::Bias(bias) => seg_ops::window_attention(&qkv, &self.params, pad, Some(bias)),
            Positions::Decomposed(tables) => seg_ops::window_attention_with_rel_pos(&qkv, &self.params, pad, *tables),
        }
    }

    /// The output of every window with its padding, `[B * windows, window, window, C]`: what the references call the
    /// attention's output. `x` is normalised and padded. For observers only.
    pub(crate) fn forward_windows(&self, x: &Tensor, positions: &Positions<'_>) -> Result<Tensor> {
        let y = self.proj.forward(&self.attend(x.clone(), None, positions)?)?;
        let (b, h, w, c) = y.dims4()?;
        let size = self.window();
        if size == 0 {
            return Ok(y);
        }
        let (rows, columns) = (h / size, w / size);
        y.reshape(vec![b, rows, size, columns, size, c])?.transpose(2, 3)?.reshape((b * rows * columns, size, size, c))
    }
}

/// `[B, H, W, C]` filled up with zeros at the bottom and the right until windows divide it.
pub(crate) fn pad_to_windows(x: &Tensor, window: usize) -> Result<Tensor> {
    if window == 0 {
        return Ok(x.clone());
    }
    let (_, h, w, _) = x.dims4()?;
    let missing = |side: usize| side.next_multiple_of(window) - side;
    x.pad_with_zeros(1, 0, missing(h))?.pad_with_zeros(2, 0, missing(w))
}
