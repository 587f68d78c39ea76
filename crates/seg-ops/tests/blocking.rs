//! Sizes around what the kernels cut their work by, and the same bits for any number of threads.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Result, Tensor};
use common::{assert_close, gradients, random};
use seg_ops::{Conv2dParams, Epilogue, Layout, Pool2dParams, Resize, composed};

type Op<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

fn narrow(inputs: &[Tensor]) -> Vec<Tensor> {
    inputs.iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect()
}

/// Value and gradients in f32 against `reference` in f64.
#[track_caller]
fn check(inputs: &[Tensor], f: Op<'_>, reference: Op<'_>, tolerance: f64, what: &str) {
    let narrow = narrow(inputs);
    // on what f32 made of the inputs
    let exact: Vec<Tensor> = narrow.iter().map(|t| t.to_dtype(DType::F64).unwrap()).collect();
    assert_close(&f(&narrow).unwrap(), &reference(&exact).unwrap(), tolerance, what);
    for (i, (a, b)) in gradients(&narrow, f).iter().zip(gradients(&exact, reference)).enumerate() {
        assert_close(a, &b, 20. * tolerance, &format!("{what}, gradient {i}"));
    }
}

fn depthwise(c: usize, (h, w): (usize, usize), k: usize, stride: usize, padding: usize, dilation: usize) {
    let weight = random(&[c, 1, k, k], 2);
    for (layout, shape) in [(Layout::Nchw, [2, c, h, w]), (Layout::Nhwc, [2, h, w, c])] {
        let p = Conv2dParams { stride, padding, dilation, groups: c, layout };
        check(
            &[random(&shape, 1), weight.clone(), random(&[c], 3)],
            &|t| seg_ops::conv2d(&t[0], &t[1], Some(&t[2]), &p, Epilogue::NONE),
            &|t| composed::conv2d(&t[0], &t[1], Some(&t[2]), &p, Epilogue::NONE),
            1e-5,
            &format!(
                "{layout:?} {c} channels {h}×{w} kernel {k} stride {stride} padding {padding} dilation {dilation}"
            ),
        );
    }
}

#[test]
fn depthwise_channels() {
    for c in [1, 3, 7, 8, 15, 16, 17, 28, 33, 48, 70] {
        depthwise(c, (9, 11), 3, 1, 1, 1);
        depthwise(c, (6, 10), 3, 2, 1, 1);
    }
}

#[test]
fn depthwise_sizes() {
    for (h, w) in [(1, 1), (1, 7), (3, 2), (4, 15), (5, 16), (8, 17), (13, 35), (16, 64)] {
        for c in [1, 7, 20, 32] {
            depthwise(c, (h, w), 7, 1, 3, 1);
            depthwise(c, (h, w), 5, 1, 2, 1);
        }
    }
}

#[test]
fn depthwise_reach() {
    for c in [2, 16, 40] {
        // no padding, more than the kernel reaches, dilation, strides that leave columns over
        depthwise(c, (10, 12), 3, 1, 0, 1);
        depthwise(c, (5, 6), 3, 1, 3, 1);
        depthwise(c, (12, 14), 3, 1, 2, 2);
        depthwise(c, (11, 13), 5, 3, 2, 2);
        depthwise(c, (7, 9), 2, 1, 1, 1);
        depthwise(c, (8, 8), 1, 1, 0, 1);
    }
}

/// Several bands of a plane, and rows of many vectors.
#[test]
fn depthwise_bands() {
    depthwise(2, (70, 1100), 3, 1, 1, 1);
    depthwise(3, (90, 600), 3, 2, 1, 1);
}

#[test]
fn rows_of_all_lengths() {
    for n in [1, 2, 7, 15, 16, 17, 31, 32, 33, 47, 48, 49, 65, 100, 196, 768] {
        let x = random(&[5, n], 1).affine(3., 0.5).unwrap();
        let (w, b) = (random(&[n], 2), random(&[n], 3));
        check(
            std::slice::from_ref(&x),
            &|t| seg_ops::softmax(&t[0]),
            &|t| composed::softmax(&t[0]),
            1e-6,
            &format!("softmax of {n}"),
        );
        if n > 2 {
            check(
                &[x, w, b],
                &|t| seg_ops::layer_norm(&t[0], &t[1], Some(&t[2]), 1e-5),
                &|t| composed::layer_norm(&t[0], &t[1], Some(&t[2]), 1e-5),
                1e-5,
                &format!("LayerNorm of {n}"),
            );
        }
    }
}

