//! A layer: attention over the whole sequence, and a feed-forward part, each with a second norm inside (sub-LN).

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Activation, Epilogue, LayerNorm, Linear, Observer, trace};

use crate::Beit3Config;
use crate::multiway::{Multiway, Streams};

/// `x + out_proj(inner_attn_ln(attention(LN(x))))`, `x + fc2(ffn_layernorm(gelu(fc1(LN(x)))))` (torchscale/architecture/encoder.py, `EncoderLayer`).
///
/// Keys, each below `A` and `B`: `self_attn_layer_norm`, `self_attn.{q_proj,k_proj,v_proj,inner_attn_ln,out_proj}`, `final_layer_norm`,
/// `ffn.{A,B}.{fc1,ffn_layernorm,fc2}`.
#[derive(Clone, Debug)]
pub(crate) struct EncoderLayer {
    self_attn_layer_norm: Multiway<LayerNorm>,
    self_attn: MultiwayAttention,
    final_layer_norm: Multiway<LayerNorm>,
    ffn: Multiway<FeedForward>,
}

impl EncoderLayer {
    pub(crate) fn new(cfg: &Beit3Config, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            self_attn_layer_norm: multiway_norm(cfg, cfg.embed_dim, vb.pp("self_attn_layer_norm"))?,
            self_attn: MultiwayAttention::new(cfg, vb.pp("self_attn"))?,
            final_layer_norm: multiway_norm(cfg, cfg.embed_dim, vb.pp("final_layer_norm"))?,
            ffn: Multiway::new(vb.pp("ffn"), |vb| FeedForward::new(cfg, vb))?,
        })
    }

    /// `mask` `[B, 1, N, N]` is added to the scores. The observer sees the steps below `name`.
    pub(crate) fn forward(
        &self,
        x: Streams,
        mask: Option<&Tensor>,
        name: &str,
        observer: &mut dyn Observer,
    ) -> Result<Streams> {
        let normed = self.self_attn_layer_norm.forward(&x)?;
        show(observer, name, "self_attn_layer_norm", || normed.joined())?;
        let x = self.self_attn.forward_residual(normed, &x, mask, name, observer)?;
        let normed = self.final_layer_norm.forward(&x)?;
        show(observer, name, "final_layer_norm", || normed.joined())?;
        let hidden = self.ffn.map(normed, |ffn, x| ffn.hidden(&x))?;
        show(observer, name, "ffn", || self.ffn.map(hidden.clone(), |ffn, h| ffn.fc2.forward(&h))?.joined())?;
        let x = self.ffn.map_with(hidden, &x, |ffn, hidden, residual| {
            ffn.fc2.forward_with(&hidden, Epilogue::NONE.with_residual(residual))
        })?;
        show(observer, name, "out", || x.joined())?;
        Ok(x)
    }
}

/// Attention of all tokens with all tokens; projections and the norm of the heads' outputs are the part's own.
#[derive(Clone, Debug)]
struct MultiwayAttention {
    q_proj: Multiway<Linear>,
    k_proj: Multiway<Linear>,
    v_proj: Multiway<Linear>,
    inner_attn_ln: Multiway<LayerNorm>,
    out_proj: Multiway<Linear>,
    num_heads: usize,
}

impl MultiwayAttention {
    fn new(cfg: &Beit3Config, vb: VarBuilder) -> Result<Self> {
        let dim = cfg.embed_dim;
        let projection = |name| Multiway::new(vb.pp(name), |vb| Linear::new(dim, dim, vb));
        Ok(Self {
            q_proj: projection("q_proj")?,
            k_proj: projection("k_proj")?,
            v_proj: projection("v_proj")?,
            inner_attn_ln: multiway_norm(cfg, dim, vb.pp("inner_attn_ln"))?,
            out_proj: projection("out_proj")?,
            num_heads: cfg.num_heads,
        })
    }

    /// `residual + attention(x)`; `x` is normalised.
    fn forward_residual(
        &self,
        x: Streams,
        residual: &Streams,
        mask: Option<&Tensor>,
        name: &str,
        observer: &mut dyn Observer,
    ) -> Result<Streams> {
        let queries = self.q_proj.forward(&x)?.joined()?; // [B, N, C]
        show(observer, name, "q_proj", || Ok(queries.clone()))?;
        let (b, n, c) = queries.dims3()?;
        let head_dim = c / self.num_heads;
        let split = |x: Tensor| x.reshape((b, n, self.num_heads, head_dim))?.transpose(1, 2); // [B, heads, N, d]
        let keys = split(self.k_proj.forward(&x)?.joined()?)?;
        let values = split(self.v_proj.forward(&x)?.joined()?)?;
        drop(x);
        let attended = {
            let _span = trace::layer("attention", || trace::attention_flops(b * self.num_heads, n, n, head_dim));
            let scale = (head_dim as f64).powf(-0.5);
            seg_ops::attention(&split(queries)?, &keys, &values, scale, mask)?.transpose(1, 2)?.flatten_from(2)?
        }; // [B, N, C]
        let inner = self.inner_attn_ln.forward(&residual.split(&attended)?)?;
        show(observer, name, "inner_attn_ln", || inner.joined())?;
        show(observer, name, "self_attn", || self.out_proj.forward(&inner)?.joined())?;
        self.out_proj.map_with(inner, residual, |proj, x, residual| {
            proj.forward_with(&x, Epilogue::NONE.with_residual(residual))
        })
    }
}

/// Keys: `fc1`, `ffn_layernorm`, `fc2`.
#[derive(Clone, Debug)]
struct FeedForward {
    fc1: Linear,
    ffn_layernorm: LayerNorm,
    fc2: Linear,
}

impl FeedForward {
    fn new(cfg: &Beit3Config, vb: VarBuilder) -> Result<Self> {
        let (dim, hidden) = (cfg.embed_dim, cfg.ffn_dim);
        Ok(Self {
            fc1: Linear::new(dim, hidden, vb.pp("fc1"))?,
            ffn_layernorm: LayerNorm::new(hidden, cfg.layer_norm_eps, vb.pp("ffn_layernorm"))?,
            fc2: Linear::new(hidden, dim, vb.pp("fc2"))?,
        })
    }

    /// All but the last product.
    fn hidden(&self, x: &Tensor) -> Result<Tensor> {
        self.ffn_layernorm.forward(&self.fc1.forward_with(x, Epilogue::act(Activation::Gelu))?)
    }
}

pub(crate) fn multiway_norm(cfg: &Beit3Config, channels: usize, vb: VarBuilder) -> Result<Multiway<LayerNorm>> {
    Multiway::new(vb, |vb| LayerNorm::new(channels, cfg.layer_norm_eps, vb))
}

/// Shows `layer.step`, made only for an observer that wants it.
fn show(observer: &mut dyn Observer, layer: &str, step: &str, tensor: impl FnOnce() -> Result<Tensor>) -> Result<()> {
    if !observer.active() {
        return Ok(());
    }
    let name = format!("{layer}.{step}");
    if observer.wants(&name) { observer.observe(&name, &tensor()?) } else { Ok(()) }
}
