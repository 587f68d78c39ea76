//! The one operation against those that it is made of.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Result, Tensor, Var};
use common::{assert_close, assert_same_gradients, gradcheck, partly, random};
use seg_ops::{Attend, Epilogue, QkvOrder, WindowAttention, attend, layer_norm, linear, window_attention};

const EPS: f64 = 1e-5;

/// `x`, weight and bias of the norm, of `qkv` and of `proj`.
fn inputs(dims: [usize; 4]) -> Vec<Tensor> {
    let c = dims[3];
    let shapes: [&[usize]; 7] = [&dims, &[c], &[c], &[3 * c, c], &[3 * c], &[c, c], &[c]];
    shapes.iter().zip(1..).map(|(shape, seed)| random(shape, seed)).collect()
}

fn attention(heads: usize, window: usize, c: usize) -> WindowAttention {
    let scale = ((c / heads) as f64).powf(-0.5);
    WindowAttention { heads, window, query_pool: 1, order: QkvOrder::SplitHeads, scale }
}

fn fused(t: &[Tensor], p: &WindowAttention, keep: bool, biases: bool) -> Result<Tensor> {
    let bias = |i: usize| biases.then_some(&t[i]);
    let (norm, qkv, proj) = ((&t[1], bias(2)), (&t[3], &t[4]), (&t[5], bias(6)));
    attend(&t[0], &Attend { norm, eps: EPS, qkv, attention: p, proj, keep })
}

fn stepwise(t: &[Tensor], p: &WindowAttention, biases: bool) -> Result<Tensor> {
    let bias = |i: usize| biases.then_some(&t[i]);
    let map = linear(&layer_norm(&t[0], &t[1], bias(2), EPS)?, &t[3], Some(&t[4]), Epilogue::NONE)?;
    let attended = window_attention(&map, p, Some(&t[4]), None)?;
    linear(&attended, &t[5], bias(6), Epilogue::NONE.with_residual(&t[0]))
}

/// In f64, step by step inside.
#[test]
fn values_and_gradients() {
    let (t, p) = (inputs([1, 3, 5, 4]), attention(2, 2, 4));
    let f = |t: &[Tensor]| fused(t, &p, true, true);
    assert_close(&f(&t).unwrap(), &stepwise(&t, &p, true).unwrap(), 1e-12, "values");
    gradcheck(&t, &f);
}

/// In f32, in one piece: what is tracked gets what it gets step by step, whatever else is frozen; nobody else gets anything.
#[test]
fn frozen_parts_get_none() {
    for (dims, heads, window) in [([2, 8, 8, 16], 2, 4), ([1, 7, 9, 16], 2, 4), ([1, 6, 6, 24], 3, 0)] {
        let t: Vec<Tensor> = inputs(dims).iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect();
        let p = attention(heads, window, dims[3]);
        for tracked in [0b111_1111, 0b000_0001, 0b000_0110, 0b000_1000, 0b001_0000, 0b110_0000, 0b100_0001] {
            let (value, expected) = partly(&t, tracked, &|t| stepwise(t, &p, true));
            for keep in [true, false] {
                let (y, got) = partly(&t, tracked, &|t| fused(t, &p, keep, true));
                assert_close(&y, &value, 1e-6, "values");
                assert_same_gradients(&got, &expected, tracked, 1e-5);
            }
        }
        let value = stepwise(&t, &p, false).unwrap();
        let (y, _) = partly(&t, 1, &|t| fused(t, &p, false, false));
        assert_close(&y, &value, 1e-6, "values without biases");
    }
}

#[test]
fn the_same_graph_twice() {
    let p = attention(2, 4, 16);
    let t: Vec<Tensor> = inputs([1, 8, 8, 16]).iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect();
    let vars: Vec<Var> = t.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let loss = fused(&tensors, &p, true, true).unwrap().sqr().unwrap().sum_all().unwrap();
    let (first, second) = (loss.backward().unwrap(), loss.backward().unwrap());
    for v in &vars {
        assert_eq!(common::values(first.get(v).unwrap()), common::values(second.get(v).unwrap()));
    }
}

#[test]
fn refusals_name_the_cause() {
    let t: Vec<Tensor> = inputs([1, 4, 4, 8]).iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect();
    let (var, p) = (Var::from_tensor(&t[0]).unwrap(), attention(2, 2, 8));
    let with = |qkv: &Tensor, proj: &Tensor, p: &WindowAttention| {
        let parts =
            Attend { norm: (&t[1], None), eps: EPS, qkv: (qkv, &t[4]), attention: p, proj: (proj, None), keep: true };
        attend(&var, &parts).unwrap_err().to_string()
    };
    let f32s = |dims: &[usize]| random(dims, 1).to_dtype(DType::F32).unwrap();
    let text = with(&t[3], &f32s(&[8, 7]), &p);
    assert!(text.contains("attend: `proj` has shape [8, 7], expected [8, 8]"), "{text}");
    let text = with(&f32s(&[23, 8]), &t[5], &p);
    assert!(text.contains("attend: `qkv` has shape [23, 8], expected [24, 8]"), "{text}");
    let text = with(&t[3], &t[5], &WindowAttention { heads: 3, ..p });
    assert!(text.contains("3 heads"), "{text}");
}
