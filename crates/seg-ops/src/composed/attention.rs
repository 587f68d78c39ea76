use super::norm::softmax;
use super::pool::max_pool2d;
use super::{widen, widen_on_cpu};
use crate::error::Result;
use crate::{Layout, Pool2dParams, QkvOrder, RelativePositions, WindowAttention};
use candle_core::Tensor;

/// See [`crate::attention`].
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64, bias: Option<&Tensor>) -> Result<Tensor> {
    let dtype = q.dtype();
    let (b, h, n, _) = q.dims4()?;
    let (m, dv) = (k.dim(2)?, v.dim(3)?);
    if [b, h, n, m, dv].contains(&0) {
        return Tensor::zeros((b, h, n, dv), dtype, q.device());
    }
    let (q, k, v) = (widen_on_cpu(q)?, widen_on_cpu(k)?, widen_on_cpu(v)?);
    // the scale goes on the queries: one pass over N × d instead of N × M
    let scores = (q.contiguous()? * scale)?.matmul(&k.transpose(2, 3)?.contiguous()?)?;
    let scores = match bias {
        Some(bias) => widen(&scores)?.broadcast_add(&widen(bias)?)?,
        None => scores,
    };
    softmax(&scores)?.to_dtype(v.dtype())?.matmul(&v.contiguous()?)?.to_dtype(dtype)
}

/// See [`crate::window_attention`].
pub fn window_attention(
    qkv: &Tensor,
    p: &WindowAttention,
    pad: Option<&Tensor>,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let bias = bias.map(|b| b.unsqueeze(0)).transpose()?;
    windows(qkv, p, pad, |_, _| Ok(bias.clone()))
}

/// See [`crate::window_attention_with_rel_pos`]. The positions' part of the scores is as large as the scores.
pub fn window_attention_with_rel_pos(
    qkv: &Tensor,
    p: &WindowAttention,
    pad: Option<&Tensor>,
    relative: RelativePositions<'_>,
) -> Result<Tensor> {
    windows(qkv, p, pad, |q, grid| rel_pos(q, grid, relative).map(Some))
}

/// `[groups, heads, N, N]` for queries `[groups, heads, N, d]` on a grid.
fn rel_pos(q: &Tensor, (h, w): (usize, usize), relative: RelativePositions<'_>) -> Result<Tensor> {
    let (groups, heads, n, d) = q.dims4()?;
    let q = widen_on_cpu(q)?.reshape((groups * heads, h, w, d))?;
    // [S, S, d]: the table's row of each query and key
    let table = |t: &Tensor, size: usize| -> Result<Tensor> {
        let rows: Vec<u32> = (0..size * size).map(|i| (i / size + size - 1 - i % size) as u32).collect();
        widen_on_cpu(t)?.contiguous()?.index_select(&Tensor::new(rows, t.device())?, 0)?.reshape((size, size, d))
    };
    let (down, across) = (table(relative.height, h)?, table(relative.width, w)?);
    let down = q
        .transpose(0, 1)?
        .contiguous()?
        .reshape((h, groups * heads * w, d))?
        .matmul(&down.transpose(1, 2)?.contiguous()?)?
        .reshape((h, groups * heads, w, h))?
        .transpose(0, 1)?
        .contiguous()?
        .reshape((groups * heads, n, h, 1))?;
    let across = q
        .permute((2, 0, 1, 3))?
        .contiguous()?
        .reshape((w, groups * heads * h, d))?
        .matmul(&across.transpose(1, 2)?.contiguous()?)?
        .reshape((w, groups * heads, h, w))?
        .permute((1, 2, 0, 3))?
        .contiguous()?
        .reshape((groups * heads, n, 1, w))?;
    down.broadcast_add(&across)?.reshape((groups, heads, n, n))
}

fn windows(
    qkv: &Tensor,
    p: &WindowAttention,
    pad: Option<&Tensor>,
    bias: impl Fn(&Tensor, (usize, usize)) -> Result<Option<Tensor>>,
) -> Result<Tensor> {
    let (b, h, w, c3) = qkv.dims4()?;
    let (c, heads, pool) = (c3 / 3, p.heads, p.query_pool);
    let (oh, ow) = (h / pool, w / pool);
    if b * oh * ow * c == 0 {
        return Tensor::zeros((b, oh, ow, c), qkv.dtype(), qkv.device());
    }
    let (wh, ww) = if p.window == 0 { (h, w) } else { (p.window, p.window) };
    let (nh, nw) = (h.div_ceil(wh), w.div_ceil(ww));
    let (ph, pw) = (nh * wh, nw * ww);
    let mut x = qkv.clone();
    if let Some(pad) = pad {
        if pw > w {
            x = Tensor::cat(&[x, pad.reshape((1, 1, 1, c3))?.broadcast_as((b, h, pw - w, c3))?.contiguous()?], 2)?;
        }
        if ph > h {
            x = Tensor::cat(&[x, pad.reshape((1, 1, 1, c3))?.broadcast_as((b, ph - h, pw, c3))?.contiguous()?], 1)?;
        }
    }
    // [B, H, W, 3C] -> [windows, wh * ww, 3C]
    let windows = x.reshape((b, nh, wh, nw, ww, c3))?.permute((0, 1, 3, 2, 4, 5))?.contiguous()?;
    let (groups, n, d) = (b * nh * nw, wh * ww, c / heads);
    // -> q, k, v, each [windows, N, heads, d]
    let part = |i: usize| -> Result<Tensor> {
        match p.order {
            QkvOrder::SplitHeads => windows.reshape((groups, n, 3, heads, d))?.narrow(2, i, 1)?.squeeze(2),
            QkvOrder::HeadsSplit => windows.reshape((groups, n, heads, 3, d))?.narrow(3, i, 1)?.squeeze(3),
        }
    };
    let (mut q, k, v) = (part(0)?, part(1)?, part(2)?);
    let (qh, qw) = (wh / pool, ww / pool);
    if pool > 1 {
        let map = q.contiguous()?.reshape((groups, wh, ww, c))?;
        let params = Pool2dParams { kernel: pool, stride: pool, padding: 0, ceil_mode: false, layout: Layout::Nhwc };
        q = max_pool2d(&map, &params)?.reshape((groups, qh * qw, heads, d))?;
    }
    let heads_first = |t: &Tensor| t.transpose(1, 2)?.contiguous();
    let q = heads_first(&q)?;
    let bias = bias(&q, (qh, qw))?;
    let y = attention(&q, &heads_first(&k)?, &heads_first(&v)?, p.scale, bias.as_ref())?;
    // [windows, heads, N', d] -> [B, H', W', C]
    let y = y.transpose(1, 2)?.contiguous()?.reshape((b, nh, nw, qh, qw, c))?;
    let y = y.permute((0, 1, 3, 2, 4, 5))?.contiguous()?.reshape((b, nh * qh, nw * qw, c))?;
    y.narrow(1, 0, oh)?.narrow(2, 0, ow)?.contiguous()
}
