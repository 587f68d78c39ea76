//! Layer normalisation and softmax.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device, Tensor};
use common::{assert_close, check_op, random, rounded, unaligned, values};
use seg_ops::{composed, layer_norm, layer_norm_2d, softmax};

fn naive_norm(x: &Tensor, w: &Tensor, b: Option<&Tensor>, eps: f64) -> Tensor {
    let c = w.elem_count();
    let (w, b) = (values(w), b.map(values).unwrap_or_else(|| vec![0.; c]));
    let mut y = Vec::new();
    for row in values(x).chunks(c) {
        let mean = row.iter().sum::<f64>() / c as f64;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / c as f64;
        y.extend(row.iter().enumerate().map(|(i, x)| (x - mean) / (variance + eps).sqrt() * w[i] + b[i]));
    }
    Tensor::from_vec(y, x.dims(), &Device::Cpu).unwrap()
}

#[test]
fn layer_norms() {
    for shape in [vec![5], vec![3, 16], vec![2, 3, 4, 7], vec![300, 70], vec![2, 1]] {
        let x = random(&shape, 1).affine(3., 1.).unwrap();
        let c = *shape.last().unwrap();
        let (w, b) = (random(&[c], 2), random(&[c], 3));
        check_op(
            &[x.clone(), w.clone(), b.clone()],
            &naive_norm(&x, &w, Some(&b), 1e-2),
            &|t| layer_norm(&t[0], &t[1], Some(&t[2]), 1e-2),
            &|t| composed::layer_norm(&t[0], &t[1], Some(&t[2]), 1e-2),
        );
        check_op(
            &[x.clone(), w.clone()],
            &naive_norm(&x, &w, None, 1e-2),
            &|t| layer_norm(&t[0], &t[1], None, 1e-2),
            &|t| composed::layer_norm(&t[0], &t[1], None, 1e-2),
        );
    }
}

/// Outputs that are written past the caches, and one whose rows do not allow it.
#[test]
fn large_maps_in_f32() {
    for (rows, c) in [(2101, 1000), (2100, 1001), (70_001, 30), (65_537, 36)] {
        let (x, w, b) = (rounded(&random(&[rows, c], 1)), rounded(&random(&[c], 2)), rounded(&random(&[c], 3)));
        let y = layer_norm(&unaligned(&x), &unaligned(&w), Some(&unaligned(&b)), 1e-3).unwrap();
        assert_close(&y, &naive_norm(&x, &w, Some(&b), 1e-3), 1e-5, &format!("{rows} × {c}"));
    }
}

#[test]
fn channel_norms() {
    for (b, c, h, w) in [(2, 3, 4, 5), (1, 20, 1, 7), (3, 1, 2, 2), (2, 6, 20, 19)] {
        let x = random(&[b, c, h, w], 1).affine(2., -0.5).unwrap();
        let (weight, bias) = (random(&[c], 2), random(&[c], 3));
        let last = x.permute((0, 2, 3, 1)).unwrap();
        let expected = naive_norm(&last, &weight, Some(&bias), 1e-2).permute((0, 3, 1, 2)).unwrap();
        check_op(&[x, weight, bias], &expected, &|t| layer_norm_2d(&t[0], &t[1], &t[2], 1e-2), &|t| {
            composed::layer_norm_2d(&t[0], &t[1], &t[2], 1e-2)
        });
    }
}

/// A large mean must not eat the variance.
#[test]
fn large_mean_in_f32() {
    let x = (random(&[4, 96], 1) + 1000.).unwrap().to_dtype(DType::F32).unwrap();
    let (w, b) = (random(&[96], 2).to_dtype(DType::F32).unwrap(), random(&[96], 3).to_dtype(DType::F32).unwrap());
    let y = layer_norm(&x, &w, Some(&b), 1e-6).unwrap();
    assert_close(&y, &naive_norm(&x, &w, Some(&b), 1e-6), 5e-4, "large mean");
}

#[test]
fn softmaxes() {
    for shape in [vec![7], vec![2, 3, 5], vec![40, 33], vec![4, 1], vec![300, 130]] {
        let x = (random(&shape, 1) * 5.).unwrap();
        let n = *shape.last().unwrap();
        let mut y = Vec::new();
        for row in values(&x).chunks(n) {
            let sum: f64 = row.iter().map(|x| x.exp()).sum();
            y.extend(row.iter().map(|x| x.exp() / sum));
        }
        let y = Tensor::from_vec(y, shape, &Device::Cpu).unwrap();
        check_op(&[x], &y, &|t| softmax(&t[0]), &|t| composed::softmax(&t[0]));
    }
}

#[test]
fn softmax_of_extremes() {
    let x =
        Tensor::new(&[[1e30f32, 0., -1e30], [f32::NEG_INFINITY, 3., 3.], [-2e4, -2e4, -2e4]], &Device::Cpu).unwrap();
    let y = softmax(&x).unwrap().to_vec2::<f32>().unwrap();
    assert_eq!(y[0], [1., 0., 0.]);
    assert_eq!(y[1], [0., 0.5, 0.5]);
    assert!(y[2].iter().all(|y| (y - 1. / 3.).abs() < 1e-7));
    let nan = softmax(&Tensor::new(&[f32::NAN, 1.], &Device::Cpu).unwrap()).unwrap().to_vec1::<f32>().unwrap();
    assert!(nan[0].is_nan());
}

#[test]
fn empty() {
    let x = random(&[0, 4], 1);
    let (w, b) = (random(&[4], 2), random(&[4], 3));
    assert_eq!(layer_norm(&x, &w, Some(&b), 1e-6).unwrap().dims(), [0, 4]);
    assert_eq!(softmax(&x).unwrap().dims(), [0, 4]);
    assert_eq!(layer_norm_2d(&random(&[0, 4, 3, 3], 1), &w, &b, 1e-6).unwrap().dims(), [0, 4, 3, 3]);
    assert_eq!(layer_norm_2d(&random(&[1, 4, 0, 3], 1), &w, &b, 1e-6).unwrap().dims(), [1, 4, 0, 3]);
}

#[test]
fn refusals_name_the_cause() {
    let x = random(&[2, 4], 1);
    let text = layer_norm(&x, &random(&[5], 1), None, 1e-6).unwrap_err().to_string();
    assert!(text.contains("layer_norm: `weight` has shape [5], expected [4]"), "{text}");
    let text = layer_norm(&x, &random(&[4], 1), None, -1.).unwrap_err().to_string();
    assert!(text.contains("eps") && text.contains("-1"), "{text}");
    let text = layer_norm_2d(&x, &random(&[4], 1), &random(&[4], 1), 1e-6).unwrap_err().to_string();
    assert!(text.contains("[B, C, H, W]"), "{text}");
}
