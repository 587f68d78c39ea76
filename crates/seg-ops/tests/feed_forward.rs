//! The one operation against those that it is made of.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Result, Tensor, Var};
use common::{assert_close, assert_same_gradients, gradcheck, partly, random, values};
use seg_ops::{Activation, Epilogue, FeedForward, feed_forward, layer_norm, linear};

const EPS: f64 = 1e-5;

/// `x`, then weight and bias of the norm and of both products.
fn inputs(dims: &[usize], hidden: usize) -> Vec<Tensor> {
    let c = *dims.last().unwrap();
    let shapes: [&[usize]; 7] = [dims, &[c], &[c], &[hidden, c], &[hidden], &[c, hidden], &[c]];
    shapes.iter().zip(1..).map(|(shape, seed)| random(shape, seed)).collect()
}

fn fused(t: &[Tensor], keep: bool, biases: bool) -> Result<Tensor> {
    let bias = |i: usize| biases.then_some(&t[i]);
    let parts = FeedForward { norm: (&t[1], bias(2)), eps: EPS, up: (&t[3], bias(4)), down: (&t[5], bias(6)), keep };
    feed_forward(&t[0], &parts)
}

fn stepwise(t: &[Tensor], biases: bool) -> Result<Tensor> {
    let bias = |i: usize| biases.then_some(&t[i]);
    let hidden = linear(&layer_norm(&t[0], &t[1], bias(2), EPS)?, &t[3], bias(4), Epilogue::act(Activation::Gelu))?;
    linear(&hidden, &t[5], bias(6), Epilogue::NONE.with_residual(&t[0]))
}

#[test]
fn values_and_gradients() {
    for (dims, hidden) in [(&[2, 3, 5][..], 7), (&[4, 6], 1), (&[1, 2, 3, 16], 32)] {
        let t = inputs(dims, hidden);
        for keep in [true, false] {
            let f = |t: &[Tensor]| fused(t, keep, true);
            assert_close(&f(&t).unwrap(), &stepwise(&t, true).unwrap(), 1e-12, "values");
            gradcheck(&t, &f);
            let no_biases = |v: &[Tensor]| {
                let all = [&v[0], &v[1], &t[2], &v[2], &t[4], &v[3], &t[6]].map(Tensor::clone);
                fused(&all, keep, false)
            };
            gradcheck(&[t[0].clone(), t[1].clone(), t[3].clone(), t[5].clone()], &no_biases);
        }
    }
}

/// What is tracked gets the bits that it gets step by step, whatever else is frozen; nobody else gets anything.
#[test]
fn frozen_parts_get_none() {
    let t: Vec<Tensor> = inputs(&[2, 40, 24], 96).iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect();
    for tracked in [0b111_1111, 0b000_0001, 0b000_0110, 0b000_1000, 0b001_0000, 0b110_0000, 0b100_0001] {
        let (_, expected) = partly(&t, tracked, &|t| stepwise(t, true));
        for keep in [true, false] {
            let (_, got) = partly(&t, tracked, &|t| fused(t, keep, true));
            assert_same_gradients(&got, &expected, tracked, 1e-5);
        }
    }
}

#[test]
fn the_same_graph_twice() {
    let t = inputs(&[3, 8], 16);
    let vars: Vec<Var> = t.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let loss = fused(&tensors, true, true).unwrap().sqr().unwrap().sum_all().unwrap();
    let (first, second) = (loss.backward().unwrap(), loss.backward().unwrap());
    for v in &vars {
        assert_eq!(values(first.get(v).unwrap()), values(second.get(v).unwrap()));
    }
}

#[test]
fn refusals_name_the_cause() {
    let t = inputs(&[3, 8], 16);
    let var = Var::from_tensor(&t[0]).unwrap();
    let with = |up: &Tensor, down: &Tensor| {
        let parts = FeedForward { norm: (&t[1], None), eps: EPS, up: (up, None), down: (down, None), keep: true };
        feed_forward(&var, &parts).unwrap_err().to_string()
    };
    let text = with(&t[3], &random(&[8, 15], 1));
    assert!(text.contains("feed_forward: `down` has shape [8, 15], expected [8, 16]"), "{text}");
    let text = with(&random(&[16, 7], 1), &t[5]);
    assert!(text.contains("`x` has shape [3, 8], expected [..., 7]"), "{text}");
}
