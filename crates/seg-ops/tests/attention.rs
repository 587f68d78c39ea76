//! Attention, whole and in windows.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device, Tensor};
use common::{assert_close, check_op, random, values};
use seg_ops::{
    QkvOrder, RelativePositions, WindowAttention, attention, composed, rope_2d, window_attention,
    window_attention_with_rel_pos,
};

fn naive(q: &Tensor, k: &Tensor, v: &Tensor, scale: f64, bias: Option<&Tensor>) -> Tensor {
    let (b, h, n, d) = q.dims4().unwrap();
    let (m, dv) = (k.dim(2).unwrap(), v.dim(3).unwrap());
    let bias = bias.map(|t| values(&t.broadcast_as((b, h, n, m)).unwrap()));
    let (q, k, v) = (values(q), values(k), values(v));
    let mut y = vec![0.; b * h * n * dv];
    for row in 0..b * h * n {
        let head = row / n;
        let mut weights = Vec::new();
        for j in 0..m {
            let dot: f64 = (0..d).map(|c| q[row * d + c] * k[(head * m + j) * d + c]).sum();
            weights.push((dot * scale + bias.as_ref().map_or(0., |bias| bias[row * m + j])).exp());
        }
        let sum: f64 = weights.iter().sum();
        for (j, weight) in weights.iter().enumerate() {
            for c in 0..dv {
                y[row * dv + c] += weight / sum * v[(head * m + j) * dv + c];
            }
        }
    }
    Tensor::from_vec(y, (b, h, n, dv), &Device::Cpu).unwrap()
}

#[test]
fn whole_sequences() {
    for (b, h, n, m, d, dv) in [(2, 3, 5, 7, 4, 6), (1, 1, 1, 1, 1, 1), (1, 2, 70, 33, 8, 8), (2, 2, 1, 19, 16, 3)] {
        let (q, k, v) = (random(&[b, h, n, d], 1), random(&[b, h, m, d], 2), random(&[b, h, m, dv], 3));
        check_op(
            &[q.clone(), k.clone(), v.clone()],
            &naive(&q, &k, &v, 0.7, None),
            &|t| attention(&t[0], &t[1], &t[2], 0.7, None),
            &|t| composed::attention(&t[0], &t[1], &t[2], 0.7, None),
        );
        for (bb, bh) in [(1, 1), (b, 1), (1, h), (b, h)] {
            let bias = random(&[bb, bh, n, m], 4);
            let expected = naive(&q, &k, &v, 0.7, Some(&bias));
            // the bias fixed: the kernel
            check_op(
                &[q.clone(), k.clone(), v.clone()],
                &expected,
                &|t| attention(&t[0], &t[1], &t[2], 0.7, Some(&bias.to_dtype(t[0].dtype())?)),
                &|t| composed::attention(&t[0], &t[1], &t[2], 0.7, Some(&bias.to_dtype(t[0].dtype())?)),
            );
            // the bias trained
            check_op(
                &[q.clone(), k.clone(), v.clone(), bias],
                &expected,
                &|t| attention(&t[0], &t[1], &t[2], 0.7, Some(&t[3])),
                &|t| composed::attention(&t[0], &t[1], &t[2], 0.7, Some(&t[3])),
            );
        }
    }
}

/// So many keys that the queries are taken in several blocks.
#[test]
fn blocks_join() {
    let (q, k, v) = (random(&[1, 2, 100, 4], 1), random(&[1, 2, 5000, 4], 2), random(&[1, 2, 5000, 3], 3));
    let f = |t: &[Tensor]| attention(&t[0], &t[1], &t[2], 2., None);
    let g = |t: &[Tensor]| composed::attention(&t[0], &t[1], &t[2], 2., None);
    let inputs = [q, k, v];
    assert_close(&f(&inputs).unwrap(), &g(&inputs).unwrap(), 1e-10, "blocks");
    for (a, b) in common::gradients(&inputs, &f).iter().zip(common::gradients(&inputs, &g)) {
        assert_close(a, &b, 1e-10, "gradient of blocks");
    }
}

/// Heads as a view of `[B, N, h, d]`, the way a projection leaves them.
#[test]
fn transposed_heads_are_read_in_place() {
    let t = |seed| random(&[2, 9, 3, 4], seed).transpose(1, 2).unwrap();
    let (q, k, v) = (t(1), t(2), t(3));
    let y = attention(&q, &k, &v, 0.5, None).unwrap();
    assert_close(&y, &naive(&q, &k, &v, 0.5, None), 1e-12, "heads");
}

