//! The one operation against the three that it is made of.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Result, Tensor, Var};
use common::{assert_close, assert_same_gradients, gradcheck, partly, random, values};
use seg_ops::{
    Activation, AllReduce, Conv2dParams, ConvBatchNorm, Epilogue, Layout, Threads, batch_norm, conv_batch_norm, conv2d,
    resize_concat,
};
use std::sync::Arc;

const EPS: f64 = 1e-3;

fn params(padding: usize, stride: usize, dilation: usize) -> Conv2dParams {
    Conv2dParams { stride, padding, dilation, groups: 1, layout: Layout::Nhwc }
}

/// Map, weight, gamma, beta, bias, then a second map and a residual.
fn inputs(outputs: usize, channels: [usize; 2], kernel: usize, out: (usize, usize)) -> Vec<Tensor> {
    let [c, d] = channels;
    vec![
        random(&[2, 3, 4, c], 1),
        random(&[outputs, c + d, kernel, kernel], 2),
        (random(&[outputs], 3) + 1.5).unwrap(),
        random(&[outputs], 4),
        random(&[outputs], 5),
        random(&[2, 6, 7, d.max(1)], 6),
        random(&[2, out.0, out.1, outputs], 7),
    ]
}

fn fused(t: &[Tensor], p: &Conv2dParams, activation: Activation, parts: [bool; 3]) -> Result<Tensor> {
    let [bias, skip, residual] = parts;
    let epilogue = Epilogue { activation, scale: None, residual: residual.then_some(&t[6]) };
    let (bias, skip) = (bias.then_some(&t[4]), skip.then_some(&t[5]));
    let c =
        ConvBatchNorm { weight: &t[1], bias, gamma: &t[2], beta: &t[3], eps: EPS, params: p, epilogue, across: None };
    // what takes no part is added, so that every input has a gradient
    let rest = (t[4].sum_all()? + (t[5].sum_all()? + t[6].sum_all()?)?)?;
    conv_batch_norm(&t[0], skip, &c)?.output.broadcast_add(&rest)
}

fn stepwise(t: &[Tensor], p: &Conv2dParams, activation: Activation, parts: [bool; 3]) -> Result<Tensor> {
    let [bias, skip, residual] = parts;
    let map = if skip { resize_concat(&t[0], &t[5])? } else { t[0].clone() };
    let y = conv2d(&map, &t[1], bias.then_some(&t[4]), p, Epilogue::NONE)?;
    let y = seg_ops::activate(&batch_norm(&y, &t[2], &t[3], EPS)?.output, activation)?;
    let y = if residual { (y + &t[6])? } else { y };
    let rest = (t[4].sum_all()? + (t[5].sum_all()? + t[6].sum_all()?)?)?;
    y.broadcast_add(&rest)
}

#[test]
fn values_and_gradients() {
    for (kernel, p, skip, out) in [
        (3, params(1, 1, 1), false, (3, 4)),
        (3, params(1, 1, 1), true, (6, 7)),
        (3, params(2, 1, 2), true, (6, 7)),
        (1, params(0, 1, 1), false, (3, 4)),
        (3, params(1, 2, 1), false, (2, 2)),
    ] {
        for activation in [Activation::None, Activation::Relu] {
            for (bias, residual) in [(true, true), (false, false)] {
                let t = inputs(5, if skip { [3, 2] } else { [3, 0] }, kernel, out);
                let parts = [bias, skip, residual];
                let f = |t: &[Tensor]| fused(t, &p, activation, parts);
                assert_close(&f(&t).unwrap(), &stepwise(&t, &p, activation, parts).unwrap(), 1e-12, "values");
                gradcheck(&t, &f);
            }
        }
    }
}

/// The gradients of what is tracked are the same numbers in f32, whatever else is frozen; nobody else gets one.
#[test]
fn frozen_parts_get_none() {
    let p = params(1, 1, 1);
    let t: Vec<Tensor> = inputs(16, [13, 3], 3, (6, 7)).iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect();
    for tracked in [0b111_1111, 0b000_1110, 0b010_0000, 0b000_0001, 0b100_0010] {
        let (_, got) = partly(&t, tracked, &|t| fused(t, &p, Activation::Relu, [true; 3]));
        let (_, expected) = partly(&t, tracked, &|t| stepwise(t, &p, Activation::Relu, [true; 3]));
        assert_same_gradients(&got, &expected, tracked, 1e-5);
    }
}

