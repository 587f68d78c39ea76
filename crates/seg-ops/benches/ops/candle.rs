//! What candle has for a [`Spec`], composed as candle-transformers' models compose it. candle knows channels first alone: what it costs to get there
//! from channels-last maps and back belongs to it.

use crate::runs::Forward;
use crate::spec::Spec;
use candle_core::{Device, Result, Tensor};
use seg_ops::Layout;

/// The composition, or what candle lacks for it.
pub fn forward(spec: &Spec) -> std::result::Result<Forward, &'static str> {
    let (kernel, stride, padding, dilation, groups) =
        (spec.get("k"), spec.stride(), spec.get("pad"), spec.dilation(), spec.groups());
    let back = spec.backward();
    Ok(match spec.op.as_str() {
        "conv2d" => channels_first(spec.layout(), move |x, t| {
            biased(&x.conv2d(&t[1], padding, stride, dilation, groups)?, &t[2])
        }),
        "conv_transpose2d" => {
            channels_first(spec.layout(), move |x, t| biased(&x.conv_transpose2d(&t[1], 0, 0, stride, 1)?, &t[2]))
        }
        "conv_batch_norm" => channels_first(spec.layout(), move |x, t| {
            let y = biased(&x.conv2d(&t[1], padding, stride, dilation, groups)?, &t[2])?;
            let channels = y.dim(1)?;
            // [C, all others]
            let rows = y.transpose(0, 1)?.flatten_from(1)?;
            let centred = rows.broadcast_sub(&rows.mean_keepdim(1)?)?;
            let variance = centred.sqr()?.mean_keepdim(1)?;
            let normed = centred.broadcast_div(&(variance + 1e-5)?.sqrt()?)?;
            let normed = normed.broadcast_mul(&t[3].reshape((channels, 1))?)?;
            let normed = normed.broadcast_add(&t[4].reshape((channels, 1))?)?.relu()?;
            let (b, _, h, w) = y.dims4()?;
            normed.reshape((channels, b, h, w))?.transpose(0, 1)
        }),
        "feed_forward" => Box::new(|t| {
            let normed = candle_nn::ops::layer_norm_slow(&t[0], &t[1], &t[2], 1e-6)?;
            let hidden = normed.matmul(&t[3].t()?)?.broadcast_add(&t[4])?.gelu_erf()?;
            &t[0] + hidden.matmul(&t[5].t()?)?.broadcast_add(&t[6])?
        }),
        "binary_cross_entropy" => return Err("none of probabilities"),
        "linear" => Box::new(|t| t[0].matmul(&t[1].t()?)?.broadcast_add(&t[2])),
        "linear_gelu" => Box::new(|t| t[0].matmul(&t[1].t()?)?.broadcast_add(&t[2])?.gelu_erf()),
        "attention" => {
            let scale = (spec.get("d") as f64).powf(-0.5);
            Box::new(move |t| softmax(&(&t[0] * scale)?.matmul(&t[1].t()?)?, back)?.matmul(&t[2]))
        }
        "window_attention" => windows(spec),
        "rope" => Box::new(|t| candle_nn::rotary_emb::rope_i(&t[0], &t[1], &t[2])),
        // the fast one has no gradient
        "layer_norm" if back => Box::new(|t| candle_nn::ops::layer_norm_slow(&t[0], &t[1], &t[2], 1e-6)),
        "layer_norm" => Box::new(|t| candle_nn::ops::layer_norm(&t[0], &t[1], &t[2], 1e-6)),
        "layer_norm_2d" => channels_first(spec.layout(), |x, t| {
            let centred = x.broadcast_sub(&x.mean_keepdim(1)?)?;
            let variance = centred.sqr()?.mean_keepdim(1)?;
            let y = centred.broadcast_div(&(variance + 1e-6)?.sqrt()?)?;
            biased(&y.broadcast_mul(&t[1].reshape((1, (), 1, 1))?)?, &t[2])
        }),
        "gelu" => Box::new(|t| t[0].gelu_erf()),
        "softmax" => Box::new(move |t| softmax(&t[0], back)),
        "resize" if spec.get("antialias") == 1 => return Err("no antialiasing"),
        "resize" => {
            let (h, w, align) = (spec.get("oh"), spec.get("ow"), spec.get("align") == 1);
            match spec.text("mode") {
                "nearest" => channels_first(spec.layout(), move |x, _| x.upsample_nearest2d(h, w)),
                "bicubic" => return Err("no bicubic resizing"),
                _ => channels_first(spec.layout(), move |x, _| x.upsample_bilinear2d(h, w, align)),
            }
        }
        "max_pool2d"
            if spec.get("ceil") == 1
                && !(spec.get("h").is_multiple_of(kernel) && spec.get("w").is_multiple_of(kernel)) =>
        {
            return Err("no ceil mode");
        }
        "max_pool2d" => channels_first(spec.layout(), move |x, _| x.max_pool2d(kernel)),
        _ => return Err("unknown operation"),
    })
}

/// The fast one has no gradient.
fn softmax(x: &Tensor, back: bool) -> Result<Tensor> {
    if back { candle_nn::ops::softmax(x, candle_core::D::Minus1) } else { candle_nn::ops::softmax_last_dim(x) }
}

