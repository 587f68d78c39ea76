//! Cross-entropy of probabilities against its definition.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device, Tensor, Var};
use common::{check_op, random, values};
use seg_ops::{binary_cross_entropy, composed};

#[test]
fn values_and_gradients() {
    for dims in [&[7][..], &[2, 1, 5, 6], &[1, 1, 150, 130]] {
        let p = random(dims, 1).affine(0.49, 0.5).unwrap();
        let target = random(dims, 2).affine(0.5, 0.5).unwrap();
        let sum: f64 =
            values(&p).iter().zip(values(&target)).map(|(p, t)| -(t * p.ln() + (1. - t) * (1. - p).ln())).sum();
        let expected = Tensor::new(sum / p.elem_count() as f64, &Device::Cpu).unwrap();
        let of = |t: &Tensor| target.to_dtype(t.dtype()).unwrap();
        check_op(&[p], &expected, &|t| binary_cross_entropy(&t[0], &of(&t[0])), &|t| {
            composed::binary_cross_entropy(&t[0], &of(&t[0]))
        });
    }
}

/// As torch's: a logarithm is −100 at least, a NaN stays one.
#[test]
fn saturated_probabilities() {
    let p = Var::new(&[0f32, 1., 0., 1.], &Device::Cpu).unwrap();
    let target = Tensor::new(&[0f32, 1., 1., 0.], &Device::Cpu).unwrap();
    let loss = binary_cross_entropy(&p, &target).unwrap();
    assert_eq!(loss.to_scalar::<f32>().unwrap(), 50.);
    let grads = loss.backward().unwrap();
    assert_eq!(grads.get(&p).unwrap().to_vec1::<f32>().unwrap(), [0., 0., -0.25e12, 0.25e12]);
    let nan = Tensor::new(&[0.5f32, f32::NAN, 0.5, 0.5], &Device::Cpu).unwrap();
    assert!(binary_cross_entropy(&nan, &target).unwrap().to_scalar::<f32>().unwrap().is_nan());
}

#[test]
fn refusals_name_the_cause() {
    let p = random(&[2, 3], 1);
    let text = binary_cross_entropy(&p, &random(&[3, 2], 1)).unwrap_err().to_string();
    assert!(text.contains("binary_cross_entropy: `target` has shape [3, 2], expected [2, 3]"), "{text}");
    let narrow = random(&[2, 3], 1).to_dtype(DType::F32).unwrap();
    assert!(binary_cross_entropy(&p, &narrow).unwrap_err().to_string().contains("target"));
}