#[test]
fn the_same_graph_twice() {
    let p = params(1, 1, 1);
    let t = inputs(5, [3, 2], 3, (6, 7));
    let vars: Vec<Var> = t.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let loss = fused(&tensors, &p, Activation::Relu, [true; 3]).unwrap().sqr().unwrap().sum_all().unwrap();
    let (first, second) = (loss.backward().unwrap(), loss.backward().unwrap());
    for v in &vars {
        assert_eq!(values(first.get(v).unwrap()), values(second.get(v).unwrap()));
    }
}

/// Two processes with half of the batch each: statistics and gradients of the whole.
#[test]
fn across_processes() {
    const P: Conv2dParams = Conv2dParams { stride: 1, padding: 1, dilation: 1, groups: 1, layout: Layout::Nhwc };
    fn of(t: &[Tensor], across: Option<&Arc<dyn AllReduce>>) -> (Tensor, f64, Vec<Tensor>) {
        let vars: Vec<Var> = t.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
        let epilogue = Epilogue::act(Activation::Relu);
        let (weight, gamma, beta) = (vars[1].as_tensor(), vars[2].as_tensor(), vars[3].as_tensor());
        let c = ConvBatchNorm { weight, bias: None, gamma, beta, eps: EPS, params: &P, epilogue, across };
        let normed = conv_batch_norm(&vars[0], Some(&vars[5]), &c).unwrap();
        let grads = normed.output.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let gradients: Vec<Tensor> = vars[..4].iter().map(|v| grads.get(v).unwrap().clone()).collect();
        (normed.mean, normed.count, gradients)
    }
    let t = inputs(5, [3, 2], 3, (6, 7));
    let (mean, count, whole) = of(&t, None);
    let parts: Vec<_> = Threads::group(2)
        .into_iter()
        .enumerate()
        .map(|(rank, group)| {
            let mut half = t.clone();
            for i in [0, 5] {
                half[i] = t[i].narrow(0, rank, 1).unwrap().contiguous().unwrap();
            }
            std::thread::spawn(move || of(&half, Some(&group)))
        })
        .collect();
    let parts: Vec<_> = parts.into_iter().map(|thread| thread.join().unwrap()).collect();
    for (rank, part) in parts.iter().enumerate() {
        assert_close(&part.0, &mean, 1e-12, "mean");
        assert_eq!(part.1, count);
        assert_close(&part.2[0], &whole[0].narrow(0, rank, 1).unwrap(), 1e-11, "gradient of the map");
    }
    let weights = parts[0].2.iter().zip(&parts[1].2).zip(&whole).skip(1);
    for ((a, b), whole) in weights {
        assert_close(&(a + b).unwrap(), whole, 1e-11, "gradient of a weight");
    }
}

#[test]
fn refusals_name_the_cause() {
    let p = params(1, 1, 1);
    let t = inputs(5, [3, 0], 3, (3, 4));
    let with = |weight: &Tensor, gamma: &Tensor, skip: Option<&Tensor>| {
        let c = ConvBatchNorm {
            weight,
            bias: None,
            gamma,
            beta: &t[3],
            eps: EPS,
            params: &p,
            epilogue: Epilogue::NONE,
            across: None,
        };
        conv_batch_norm(&t[0], skip, &c).unwrap_err().to_string()
    };
    let text = with(&random(&[5, 4, 3, 3], 1), &t[2], None);
    assert!(text.contains("conv_batch_norm: `x` has shape [2, 3, 4, 3], expected 4 channels"), "{text}");
    let text = with(&t[1], &random(&[4], 1), None);
    assert!(text.contains("`gamma` has shape [4], expected [5]"), "{text}");
    let text = with(&t[1], &t[2], Some(&random(&[1, 6, 7, 1], 1)));
    assert!(text.contains("`skip` has shape [1, 6, 7, 1], expected [2, H, W, D]"), "{text}");
}
