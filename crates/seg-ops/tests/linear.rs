//! The product with a weight matrix, and the activations.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device, Tensor};
use common::{assert_close, check_op, random, rounded, unaligned, values};
use seg_ops::{Activation, Epilogue, activate, composed, gelu, linear};

fn naive(x: &Tensor, w: &Tensor) -> Tensor {
    let (o, i) = w.dims2().unwrap();
    let mut dims = x.dims().to_vec();
    *dims.last_mut().unwrap() = o;
    let (x, w) = (values(x), values(w));
    let mut y = Vec::new();
    for row in x.chunks(i) {
        for filter in w.chunks(i) {
            y.push(row.iter().zip(filter).map(|(x, w)| x * w).sum::<f64>());
        }
    }
    Tensor::from_vec(y, dims, &Device::Cpu).unwrap()
}

#[test]
fn products() {
    for (x, o) in [(vec![5], 3), (vec![2, 3, 4], 5), (vec![1, 7, 9, 6], 33), (vec![130, 40], 70), (vec![3, 300], 400)] {
        let x = random(&x, 1);
        let w = random(&[o, x.dim(x.rank() - 1).unwrap()], 2);
        // the f32 bound of check_op is for short sums
        let w = (w / (x.dim(x.rank() - 1).unwrap() as f64).sqrt()).unwrap();
        check_op(&[x.clone(), w.clone()], &naive(&x, &w), &|t| linear(&t[0], &t[1], None, Epilogue::NONE), &|t| {
            composed::linear(&t[0], &t[1], None, Epilogue::NONE)
        });
    }
}

#[test]
fn epilogues() {
    let (x, w, b, s) = (random(&[3, 4, 6], 1), random(&[5, 6], 2), random(&[5], 3), random(&[5], 4));
    let r = random(&[3, 4, 5], 5);
    for activation in [Activation::None, Activation::Relu, Activation::Gelu, Activation::Sigmoid] {
        let y = naive(&x, &w).broadcast_add(&b).unwrap();
        let y: Vec<f64> = values(&y).into_iter().map(|v| reference(v, activation)).collect();
        let y = Tensor::from_vec(y, r.dims(), &Device::Cpu).unwrap();
        let expected = (y.broadcast_mul(&s).unwrap() + &r).unwrap();
        let inputs = [x.clone(), w.clone(), b.clone(), s.clone(), r.clone()];
        check_op(
            &inputs,
            &expected,
            &|t| linear(&t[0], &t[1], Some(&t[2]), Epilogue::act(activation).with_scale(&t[3]).with_residual(&t[4])),
            &|t| {
                composed::linear(
                    &t[0],
                    &t[1],
                    Some(&t[2]),
                    Epilogue::act(activation).with_scale(&t[3]).with_residual(&t[4]),
                )
            },
        );
    }
}

fn reference(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.),
        Activation::Gelu => 0.5 * x * candle_core::cpu::erf::erfc_f64(-x / 2f64.sqrt()),
        Activation::Sigmoid => 1. / (1. + (-x).exp()),
    }
}

#[test]
fn activations() {
    // not at 0, where ReLU has a corner
    let x = (random(&[3, 50], 9) * 4.).unwrap();
    for activation in [Activation::None, Activation::Relu, Activation::Gelu, Activation::Sigmoid] {
        let y: Vec<f64> = values(&x).into_iter().map(|v| reference(v, activation)).collect();
        let y = Tensor::from_vec(y, x.dims(), &Device::Cpu).unwrap();
        check_op(std::slice::from_ref(&x), &y, &|t| activate(&t[0], activation), &|t| {
            composed::activate(&t[0], activation)
        });
    }
}

/// The whole range of f32, densely where the curve bends.
#[test]
fn gelu_in_f32_is_within_a_millionth() {
    let mut x: Vec<f32> = (-600_000..600_000).map(|i| i as f32 * 2e-5).collect();
    x.extend([-1e30, -500., -88., -50., -20., 20., 88., 500., 1e30, f32::MIN_POSITIVE, 0., -0.]);
    let y = gelu(&Tensor::new(&x[..], &Device::Cpu).unwrap()).unwrap().to_vec1::<f32>().unwrap();
    for (x, y) in x.into_iter().zip(y) {
        let exact = reference(f64::from(x), Activation::Gelu);
        assert!((f64::from(y) - exact).abs() <= 1e-6_f64.max(exact.abs() * 2e-7), "gelu({x}) = {y}, not {exact}");
    }
}

