//! Attention between two sets of tokens.

use candle_core::{D, Module, Result, Tensor};
use candle_nn::VarBuilder;
use seg_ops::Epilogue;

use crate::{Dropout, Linear, trace};

/// Attention with separate projections and an inner width that may be smaller (segment_anything/modeling/transformer.py).
///
/// Keys: `q_proj`, `k_proj`, `v_proj`, `out_proj`.
#[derive(Clone, Debug)]
pub struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    num_heads: usize,
    scale: f64,
    dropout: Dropout,
}

impl Attention {
    /// Reads the projections: tokens of `dim` channels, attention over `inner`, which the heads share out.
    ///
    /// # Errors
    /// Besides candle's, an inner width that `num_heads` does not divide.
    pub fn new(dim: usize, inner: usize, num_heads: usize, vb: VarBuilder) -> Result<Self> {
        Self::with_kv_dim(dim, dim, inner, num_heads, vb)
    }

    /// As [`Self::new`], for keys and values of `kv_dim` channels.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_kv_dim(dim: usize, kv_dim: usize, inner: usize, num_heads: usize, vb: VarBuilder) -> Result<Self> {
        check_heads(inner, num_heads)?;
        Ok(Self {
            q_proj: Linear::new(dim, inner, vb.pp("q_proj"))?,
            k_proj: Linear::new(kv_dim, inner, vb.pp("k_proj"))?,
            v_proj: Linear::new(kv_dim, inner, vb.pp("v_proj"))?,
            out_proj: Linear::new(inner, dim, vb.pp("out_proj"))?,
            num_heads,
            scale: ((inner / num_heads) as f64).powf(-0.5),
            dropout: Dropout::OFF,
        })
    }

    /// torch's `nn.MultiheadAttention` of `dim` channels.
    ///
    /// Keys: `in_proj_weight [3·C, C]` and `in_proj_bias [3·C]`, of queries, keys and values in that order, `out_proj`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn packed(dim: usize, num_heads: usize, vb: VarBuilder) -> Result<Self> {
        check_heads(dim, num_heads)?;
        let weight = vb.get((3 * dim, dim), "in_proj_weight")?;
        let bias = vb.get(3 * dim, "in_proj_bias")?;
        let part = |i: usize| -> Result<Linear> {
            Ok(Linear::of(weight.narrow(0, i * dim, dim)?, bias.narrow(0, i * dim, dim)?))
        };
        Ok(Self {
            q_proj: part(0)?,
            k_proj: part(1)?,
            v_proj: part(2)?,
            out_proj: Linear::new(dim, dim, vb.pp("out_proj"))?,
            num_heads,
            scale: ((dim / num_heads) as f64).powf(-0.5),
            dropout: Dropout::OFF,
        })
    }

    /// Leaves out attention weights, behind the softmax: for training alone, the weights then exist as a whole.
    pub fn set_dropout(&mut self, dropout: &Dropout) {
        self.dropout = dropout.clone();
    }

    /// `q [B, N, C]`, `k` and `v [B, M, C]` to `[B, N, C]`, followed by `epilogue` (activation, scale, residual) in the same pass.
    pub fn forward(&self, q: &Tensor, k: &Tensor, v: &Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
        self.attend_to(&self.queries(q)?, &self.keys(k)?, v, epilogue)
    }

    /// `[B, N, C]`, projected and shared out to the heads: `[B, heads, N, d]`.
    pub fn queries(&self, q: &Tensor) -> Result<Tensor> {
        self.split(self.q_proj.forward(q)?)
    }

    /// `[B, M, C]` to `[B, heads, M, d]`.
    pub fn keys(&self, k: &Tensor) -> Result<Tensor> {
        self.split(self.k_proj.forward(k)?)
    }

    /// `[B, M, C]` to `[B, heads, M, d]`.
    pub fn values(&self, v: &Tensor) -> Result<Tensor> {
        self.split(self.v_proj.forward(v)?)
    }

    /// Channels of a head.
    pub fn head_dim(&self) -> Result<usize> {
        Ok(self.q_proj.weight().dim(D::Minus2)? / self.num_heads)
    }

    fn split(&self, x: Tensor) -> Result<Tensor> {
        let (b, n, c) = x.dims3()?;
        x.reshape((b, n, self.num_heads, c / self.num_heads))?.transpose(1, 2)
    }

    /// The rest of [`Self::forward`], from queries, keys and values `[B, heads, N or M, d]`.
    pub fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
        self.out_proj.forward_with(&self.mean(q, k, v)?, epilogue)
    }

    /// As [`Self::attend`], but `v [B, M, C]` is not projected yet.
    ///
    /// A head's weights sum to 1, so that their mean of projected values is the projection of the mean: where a single head is wider than `v`,
    /// the mean is taken first. Only the rounding differs. With dropout they do not sum to 1.
    pub fn attend_to(&self, q: &Tensor, k: &Tensor, v: &Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
        let mean_first = self.num_heads == 1 && v.dim(D::Minus1)? < q.dim(D::Minus1)? && !self.dropout.is_on();
        if !mean_first {
            return self.attend(q, k, &self.values(v)?, epilogue);
        }
        let x = self.v_proj.forward(&self.mean(q, k, &v.unsqueeze(1)?)?)?;
        self.out_proj.forward_with(&x, epilogue)
    }

    /// Mean values by their weights, the heads side by side: `[B, N, heads·d]`.
    fn mean(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        let ((b, heads, n, d), (_, _, m, dv)) = (q.dims4()?, v.dims4()?);
        let products = || trace::product_flops(n, m, d) + trace::product_flops(n, dv, m);
        let _span = trace::layer("attention", || (b * heads) as u64 * products());
        let x = match self.dropout.is_on() {
            false => seg_ops::attention(q, k, v, self.scale, None)?,
            true => self.attend_with_dropout(q, k, v)?,
        };
        x.transpose(1, 2)?.flatten_from(2)
    }

    /// `[B, heads, N, d]`.
    fn attend_with_dropout(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
        let scores = (q.contiguous()? * self.scale)?.matmul(&k.transpose(2, 3)?.contiguous()?)?;
        self.dropout.forward(seg_ops::softmax(&scores)?)?.matmul(&v.contiguous()?)
    }
}