/// One query at a time, by the definition.
fn naive_windows(qkv: &Tensor, p: &WindowAttention, pad: Option<&Tensor>, bias: Option<&Tensor>) -> Tensor {
    let (b, h, w, c3) = qkv.dims4().unwrap();
    let (c, d) = (c3 / 3, c3 / 3 / p.heads);
    let (wh, ww) = if p.window == 0 { (h, w) } else { (p.window, p.window) };
    let (qh, qw) = (wh / p.query_pool, ww / p.query_pool);
    let (oh, ow) = (h / p.query_pool, w / p.query_pool);
    let (data, pad, bias) = (values(qkv), pad.map(values), bias.map(values));
    let at = |b: usize, y: usize, x: usize, part: usize, head: usize, i: usize| {
        let channel = match p.order {
            QkvOrder::SplitHeads => part * c + head * d + i,
            QkvOrder::HeadsSplit => (head * 3 + part) * d + i,
        };
        if y < h && x < w { data[((b * h + y) * w + x) * c3 + channel] } else { pad.as_ref().unwrap()[channel] }
    };
    let mut out = Vec::new();
    for (b, oy, ox, head) in indices([b, oh, ow, p.heads]) {
        let (top, left) = (oy / qh * wh, ox / qw * ww);
        let (qy, qx) = (oy % qh, ox % qw);
        let query: Vec<f64> = (0..d)
            .map(|i| {
                let taps = (0..p.query_pool * p.query_pool).map(|t| {
                    let (ty, tx) = (t / p.query_pool, t % p.query_pool);
                    at(b, top + qy * p.query_pool + ty, left + qx * p.query_pool + tx, 0, head, i)
                });
                taps.fold(f64::NEG_INFINITY, f64::max)
            })
            .collect();
        let weights: Vec<f64> = (0..wh * ww)
            .map(|key| {
                let dot: f64 = (0..d).map(|i| query[i] * at(b, top + key / ww, left + key % ww, 1, head, i)).sum();
                let bias = bias.as_ref().map_or(0., |bias| bias[(head * qh * qw + qy * qw + qx) * wh * ww + key]);
                (dot * p.scale + bias).exp()
            })
            .collect();
        let sum: f64 = weights.iter().sum();
        for i in 0..d {
            let value = |key: usize| at(b, top + key / ww, left + key % ww, 2, head, i);
            out.push(weights.iter().enumerate().map(|(key, weight)| weight / sum * value(key)).sum::<f64>());
        }
    }
    Tensor::from_vec(out, (b, oh, ow, c), &Device::Cpu).unwrap()
}

fn indices([a, b, c, d]: [usize; 4]) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..a * b * c * d).map(move |i| (i / (b * c * d), i / (c * d) % b, i / d % c, i % d))
}

fn check_windows(map: [usize; 3], heads: usize, d: usize, window: usize, query_pool: usize) {
    for order in [QkvOrder::SplitHeads, QkvOrder::HeadsSplit] {
        let p = WindowAttention { heads, window, query_pool, order, scale: 0.6 };
        let qkv = random(&[map[0], map[1], map[2], 3 * heads * d], 1);
        let pad = random(&[3 * heads * d], 2);
        let (wh, ww) = if window == 0 { (map[1], map[2]) } else { (window, window) };
        let bias = random(&[heads, (wh / query_pool) * (ww / query_pool), wh * ww], 3);
        let needs_pad = window > 0 && !(map[1].is_multiple_of(window) && map[2].is_multiple_of(window));
        if needs_pad {
            check_op(
                &[qkv.clone(), pad.clone()],
                &naive_windows(&qkv, &p, Some(&pad), None),
                &|t| window_attention(&t[0], &p, Some(&t[1]), None),
                &|t| composed::window_attention(&t[0], &p, Some(&t[1]), None),
            );
        } else {
            check_op(
                std::slice::from_ref(&qkv),
                &naive_windows(&qkv, &p, None, None),
                &|t| window_attention(&t[0], &p, None, None),
                &|t| composed::window_attention(&t[0], &p, None, None),
            );
        }
        let fixed = |t: &Tensor| bias.to_dtype(t.dtype());
        let expected = naive_windows(&qkv, &p, Some(&pad), Some(&bias));
        if needs_pad {
            check_op(
                &[qkv.clone(), pad.clone()],
                &expected,
                &|t| window_attention(&t[0], &p, Some(&t[1]), Some(&fixed(&t[0])?)),
                &|t| composed::window_attention(&t[0], &p, Some(&t[1]), Some(&fixed(&t[0])?)),
            );
        }
        check_op(
            &[qkv.clone(), bias.clone()],
            &expected,
            &|t| window_attention(&t[0], &p, Some(&pad.to_dtype(t[0].dtype())?), Some(&t[1])),
            &|t| composed::window_attention(&t[0], &p, Some(&pad.to_dtype(t[0].dtype())?), Some(&t[1])),
        );
    }
}

