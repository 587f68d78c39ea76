//! Batch normalisation with the batch's own statistics.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device, Tensor};
use common::{assert_close, check_op, random, values};
use seg_ops::{batch_norm, composed};

/// Two passes over each channel.
fn naive(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> [Tensor; 3] {
    let c = weight.elem_count();
    let (data, weight, bias) = (values(x), values(weight), values(bias));
    let n = (data.len() / c) as f64;
    let mean: Vec<f64> = (0..c).map(|c0| data.iter().skip(c0).step_by(c).sum::<f64>() / n).collect();
    let variance: Vec<f64> =
        (0..c).map(|c0| data.iter().skip(c0).step_by(c).map(|v| (v - mean[c0]).powi(2)).sum::<f64>() / n).collect();
    let y: Vec<f64> = data
        .iter()
        .enumerate()
        .map(|(i, v)| (v - mean[i % c]) / (variance[i % c] + eps).sqrt() * weight[i % c] + bias[i % c])
        .collect();
    let vector = |v: Vec<f64>| Tensor::from_vec(v, c, &Device::Cpu).unwrap();
    [Tensor::from_vec(y, x.dims(), &Device::Cpu).unwrap(), vector(mean), vector(variance)]
}

#[test]
fn statistics_values_and_gradients() {
    for dims in [&[2, 3, 5, 4][..], &[7, 9], &[1, 1, 2, 3], &[3, 40, 20, 2]] {
        let c = dims[dims.len() - 1];
        let inputs = [((random(dims, 1) * 2.).unwrap() + 0.5).unwrap(), random(&[c], 2), random(&[c], 3)];
        let [y, mean, variance] = naive(&inputs[0], &inputs[1], &inputs[2], 1e-3);
        check_op(&inputs, &y, &|t| Ok(batch_norm(&t[0], &t[1], &t[2], 1e-3)?.output), &|t| {
            Ok(composed::batch_norm(&t[0], &t[1], &t[2], 1e-3)?.output)
        });
        for f in [batch_norm, composed::batch_norm] {
            let normed = f(&inputs[0], &inputs[1], &inputs[2], 1e-3).unwrap();
            assert_close(&normed.mean, &mean, 1e-12, "mean");
            assert_close(&normed.variance, &variance, 1e-12, "variance");
        }
    }
}

#[test]
fn a_large_mean_does_not_drown_the_variance() {
    let x = (random(&[4000, 2], 1) + 1000.).unwrap();
    let [ones, zeros] = [Tensor::ones(2, DType::F64, &Device::Cpu), Tensor::zeros(2, DType::F64, &Device::Cpu)];
    let [ones, zeros] = [ones.unwrap(), zeros.unwrap()];
    let narrow = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
    let exact = naive(&narrow(&x), &ones, &zeros, 0.);
    let normed = batch_norm(&narrow(&x), &narrow(&ones), &narrow(&zeros), 0.).unwrap();
    assert_close(&normed.variance, &exact[2], 1e-5, "variance");
}

#[test]
fn refusals_name_the_cause() {
    let (x, c) = (random(&[1, 1, 1, 3], 1), random(&[3], 2));
    let text = batch_norm(&x, &c, &c, 1e-5).unwrap_err().to_string();
    assert!(text.contains("batch_norm: `x` has shape [1, 1, 1, 3]") && text.contains("two elements"), "{text}");
    let text = batch_norm(&random(&[2, 4], 1), &c, &c, 1e-5).unwrap_err().to_string();
    assert!(text.contains("`weight` has shape [3], expected [4]"), "{text}");
    let text = batch_norm(&random(&[2, 3], 1), &c, &c, -1.).unwrap_err().to_string();
    assert!(text.contains("`eps` is -1"), "{text}");
}