/// The activation inside the product is written for vectors of its own: whole ones and parts.
#[test]
fn gelu_in_the_epilogue_is_within_a_millionth() {
    let mut x: Vec<f32> = (-12_000..12_000).map(|i| i as f32 * 1e-3).collect();
    x.extend([-1e30, -500., -88., -50., -20., 20., 88., 500., 1e30, f32::MIN_POSITIVE, 0., -0.]);
    let input = Tensor::new(&x[..], &Device::Cpu).unwrap().unsqueeze(1).unwrap();
    let ones = Tensor::ones((19, 1), DType::F32, &Device::Cpu).unwrap();
    let y = linear(&input, &ones, None, Epilogue::act(Activation::Gelu)).unwrap().to_vec2::<f32>().unwrap();
    for (x, row) in x.into_iter().zip(y) {
        let exact = reference(f64::from(x), Activation::Gelu);
        for y in row {
            assert!((f64::from(y) - exact).abs() <= 1e-6_f64.max(exact.abs() * 2e-7), "gelu({x}) = {y}, not {exact}");
        }
    }
}

#[test]
fn a_nan_stays_one_in_the_epilogue() {
    let x = Tensor::full(f32::NAN, (12, 1), &Device::Cpu).unwrap();
    let ones = Tensor::ones((19, 1), DType::F32, &Device::Cpu).unwrap();
    for activation in [Activation::None, Activation::Relu, Activation::Gelu, Activation::Sigmoid] {
        let y = linear(&x, &ones, None, Epilogue::act(activation)).unwrap().flatten_all().unwrap();
        assert!(y.to_vec1::<f32>().unwrap().iter().all(|y| y.is_nan()), "{activation:?}");
    }
}

#[test]
fn gelu_in_f64_is_exact() {
    let x = (random(&[1000], 3) * 10.).unwrap();
    let y = values(&gelu(&x).unwrap());
    for (x, y) in values(&x).into_iter().zip(y) {
        assert!((y - reference(x, Activation::Gelu)).abs() < 1e-14);
    }
}

#[test]
fn nan_and_corners() {
    let x = Tensor::new(&[f32::NAN, 0., -1.], &Device::Cpu).unwrap();
    for activation in [Activation::Relu, Activation::Gelu, Activation::Sigmoid] {
        for y in [activate(&x, activation).unwrap(), composed::activate(&x, activation).unwrap()] {
            let y = y.to_vec1::<f32>().unwrap();
            assert!(y[0].is_nan() && y[1..].iter().all(|y| !y.is_nan()), "{activation:?}: {y:?}");
        }
    }
    // PyTorch's gradient of ReLU at 0 is 0
    let zero = [Tensor::zeros(3, DType::F64, &Device::Cpu).unwrap()];
    for g in [
        common::gradients(&zero, &|t| activate(&t[0], Activation::Relu)),
        common::gradients(&zero, &|t| composed::activate(&t[0], Activation::Relu)),
    ] {
        assert_eq!(values(&g[0]), [0.; 3]);
    }
}

#[test]
fn empty_and_one() {
    let w = random(&[4, 3], 1);
    for shape in [vec![0, 3], vec![2, 0, 3], vec![1, 1, 3], vec![3]] {
        let x = random(&shape, 2);
        let y = linear(&x, &w, Some(&random(&[4], 3)), Epilogue::NONE).unwrap();
        assert_close(&y, &composed::linear(&x, &w, Some(&random(&[4], 3)), Epilogue::NONE).unwrap(), 1e-12, "empty");
    }
}

#[test]
fn refusals_name_the_cause() {
    let w = random(&[4, 3], 1);
    let text = linear(&random(&[2, 5], 1), &w, None, Epilogue::NONE).unwrap_err().to_string();
    assert!(text.contains("linear: `x` has shape [2, 5]") && text.contains("[..., 3]"), "{text}");
    let text = linear(&random(&[2, 3], 1), &w, Some(&random(&[3], 1)), Epilogue::NONE).unwrap_err().to_string();
    assert!(text.contains("`bias`") && text.contains("[4]"), "{text}");
    let text = gelu(&Tensor::new(&[1u32], &Device::Cpu).unwrap()).unwrap_err().to_string();
    assert!(text.contains("U32"), "{text}");
}

