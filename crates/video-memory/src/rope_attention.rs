//! Attention with rotary positions on a map's rows and columns.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use seg_layers::{Attention, Dropout, Epilogue};
use std::sync::{Arc, Mutex, PoisonError};

/// Rotation angles of a map's tokens: the first half of the channel pairs turns with the column, the second with the row
/// (`compute_axial_cis` in sam2/modeling/position_encoding.py).
#[derive(Clone, Debug)]
pub struct AxialRope {
    /// `[H·W, d/2]`.
    pub cos: Tensor,
    /// `[H·W, d/2]`.
    pub sin: Tensor,
}

impl AxialRope {
    /// The angles for heads of `dim` channels (a multiple of 4) on a map of `(height, width)` tokens, like `like` in type
    /// and device.
    pub fn new(dim: usize, theta: f64, (h, w): (usize, usize), like: &Tensor) -> Result<Self> {
        if dim == 0 || !dim.is_multiple_of(4) {
            candle_core::bail!("axial RoPE: heads of {dim} channels, expected a positive multiple of 4");
        }
        let quarter = dim / 4;
        let frequencies: Vec<f64> = (0..quarter).map(|j| theta.powf(-((4 * j) as f64) / dim as f64)).collect();
        let mut angles = Vec::with_capacity(h * w * dim / 2);
        for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
            for position in [x, y] {
                angles.extend(frequencies.iter().map(|f| position as f64 * f));
            }
        }
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f64> = angles.iter().map(|&a| f(a)).collect();
            Tensor::from_vec(values, (h * w, dim / 2), &candle_core::Device::Cpu)?
                .to_dtype(like.dtype())?
                .to_device(like.device())
        };
        Ok(Self { cos: table(f64::cos)?, sin: table(f64::sin)? })
    }

    /// Turns `x` `[B, heads, n·H·W, d]`, n maps one after the other.
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (b, heads, n, d) = x.dims4()?;
        let map = self.cos.dim(0)?;
        if n == map {
            return seg_ops::rope_2d(x, &self.cos, &self.sin);
        }
        if map == 0 || !n.is_multiple_of(map) {
            candle_core::bail!("axial RoPE: {n} tokens, expected whole maps of {map}");
        }
        let maps = x.contiguous()?.reshape((b, heads * (n / map), map, d))?;
        seg_ops::rope_2d(&maps, &self.cos, &self.sin)?.reshape((b, heads, n, d))
    }
}

/// Multi-head attention with [`AxialRope`] on queries and keys (`RoPEAttention` in sam2/modeling/sam/transformer.py).
///
/// Keys: `q_proj`, `k_proj`, `v_proj`, `out_proj`.
#[derive(Clone, Debug)]
pub struct RopeAttention(Attention);

impl RopeAttention {
    /// Reads an attention of `dim` channels on keys and values of `kv_dim` channels.
    pub fn new(dim: usize, kv_dim: usize, num_heads: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self(Attention::with_kv_dim(dim, kv_dim, dim, num_heads, vb)?))
    }

    /// `q [B, N, C]`, `k` and `v [B, M, Ckv]` to `[B, N, C]`; the last `unturned` keys have no place on a map.
    pub fn forward(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        rope: &AxialRope,
        unturned: usize,
        epilogue: Epilogue<'_>,
    ) -> Result<Tensor> {
        let q = rope.apply(&self.0.queries(q)?)?;
        let m = k.dim(1)?;
        let Some(turned) = m.checked_sub(unturned) else {
            candle_core::bail!("RoPE attention: {unturned} of {m} keys without a place, expected at most all");
        };
        let keys = |from: usize, len: usize| self.0.keys(&k.narrow(1, from, len)?.contiguous()?);
        let k = match (turned, unturned) {
            (_, 0) => rope.apply(&keys(0, m)?)?,
            (0, _) => keys(0, m)?,
            _ => Tensor::cat(&[rope.apply(&keys(0, turned)?)?, keys(turned, unturned)?], 2)?,
        };
        self.0.attend_to(&q, &k, v, epilogue)
    }

    /// See [`Attention::set_dropout`].
    pub fn set_dropout(&mut self, dropout: &Dropout) {
        self.0.set_dropout(dropout);
    }

    /// Channels of a head.
    pub(crate) fn head_dim(&self) -> Result<usize> {
        self.0.head_dim()
    }
}

/// The tables of the last map size: a video has one.
#[derive(Clone, Debug, Default)]
pub(crate) struct RopeCache(Arc<Mutex<Option<SizedRope>>>);

/// Height and width of a map in tokens, and its tables.
type SizedRope = ((usize, usize), AxialRope);

impl RopeCache {
    /// The tables for a map of `size` tokens, made by `make` when they are not those of the last call.
    pub(crate) fn get(&self, size: (usize, usize), make: impl FnOnce() -> Result<AxialRope>) -> Result<AxialRope> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((of, rope)) if *of == size => Ok(rope.clone()),
            _ => {
                let rope = make()?;
                *last = Some((size, rope.clone()));
                Ok(rope)
            }
        }
    }
}