fn biased(y: &Tensor, bias: &Tensor) -> Result<Tensor> {
    y.broadcast_add(&bias.reshape((1, (), 1, 1))?)
}

/// `f` gets the map channels first, then all inputs.
fn channels_first(layout: Layout, f: impl Fn(&Tensor, &[Tensor]) -> Result<Tensor> + 'static) -> Forward {
    match layout {
        Layout::Nchw => Box::new(move |t| f(&t[0], t)),
        Layout::Nhwc => Box::new(move |t| {
            let x = t[0].permute((0, 3, 1, 2))?.contiguous()?;
            f(&x, t)?.permute((0, 2, 3, 1))?.contiguous()
        }),
    }
}

/// `x` with rows of `pad` at the bottom and the right.
fn filled(x: &Tensor, pad: &Tensor, rows: usize, columns: usize) -> Result<Tensor> {
    let (b, h, w, c) = x.dims4()?;
    let mut x = x.clone();
    if rows > 0 {
        x = Tensor::cat(&[&x, &pad.broadcast_as((b, rows, w, c))?.contiguous()?], 1)?;
    }
    if columns > 0 {
        x = Tensor::cat(&[&x, &pad.broadcast_as((b, h + rows, columns, c))?.contiguous()?], 2)?;
    }
    Ok(x)
}

/// The row of a table `[2 S - 1, d]` for each query and key: `[S, S, d]`.
fn positions(table: &Tensor) -> Result<Tensor> {
    let s = (table.dim(0)? as u32).div_ceil(2);
    let rows: Vec<u32> = (0..s).flat_map(|q| (0..s).map(move |k| q + s - 1 - k)).collect();
    let side = s as usize;
    table.index_select(&Tensor::from_vec(rows, side * side, &Device::Cpu)?, 0)?.reshape((side, side, ()))
}

/// `x.max_pool2d(side)`, whose gradient is wrong, by reductions, whose gradient is right.
fn max_of_squares(x: &Tensor, side: usize) -> Result<Tensor> {
    let (b, c, h, w) = x.dims4()?;
    x.reshape((b * c * (h / side), side, w / side, side))?.max(3)?.max(1)?.reshape((b, c, h / side, w / side))
}

/// Fill up, partition, product, softmax, product, join; the last axis is (q | k | v, heads, d).
fn windows(spec: &Spec) -> Forward {
    let ((wh, ww), heads, d, pool) = (spec.window(), spec.get("heads"), spec.get("d"), spec.query_pool());
    let (back, relative, scale) = (spec.backward(), spec.get("rel") == 1, (d as f64).powf(-0.5));
    Box::new(move |t| {
        let (b, h, w, c3) = t[0].dims4()?;
        let (c, rows, columns) = (c3 / 3, h.div_ceil(wh), w.div_ceil(ww));
        let groups = b * rows * columns;
        let qkv = filled(&t[0], &t[1], rows * wh - h, columns * ww - w)?;
        let qkv = qkv.reshape((b, rows, wh, columns, ww, c3))?.permute((0, 1, 3, 2, 4, 5))?.contiguous()?;
        let qkv = qkv.reshape((groups, wh * ww, 3, heads, d))?.permute((2, 0, 3, 1, 4))?.contiguous()?;
        let (mut q, k, v) = (qkv.get(0)?, qkv.get(1)?, qkv.get(2)?);
        if pool > 1 {
            let maps = q.transpose(2, 3)?.reshape((groups * heads, d, wh, ww))?;
            let maps = if back { max_of_squares(&maps, pool)? } else { maps.max_pool2d(pool)? };
            q = maps.reshape((groups, heads, d, ()))?.transpose(2, 3)?.contiguous()?;
        }
        let mut scores = (&q * scale)?.matmul(&k.t()?)?;
        if relative {
            let n = groups * heads;
            let q = q.reshape((n, wh, ww, d))?;
            let tables = [positions(&t[2])?, positions(&t[3])?];
            let [height, width] = tables.each_ref().map(|r| r.broadcast_left(n)?.t()?.contiguous());
            let height = q.matmul(&height?)?.unsqueeze(4)?;
            let width = q.transpose(1, 2)?.contiguous()?.matmul(&width?)?.transpose(1, 2)?.unsqueeze(3)?;
            let s = scores.reshape((n, wh, ww, wh, ww))?.broadcast_add(&height)?.broadcast_add(&width)?;
            scores = s.reshape((groups, heads, wh * ww, wh * ww))?;
        } else if let Some(bias) = t.get(2) {
            scores = scores.broadcast_add(bias)?;
        }
        let y = softmax(&scores, back)?.matmul(&v)?.transpose(1, 2)?.contiguous()?;
        let (wh, ww) = (wh / pool, ww / pool);
        let y = y.reshape((b, rows, columns, wh, ww, c))?.permute((0, 1, 3, 2, 4, 5))?.contiguous()?;
        y.reshape((b, rows * wh, columns * ww, c))?.narrow(1, 0, h / pool)?.narrow(2, 0, w / pool)?.contiguous()
    })
}