#[test]
fn antialiased_taps() {
    for (from, to) in [((40, 50), (31, 33)), ((60, 90), (20, 21)), ((97, 130), (12, 9)), ((30, 30), (29, 61))] {
        for r in [Resize::bilinear().antialiased(), Resize::bicubic().antialiased()] {
            check(
                &[random(&[1, 2, from.0, from.1], 1)],
                &|t| seg_ops::resize(&t[0], to, &r),
                &|t| composed::resize(&t[0], to, &r),
                1e-5,
                &format!("{from:?} to {to:?}"),
            );
        }
    }
}

/// The bits of a value and of its gradients.
fn bits(inputs: &[Tensor], f: Op<'_>) -> Vec<Vec<u32>> {
    let inputs = narrow(inputs);
    let mut all = gradients(&inputs, f);
    all.push(f(&inputs).unwrap());
    all.iter()
        .map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect())
        .collect()
}

fn same_for_all_threads(what: &str, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor> + Sync) {
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| bits(inputs, &f))
    };
    let one = with(1);
    for threads in [2, 7] {
        assert!(one == with(threads), "{what}: {threads} threads");
    }
}

#[test]
fn threads_change_nothing() {
    let wide = random(&[700, 100], 1);
    let (w, b) = (random(&[100], 2), random(&[100], 3));
    same_for_all_threads("LayerNorm", &[wide.clone(), w, b], |t| seg_ops::layer_norm(&t[0], &t[1], Some(&t[2]), 1e-6));
    let (large, w, b) = (random(&[2101, 1000], 1), random(&[1000], 2), random(&[1000], 3));
    same_for_all_threads("large LayerNorm", &[large, w, b], |t| seg_ops::layer_norm(&t[0], &t[1], Some(&t[2]), 1e-6));
    same_for_all_threads("softmax", std::slice::from_ref(&wide), |t| seg_ops::softmax(&t[0]));
    same_for_all_threads("GELU", std::slice::from_ref(&wide), |t| seg_ops::gelu(&t[0]));
    // each task with panels of its own, and with panels that all share
    for (rows, inputs, outputs) in [(190, 390, 310), (900, 130, 100)] {
        let inputs = [random(&[rows, inputs], 1), random(&[outputs, inputs], 2), random(&[outputs], 3)];
        let gelu = Epilogue::act(seg_ops::Activation::Gelu);
        same_for_all_threads("linear", &inputs, |t| seg_ops::linear(&t[0], &t[1], Some(&t[2]), gelu));
    }
    let map = random(&[2, 20, 50, 40], 1);
    let (w, b) = (random(&[20], 2), random(&[20], 3));
    same_for_all_threads("LayerNorm2d", &[map.clone(), w, b], |t| seg_ops::layer_norm_2d(&t[0], &t[1], &t[2], 1e-6));
    same_for_all_threads("resize", std::slice::from_ref(&map), |t| {
        seg_ops::resize(&t[0], (90, 110), &Resize::bicubic())
    });
    let p = Pool2dParams { kernel: 2, stride: 2, padding: 0, ceil_mode: true, layout: Layout::Nchw };
    same_for_all_threads("max pool", std::slice::from_ref(&map), |t| seg_ops::max_pool2d(&t[0], &p));
    for (layout, c) in [(Layout::Nchw, 20), (Layout::Nhwc, 40)] {
        let p = Conv2dParams { stride: 1, padding: 1, dilation: 1, groups: c, layout };
        let inputs = [map.clone(), random(&[c, 1, 3, 3], 2), random(&[c], 3)];
        same_for_all_threads("depthwise", &inputs, |t| seg_ops::conv2d(&t[0], &t[1], Some(&t[2]), &p, Epilogue::NONE));
    }
}