#[test]
fn windows_that_divide() {
    check_windows([2, 6, 9], 2, 3, 3, 1);
    check_windows([1, 8, 4], 2, 4, 4, 2);
    check_windows([1, 2, 2], 1, 2, 1, 1);
}

#[test]
fn windows_with_padding() {
    check_windows([2, 5, 7], 2, 3, 3, 1);
    check_windows([1, 1, 5], 1, 4, 2, 1);
    check_windows([1, 3, 3], 3, 2, 7, 1);
}

/// Hiera's stage transitions: the un-windowing takes half the window and the padding of the pooled map.
#[test]
fn pooled_queries() {
    check_windows([1, 6, 10], 2, 3, 4, 2);
    check_windows([2, 7, 5], 1, 2, 4, 2);
    check_windows([1, 9, 4], 1, 2, 6, 3);
}

#[test]
fn the_whole_map() {
    check_windows([2, 4, 5], 2, 3, 0, 1);
    check_windows([1, 4, 6], 2, 3, 0, 2);
    check_windows([1, 5, 3], 1, 3, 0, 2);
    check_windows([1, 1, 7], 1, 3, 0, 1);
}

#[test]
fn a_pad_that_is_not_needed_gets_a_zero_gradient() {
    let p = WindowAttention { heads: 1, window: 2, query_pool: 1, order: QkvOrder::SplitHeads, scale: 1. };
    let inputs = [random(&[1, 4, 4, 6], 1), random(&[6], 2)];
    let g = common::gradients(&inputs, &|t| window_attention(&t[0], &p, Some(&t[1]), None));
    assert_eq!(values(&g[1]), [0.; 6]);
}

#[test]
fn empty() {
    let p = WindowAttention { heads: 2, window: 4, query_pool: 2, order: QkvOrder::SplitHeads, scale: 1. };
    let y = window_attention(&random(&[0, 8, 8, 12], 1), &p, None, None).unwrap();
    assert_eq!(y.dims(), [0, 4, 4, 4]);
    let whole = WindowAttention { window: 0, ..p };
    assert_eq!(window_attention(&random(&[1, 1, 1, 12], 1), &whole, None, None).unwrap().dims(), [1, 0, 0, 4]);
    let y =
        attention(&random(&[2, 2, 0, 4], 1), &random(&[2, 2, 3, 4], 1), &random(&[2, 2, 3, 5], 1), 1., None).unwrap();
    assert_eq!(y.dims(), [2, 2, 0, 5]);
}

#[test]
fn refusals_name_the_cause() {
    let p = WindowAttention { heads: 2, window: 3, query_pool: 1, order: QkvOrder::SplitHeads, scale: 1. };
    let qkv = random(&[1, 4, 4, 12], 1);
    let message =
        |p: &WindowAttention, bias: Option<&Tensor>| window_attention(&qkv, p, None, bias).unwrap_err().to_string();
    let text = message(&p, None);
    assert!(text.contains("`pad` is missing") && text.contains("4 × 4"), "{text}");
    let text = message(&WindowAttention { heads: 5, ..p }, None);
    assert!(text.contains("`qkv`") && text.contains('5'), "{text}");
    let text = message(&WindowAttention { query_pool: 2, ..p }, None);
    assert!(text.contains("`window` is 3"), "{text}");
    let text = message(&WindowAttention { window: 2, ..p }, Some(&random(&[2, 4, 5], 1)));
    assert!(text.contains("[2, 4, 4]"), "{text}");
    let text = attention(&qkv, &random(&[1, 4, 4, 11], 1), &qkv, 1., None).unwrap_err().to_string();
    assert!(text.contains("`k` has shape [1, 4, 4, 11]"), "{text}");
    let text = attention(&qkv, &qkv, &qkv, f64::NAN, None).unwrap_err().to_string();
    assert!(text.contains("scale"), "{text}");
}