fn check_heads(inner: usize, num_heads: usize) -> Result<()> {
    if num_heads == 0 || !inner.is_multiple_of(num_heads) {
        candle_core::bail!("attention: inner width {inner} is not a multiple of num_heads {num_heads}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use candle_core::Device;
    use seg_golden::{GeneratedWeights, inputs};

    /// Values of 4, 8 and 12 channels for heads of 8: the projection after the mean, and before it.
    #[test]
    fn mean_before_or_after_the_projection() {
        for kv in [4, 8, 12] {
            let vb = GeneratedWeights::new("a").var_builder(candle_core::DType::F64, &Device::Cpu);
            let attention = Attention::with_kv_dim(6, kv, 8, 1, vb).unwrap();
            let noise = |name: &str, dims: &[usize]| {
                inputs::noise(name, dims, "", 4.0, &Device::Cpu).unwrap().to_dtype(candle_core::DType::F64).unwrap()
            };
            let (q, k, v) = (noise("q", &[2, 5, 6]), noise("k", &[2, 7, kv]), noise("v", &[2, 7, kv]));
            let found = attention.forward(&q, &k, &v, Epilogue::NONE).unwrap();
            let (q, k) = (attention.queries(&q).unwrap(), attention.keys(&k).unwrap());
            let v = attention.values(&v).unwrap();
            let x = seg_ops::composed::attention(&q, &k, &v, attention.scale, None).unwrap();
            let expected = attention.out_proj.forward(&x.squeeze(1).unwrap()).unwrap();
            let difference = (found - expected).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
            assert!(difference < 1e-12, "{kv} channels: {difference:e}");
        }
    }
}
