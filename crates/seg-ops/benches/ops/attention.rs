//! Attention in windows and over the whole map.

use crate::{compare, tensor};
use candle_core::{Result, Tensor};
use criterion::Criterion;
use seg_ops::{QkvOrder, WindowAttention, attention, window_attention};

/// The composition that candle-transformers uses: partition, matmul, softmax, matmul, join. The last axis is (q | k | v, heads, d).
fn candle(qkv: &Tensor, p: &WindowAttention, bias: Option<&Tensor>) -> Result<Tensor> {
    let (b, h, w, c3) = qkv.dims4()?;
    let side = if p.window == 0 { h } else { p.window };
    let (rows, columns) = (h.div_ceil(side), w.div_ceil(side));
    let padded = qkv.pad_with_zeros(1, 0, rows * side - h)?.pad_with_zeros(2, 0, columns * side - w)?;
    let d = c3 / 3 / p.heads;
    let qkv = padded.reshape((b, rows, side, columns, side, c3))?.permute((0, 1, 3, 2, 4, 5))?.contiguous()?;
    let qkv = qkv.reshape((b * rows * columns, side * side, 3, p.heads, d))?.permute((2, 0, 3, 1, 4))?.contiguous()?;
    let (q, k, v) = (qkv.get(0)?, qkv.get(1)?, qkv.get(2)?);
    let mut scores = (q * p.scale)?.matmul(&k.t()?)?;
    if let Some(bias) = bias {
        scores = scores.broadcast_add(bias)?;
    }
    let y = candle_nn::ops::softmax_last_dim(&scores)?.matmul(&v)?.transpose(1, 2)?.contiguous()?;
    let y = y.reshape((b, rows, columns, side, side, c3 / 3))?.permute((0, 1, 3, 2, 4, 5))?.contiguous()?;
    y.reshape((b, rows * side, columns * side, c3 / 3))?.narrow(1, 0, h)?.narrow(2, 0, w)?.contiguous()
}

pub fn bench(c: &mut Criterion) {
    // map, window, heads, d: Hiera tiny's stages 1 and 3 and its global blocks
    for (map, window, heads, d) in [(256, 8, 1, 96), (64, 14, 4, 96), (64, 0, 4, 96)] {
        let p =
            WindowAttention { heads, window, query_pool: 1, order: QkvOrder::SplitHeads, scale: (d as f64).powf(-0.5) };
        let (qkv, pad) = (tensor(&[1, map, map, 3 * heads * d]), tensor(&[3 * heads * d]));
        compare(
            c,
            &format!("window_attention {map} window {window} heads {heads} d {d}"),
            || window_attention(&qkv, &p, Some(&pad), None),
            || candle(&qkv, &p, None),
        );
    }
    // TinyViT's stages 2 and 3
    for (map, window, heads) in [(128, 7, 4), (64, 14, 5)] {
        let p = WindowAttention { heads, window, query_pool: 1, order: QkvOrder::HeadsSplit, scale: 32f64.powf(-0.5) };
        let (qkv, pad) = (tensor(&[1, map, map, 96 * heads]), tensor(&[96 * heads]));
        let bias = tensor(&[heads, window * window, window * window]);
        compare(
            c,
            &format!("window_attention {map} window {window} heads {heads} d 32 bias"),
            || window_attention(&qkv, &p, Some(&pad), Some(&bias)),
            || candle(&qkv, &p, Some(&bias)),
        );
    }
    // SAM's decoder: image tokens to prompt tokens and back
    for (n, m) in [(4096, 9), (9, 4096)] {
        let (q, k, v) = (tensor(&[1, 8, n, 16]), tensor(&[1, 8, m, 16]), tensor(&[1, 8, m, 16]));
        compare(
            c,
            &format!("attention {n} to {m} heads 8 d 16"),
            || attention(&q, &k, &v, 0.25, None),
            || candle_nn::ops::softmax_last_dim(&(&q * 0.25)?.matmul(&k.t()?)?)?.matmul(&v),
        );
    }
}