/// Relative positions as a bias, by the definition: one query and key at a time.
fn naive_rel_pos(qkv: &Tensor, p: &WindowAttention, pad: Option<&Tensor>, tables: [&Tensor; 2]) -> Tensor {
    let (b, h, w, c3) = qkv.dims4().unwrap();
    let (c, d) = (c3 / 3, c3 / 3 / p.heads);
    let (wh, ww) = if p.window == 0 { (h, w) } else { (p.window, p.window) };
    let (data, pad, down, across) = (values(qkv), pad.map(values), values(tables[0]), values(tables[1]));
    let at = |b: usize, y: usize, x: usize, part: usize, head: usize, i: usize| {
        let channel = match p.order {
            QkvOrder::SplitHeads => part * c + head * d + i,
            QkvOrder::HeadsSplit => (head * 3 + part) * d + i,
        };
        if y < h && x < w { data[((b * h + y) * w + x) * c3 + channel] } else { pad.as_ref().unwrap()[channel] }
    };
    let mut out = Vec::new();
    for (b, y, x, head) in indices([b, h, w, p.heads]) {
        let (top, left) = (y / wh * wh, x / ww * ww);
        let mut weights = Vec::new();
        for (ky, kx) in (0..wh * ww).map(|k| (k / ww, k % ww)) {
            let score: f64 = (0..d)
                .map(|i| {
                    let q = at(b, y, x, 0, head, i);
                    let (dy, dx) = (y - top + wh - 1 - ky, x - left + ww - 1 - kx);
                    q * (at(b, top + ky, left + kx, 1, head, i) * p.scale + down[dy * d + i] + across[dx * d + i])
                })
                .sum();
            weights.push(score.exp());
        }
        let sum: f64 = weights.iter().sum();
        for i in 0..d {
            let value = |k: usize| at(b, top + k / ww, left + k % ww, 2, head, i);
            out.push(weights.iter().enumerate().map(|(k, weight)| weight / sum * value(k)).sum::<f64>());
        }
    }
    Tensor::from_vec(out, (b, h, w, c), &Device::Cpu).unwrap()
}

#[test]
fn relative_positions() {
    let maps =
        [([2, 4, 6], 2, 3, 0), ([1, 5, 7], 2, 4, 3), ([1, 6, 3], 1, 2, 3), ([1, 1, 1], 2, 2, 0), ([1, 1, 5], 1, 3, 2)];
    for (map, heads, d, window) in maps {
        for order in [QkvOrder::SplitHeads, QkvOrder::HeadsSplit] {
            let p = WindowAttention { heads, window, query_pool: 1, order, scale: 0.4 };
            let (wh, ww) = if window == 0 { (map[1], map[2]) } else { (window, window) };
            let inputs = [
                random(&[map[0], map[1], map[2], 3 * heads * d], 1),
                random(&[2 * wh - 1, d], 2),
                random(&[2 * ww - 1, d], 3),
                random(&[3 * heads * d], 4),
            ];
            let rel = |t: &[Tensor], f: &dyn Fn(RelativePositions<'_>) -> candle_core::Result<Tensor>| {
                f(RelativePositions { height: &t[1], width: &t[2] })
            };
            let padded = window > 0 && !(map[1].is_multiple_of(window) && map[2].is_multiple_of(window));
            let used = if padded { &inputs[..] } else { &inputs[..3] };
            let expected = naive_rel_pos(&inputs[0], &p, Some(&inputs[3]), [&inputs[1], &inputs[2]]);
            check_op(used, &expected, &|t| rel(t, &|r| window_attention_with_rel_pos(&t[0], &p, t.get(3), r)), &|t| {
                rel(t, &|r| composed::window_attention_with_rel_pos(&t[0], &p, t.get(3), r))
            });
        }
    }
}

/// The f32 tiles against f64: rests of queries, of keys and of channels, several blocks of each, split keys.
#[test]
fn odd_sizes_in_f32() {
    let sizes = [
        (1, 1, 1, 1, 1, 1),
        (1, 2, 13, 33, 7, 17),
        (2, 1, 97, 257, 40, 56),
        (1, 3, 100, 515, 72, 72),
        (1, 1, 5, 2100, 16, 33),
        (1, 2, 1, 3000, 24, 16),
        (1, 1, 200, 1025, 64, 64),
        (1, 1, 300, 8, 16, 100),
    ];
    for (b, h, n, m, d, dv) in sizes {
        // sharp scores: maxima move from block to block
        let wide = [(random(&[b, h, n, d], 1) * 3.).unwrap(), random(&[b, h, m, d], 2), random(&[b, h, m, dv], 3)];
        let bias = (random(&[1, h, n, m], 4) * 2.).unwrap();
        let narrow: Vec<Tensor> = wide.iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect();
        for bias in [None, Some(&bias)] {
            let f = |t: &[Tensor]| {
                let bias = bias.map(|bias| bias.to_dtype(t[0].dtype())).transpose()?;
                attention(&t[0], &t[1], &t[2], 0.5, bias.as_ref())
            };
            let what = format!("{b} {h} {n} {m} {d} {dv}");
            assert_close(&f(&narrow).unwrap(), &f(&wide).unwrap(), 5e-6, &what);
            for (a, b) in common::gradients(&narrow, &f).iter().zip(common::gradients(&wide, &f)) {
                assert_close(a, &b, 5e-5, &format!("gradient, {what}"));
            }
        }
    }
}

