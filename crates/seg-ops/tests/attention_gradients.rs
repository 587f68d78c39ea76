//! Gradients of the f32 tiles with trained biases and relative positions, against f64: rests of queries, keys and channels, several blocks of each,
//! padding, several windows and images that share what is trained.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Tensor};
use common::{assert_close, gradients, random};
use seg_ops::{
    QkvOrder, RelativePositions, WindowAttention, attention, composed, window_attention, window_attention_with_rel_pos,
};

type Op<'a> = &'a dyn Fn(&[Tensor]) -> candle_core::Result<Tensor>;

/// Values and gradients in f32 against those of the composed operation in f64 and in f32.
#[track_caller]
fn check(inputs: &[Tensor], what: &str, f: Op<'_>, composed: Op<'_>) {
    let narrow: Vec<Tensor> = inputs.iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect();
    assert_close(&f(&narrow).unwrap(), &composed(inputs).unwrap(), 5e-6, what);
    let found = gradients(&narrow, f);
    for (dtype, inputs) in [("f64", inputs), ("f32", &narrow)] {
        for (i, (a, b)) in found.iter().zip(gradients(inputs, composed)).enumerate() {
            assert_close(a, &b, 5e-5, &format!("gradient {i} against {dtype}, {what}"));
        }
    }
}

#[test]
fn trained_biases() {
    for (b, h, n, m, d, dv) in
        [(1, 1, 1, 1, 1, 1), (2, 3, 13, 33, 7, 17), (1, 2, 200, 300, 24, 40), (3, 2, 97, 515, 16, 33)]
    {
        let inputs = [random(&[b, h, n, d], 1), random(&[b, h, m, d], 2), random(&[b, h, m, dv], 3)];
        for (bb, bh) in [(1, 1), (b, 1), (1, h), (b, h)] {
            let inputs = [&inputs[..], &[random(&[bb, bh, n, m], 4)]].concat();
            check(
                &inputs,
                &format!("{b} {h} {n} {m} {d} {dv}, bias {bb} {bh}"),
                &|t| attention(&t[0], &t[1], &t[2], 0.4, Some(&t[3])),
                &|t| composed::attention(&t[0], &t[1], &t[2], 0.4, Some(&t[3])),
            );
        }
    }
}

/// Only the bias is trained, and all but the bias.
#[test]
fn a_bias_alone() {
    let inputs = [random(&[1, 2, 9, 8], 1), random(&[1, 2, 20, 8], 2), random(&[1, 2, 20, 8], 3)];
    let narrow = inputs.each_ref().map(|t| t.to_dtype(DType::F32).unwrap());
    let bias = random(&[1, 2, 9, 20], 4);
    let f = |t: &[Tensor], inputs: &[Tensor; 3]| attention(&inputs[0], &inputs[1], &inputs[2], 0.4, Some(&t[0]));
    let g = |t: &[Tensor]| composed::attention(&inputs[0], &inputs[1], &inputs[2], 0.4, Some(&t[0]));
    let found = gradients(&[bias.to_dtype(DType::F32).unwrap()], &|t| f(t, &narrow));
    assert_close(&found[0], &gradients(&[bias], &g)[0], 5e-5, "bias");
}

/// The map, the bias, both tables, and the padding if there is any.
fn windows(
    [b, h, w]: [usize; 3],
    heads: usize,
    d: usize,
    (window, query_pool): (usize, usize),
) -> (WindowAttention, Vec<Tensor>) {
    let p = WindowAttention { heads, window, query_pool, order: QkvOrder::SplitHeads, scale: 0.3 };
    let (wh, ww) = if window == 0 { (h, w) } else { (window, window) };
    let bias = random(&[heads, (wh / query_pool) * (ww / query_pool), wh * ww], 3);
    let tables = [random(&[2 * wh - 1, d], 4), random(&[2 * ww - 1, d], 5)];
    let padded = window > 0 && !(h.is_multiple_of(window) && w.is_multiple_of(window));
    let pad = padded.then(|| random(&[3 * heads * d], 2));
    (p, [vec![random(&[b, h, w, 3 * heads * d], 1), bias], tables.to_vec(), pad.into_iter().collect()].concat())
}

#[test]
fn biased_windows() {
    let cases = [
        ([1, 16, 15], 2, 24, (7, 1)),
        ([2, 33, 20], 1, 17, (0, 1)),
        ([3, 5, 70], 2, 9, (5, 1)),
        ([1, 21, 40], 1, 9, (20, 2)),
        ([2, 14, 14], 1, 32, (14, 1)),
        ([1, 14, 7], 2, 8, (7, 1)),
    ];
    for (map, heads, d, sizes) in cases {
        let (p, mut inputs) = windows(map, heads, d, sizes);
        let what = format!("map {map:?}, {p:?}");
        inputs.drain(2..4);
        check(&inputs, &what, &|t| window_attention(&t[0], &p, t.get(2), Some(&t[1])), &|t| {
            composed::window_attention(&t[0], &p, t.get(2), Some(&t[1]))
        });
    }
}

#[test]
fn relative_positions() {
    let cases = [
        ([1, 1, 1], 1, 3, 0),
        ([1, 16, 15], 2, 24, 14),
        ([2, 33, 20], 1, 17, 0),
        ([1, 3, 50], 2, 33, 0),
        ([1, 50, 3], 1, 64, 0),
        ([2, 7, 40], 1, 9, 5),
        ([1, 12, 32], 2, 16, 0),
        ([1, 20, 20], 1, 8, 19),
    ];
    for (map, heads, d, window) in cases {
        let (p, mut inputs) = windows(map, heads, d, (window, 1));
        inputs.remove(1);
        let what = format!("map {map:?}, {p:?}");
        let with = |t: &[Tensor], f: &dyn Fn(RelativePositions<'_>) -> candle_core::Result<Tensor>| {
            f(RelativePositions { height: &t[1], width: &t[2] })
        };
        check(
            &inputs,
            &what,
            &|t| with(t, &|tables| window_attention_with_rel_pos(&t[0], &p, t.get(3), tables)),
            &|t| with(t, &|tables| composed::window_attention_with_rel_pos(&t[0], &p, t.get(3), tables)),
        );
    }
}

/// Positions count even where `scale` leaves nothing of the keys.
#[test]
fn a_scale_of_zero() {
    let (p, mut inputs) = windows([1, 6, 5], 2, 8, (0, 1));
    inputs.remove(1);
    let p = WindowAttention { scale: 0., ..p };
    let with = |t: &[Tensor], f: &dyn Fn(RelativePositions<'_>) -> candle_core::Result<Tensor>| {
        f(RelativePositions { height: &t[1], width: &t[2] })
    };
    check(&inputs, "scale 0", &|t| with(t, &|tables| window_attention_with_rel_pos(&t[0], &p, None, tables)), &|t| {
        with(t, &|tables| composed::window_attention_with_rel_pos(&t[0], &p, None, tables))
    });
}