/// Large enough for several tasks, by rows and by columns.
#[test]
fn blocks_join() {
    for (rows, outputs) in [(700, 33), (20, 1000), (1, 9000)] {
        let inputs = [
            random(&[rows, 24], 1),
            random(&[outputs, 24], 2),
            random(&[outputs], 3),
            random(&[outputs], 4),
            random(&[rows, outputs], 5),
        ];
        let e = |t: &[Tensor], f: &dyn Fn(Epilogue<'_>) -> candle_core::Result<Tensor>| {
            f(Epilogue::act(Activation::Gelu).with_scale(&t[3]).with_residual(&t[4]))
        };
        let fused = e(&inputs, &|e| linear(&inputs[0], &inputs[1], Some(&inputs[2]), e)).unwrap();
        let composed = e(&inputs, &|e| composed::linear(&inputs[0], &inputs[1], Some(&inputs[2]), e)).unwrap();
        assert_close(&fused, &composed, 1e-11, "fused epilogue");
        // with gradients the epilogue is applied step by step
        let a = common::gradients(&inputs, &|t| e(t, &|e| linear(&t[0], &t[1], Some(&t[2]), e)));
        let b = common::gradients(&inputs, &|t| e(t, &|e| composed::linear(&t[0], &t[1], Some(&t[2]), e)));
        for (a, b) in a.iter().zip(&b) {
            assert_close(a, b, 1e-9, "gradient");
        }
    }
}

/// The f32 tiles: sizes that leave rests of rows, columns and depth, forward and backward.
#[test]
fn odd_sizes_in_f32() {
    let sizes = [
        (12, 1, 1),
        (13, 5, 16),
        (97, 300, 17),
        (25, 257, 33),
        (193, 64, 273),
        (12, 7, 600),
        (211, 513, 31),
        (650, 450, 310),
    ];
    for (rows, inputs, outputs) in sizes {
        let wide = [
            random(&[rows, inputs], 1),
            (random(&[outputs, inputs], 2) / (inputs as f64).sqrt()).unwrap(),
            random(&[outputs], 3),
        ];
        let narrow: Vec<Tensor> = wide.iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect();
        let f = |t: &[Tensor]| linear(&t[0], &t[1], Some(&t[2]), Epilogue::act(Activation::Gelu));
        let what = format!("{rows} × {inputs} → {outputs}");
        assert_close(&f(&narrow).unwrap(), &f(&wide).unwrap(), 5e-6, &what);
        for (a, b) in common::gradients(&narrow, &f).iter().zip(common::gradients(&wide, &f)) {
            assert_close(a, &b, 2e-5, &format!("gradient of {what}"));
        }
    }
}

/// So many rows that a task has all columns, where rows are copied: those a power of two apart forward, the outputs' going back.
#[test]
fn tall_products() {
    for (rows, inputs, outputs) in
        [(640, 512, 1), (641, 512, 49), (700, 1024, 31), (653, 513, 50), (15, 9, 700), (13, 1, 641)]
    {
        let x = rounded(&random(&[rows, inputs], 1));
        let w = rounded(&(random(&[outputs, inputs], 2) / (inputs as f64).sqrt()).unwrap());
        let g = random(&[rows, outputs], 4242);
        let f = |t: &[Tensor]| linear(&t[0], &t[1], None, Epilogue::NONE);
        let inputs = [unaligned(&x), unaligned(&w)];
        let what = format!("{rows} rows, {:?}", w.dims());
        assert_close(&f(&inputs).unwrap(), &naive(&x, &w), 5e-6, &what);
        let got = common::gradients(&inputs, &f);
        assert_close(&got[0], &naive(&g, &w.t().unwrap()), 2e-5, &format!("gradient of the rows, {what}"));
        let dw = naive(&g.t().unwrap(), &x.t().unwrap());
        assert_close(&got[1], &dw, 2e-5, &format!("gradient of the weight, {what}"));
    }
}