#[test]
fn odd_windows_in_f32() {
    for (map, heads, d, window, pool) in
        [([1, 16, 15], 2, 24, 14, 1), ([1, 33, 20], 1, 17, 0, 1), ([1, 21, 40], 1, 9, 20, 2), ([2, 3, 50], 1, 33, 0, 1)]
    {
        let p = WindowAttention { heads, window, query_pool: pool, order: QkvOrder::SplitHeads, scale: 0.3 };
        let (wh, ww) = if window == 0 { (map[1], map[2]) } else { (window, window) };
        let wide = [
            random(&[map[0], map[1], map[2], 3 * heads * d], 1),
            random(&[3 * heads * d], 2),
            random(&[2 * wh - 1, d], 3),
            random(&[2 * ww - 1, d], 4),
        ];
        let narrow: Vec<Tensor> = wide.iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect();
        let f = |t: &[Tensor]| window_attention(&t[0], &p, Some(&t[1]), None);
        assert_close(&f(&narrow).unwrap(), &f(&wide).unwrap(), 5e-6, "windows");
        for (a, b) in common::gradients(&narrow[..2], &f).iter().zip(common::gradients(&wide[..2], &f)) {
            assert_close(a, &b, 5e-5, "gradient of windows");
        }
        if pool == 1 {
            let rel = |t: &[Tensor]| {
                let tables = RelativePositions { height: &t[2], width: &t[3] };
                window_attention_with_rel_pos(&t[0], &p, Some(&t[1]), tables).unwrap()
            };
            assert_close(&rel(&narrow), &rel(&wide), 5e-6, "relative positions");
        }
    }
}

/// A row whose keys are masked out in the first blocks, and one without any key left.
#[test]
fn masked_rows() {
    let (q, k, v) = (random(&[1, 1, 3, 8], 1), random(&[1, 1, 1000, 8], 2), random(&[1, 1, 1000, 8], 3));
    let mask: Vec<f64> =
        (0..3000).map(|i| if i < 1000 || (i < 2000 && i % 1000 >= 900) { 0. } else { f64::NEG_INFINITY }).collect();
    let mask = Tensor::from_vec(mask, (1, 1, 3, 1000), &Device::Cpu).unwrap();
    let narrow = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
    let y = attention(&narrow(&q), &narrow(&k), &narrow(&v), 1., Some(&narrow(&mask))).unwrap();
    assert_close(&y, &attention(&q, &k, &v, 1., Some(&mask)).unwrap(), 2e-6, "masked");
    assert!(values(&y)[16..].iter().all(|y| y.is_nan()) && values(&y)[..16].iter().all(|y| y.is_finite()));
}

#[test]
fn rotary_positions() {
    for (b, h, n, d) in [(1, 1, 1, 2), (2, 3, 5, 8), (1, 2, 700, 34)] {
        let (x, cos, sin) = (random(&[b, h, n, d], 1), random(&[n, d / 2], 2), random(&[n, d / 2], 3));
        let (xs, c, s) = (values(&x), values(&cos), values(&sin));
        let y: Vec<f64> = (0..xs.len())
            .map(|i| {
                let at = i / d % n * (d / 2) + i % d / 2;
                if i % 2 == 0 { xs[i] * c[at] - xs[i + 1] * s[at] } else { xs[i - 1] * s[at] + xs[i] * c[at] }
            })
            .collect();
        let y = Tensor::from_vec(y, x.dims(), &Device::Cpu).unwrap();
        let angles = |t: &Tensor| (cos.to_dtype(t.dtype()).unwrap(), sin.to_dtype(t.dtype()).unwrap());
        check_op(&[x], &y, &|t| rope_2d(&t[0], &angles(&t[0]).0, &angles(&t[0]).1), &|t| {
            composed::rope_2d(&t[0], &angles(&t[0]).0, &angles(&t[0]).1)
        });
    }
    let text = rope_2d(&random(&[1, 1, 3, 4], 1), &random(&[3, 4], 1), &random(&[3, 2], 1)).unwrap_err().to_string();
    assert!(text.contains("`cos`") && text.contains("[3, 2]"), "{text}");
}
