//! The fast kernels of convolution, each at sizes that do not divide its blocks, against the composition in f64.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Tensor};
use common::{assert_close, gradients, random, rounded, unaligned, values};
use seg_ops::{Activation, Conv2dParams, ConvTranspose2dParams, Epilogue, Layout, composed, conv_transpose2d, conv2d};

fn to_layout(t: &Tensor, layout: Layout) -> Tensor {
    match layout {
        Layout::Nchw => t.clone(),
        Layout::Nhwc => t.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap(),
    }
}

fn params(stride: usize, padding: usize, dilation: usize, groups: usize) -> Conv2dParams {
    Conv2dParams { stride, padding, dilation, groups, layout: Layout::Nchw }
}

/// Value in f64 and f32 with the whole epilogue, and the gradients, in both layouts.
fn check(x: [usize; 4], weight: [usize; 4], p: Conv2dParams) {
    let depth = (weight[1] * weight[2] * weight[3]) as f64;
    let (x, w) = (random(&x, 1), (random(&weight, 2) / depth.sqrt()).unwrap());
    let (bias, scale) = (random(&[weight[0]], 3), random(&[weight[0]], 4));
    let plain = composed::conv2d(&x, &w, None, &p, Epilogue::NONE).unwrap();
    let residual = random(plain.dims(), 5);
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let p = Conv2dParams { layout, ..p };
        let what = format!("{:?} {:?} {p:?}", x.dims(), w.dims());
        let inputs = [to_layout(&x, layout), w.clone(), bias.clone(), scale.clone(), to_layout(&residual, layout)];
        let e = |t: &[Tensor]| -> [Tensor; 2] { [t[3].clone(), t[4].clone()] };
        let fast = |t: &[Tensor]| {
            let [scale, residual] = &e(t);
            let e = Epilogue::act(Activation::Gelu).with_scale(scale).with_residual(residual);
            conv2d(&t[0], &t[1], Some(&t[2]), &p, e)
        };
        let slow = |t: &[Tensor]| {
            let [scale, residual] = &e(t);
            let e = Epilogue::act(Activation::Gelu).with_scale(scale).with_residual(residual);
            composed::conv2d(&t[0], &t[1], Some(&t[2]), &p, e)
        };
        let y = conv2d(&inputs[0], &w, None, &p, Epilogue::NONE).unwrap();
        assert_close(&y, &to_layout(&plain, layout), 1e-10, &format!("plain {what}"));
        let expected = slow(&inputs).unwrap();
        assert_close(&fast(&inputs).unwrap(), &expected, 1e-10, &what);
        let narrow: Vec<Tensor> = inputs.iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect();
        assert_close(&fast(&narrow).unwrap(), &expected, 5e-6, &format!("f32 {what}"));
        let exact = gradients(&inputs, &slow);
        for (i, (a, b)) in gradients(&inputs, &fast).iter().zip(&exact).enumerate() {
            assert_close(a, b, 1e-9, &format!("gradient {i} {what}"));
        }
        for (i, (a, b)) in gradients(&narrow, &fast).iter().zip(&exact).enumerate() {
            assert_close(a, b, 5e-5, &format!("f32 gradient {i} {what}"));
        }
    }
}

#[test]
fn three_by_three() {
    check([2, 17, 9, 11], [19, 17, 3, 3], params(1, 1, 1, 1));
    check([1, 33, 70, 6], [40, 33, 3, 3], params(1, 0, 1, 1));
    check([1, 16, 5, 67], [12, 16, 3, 3], params(1, 2, 1, 1));
    check([1, 64, 18, 17], [66, 64, 3, 3], params(1, 1, 1, 1));
    check([1, 130, 8, 9], [20, 130, 3, 3], params(1, 1, 1, 1));
}

#[test]
fn three_by_three_dilated() {
    check([2, 16, 13, 10], [18, 16, 3, 3], params(1, 2, 2, 1));
    check([1, 20, 21, 19], [32, 20, 3, 3], params(1, 4, 4, 1));
    check([1, 16, 17, 40], [16, 16, 3, 3], params(1, 1, 3, 1));
    check([1, 16, 9, 9], [16, 16, 3, 3], params(1, 8, 8, 1));
}

/// The largest deviation from f64 with 256 channels, relative to the size of the values: about 1e-5, where a plain f32 sum has about half.
#[test]
fn winograd_error() {
    let (x, w) = (random(&[1, 256, 12, 12], 1), random(&[16, 256, 3, 3], 2));
    let p = params(1, 1, 1, 1);
    let exact = values(&conv2d(&x, &w, None, &p, Epilogue::NONE).unwrap());
    let narrow = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
    let y = values(&conv2d(&narrow(&x), &narrow(&w), None, &p, Epilogue::NONE).unwrap());
    let worst = y.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0., f64::max);
    let size = (exact.iter().map(|y| y * y).sum::<f64>() / exact.len() as f64).sqrt();
    assert!(worst < 2e-5 * size, "error {worst} of values about {size}");
}

#[test]
fn few_channels_and_strides() {
    check([2, 3, 19, 53], [9, 3, 3, 3], params(1, 1, 1, 1));
    check([1, 5, 23, 21], [17, 5, 3, 3], params(2, 1, 1, 1));
    check([1, 3, 33, 37], [33, 3, 7, 7], params(4, 3, 1, 1));
    check([1, 4, 12, 50], [1, 4, 3, 3], params(1, 1, 1, 1));
    check([1, 2, 15, 300], [3, 2, 7, 7], params(1, 3, 1, 1));
    check([1, 8, 21, 17], [8, 8, 3, 3], params(3, 2, 2, 1));
    check([2, 20, 9, 14], [34, 20, 3, 3], params(2, 1, 1, 1));
    check([1, 12, 9, 70], [18, 6, 3, 3], params(1, 1, 1, 2));
    check([1, 7, 8, 8], [50, 7, 4, 4], params(4, 0, 1, 1));
    check([2, 36, 5, 7], [35, 36, 1, 1], params(1, 0, 1, 1));
    check([1, 1, 1, 1], [1, 1, 3, 3], params(1, 1, 1, 1));
    check([1, 3, 40, 5], [5, 3, 3, 2], params(1, 2, 3, 1));
}

fn transposed(x: [usize; 4], weight: [usize; 4], stride: usize) {
    let (x, w) = (random(&x, 1), random(&weight, 2));
    let bias = random(&[weight[1]], 3);
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let p = ConvTranspose2dParams { stride, layout, ..Default::default() };
        let inputs = [to_layout(&x, layout), w.clone(), bias.clone()];
        let fast = |t: &[Tensor]| conv_transpose2d(&t[0], &t[1], Some(&t[2]), &p, Epilogue::act(Activation::Relu));
        let slow =
            |t: &[Tensor]| composed::conv_transpose2d(&t[0], &t[1], Some(&t[2]), &p, Epilogue::act(Activation::Relu));
        assert_close(&fast(&inputs).unwrap(), &slow(&inputs).unwrap(), 1e-10, "transposed");
        for (i, (a, b)) in gradients(&inputs, &fast).iter().zip(gradients(&inputs, &slow)).enumerate() {
            assert_close(a, &b, 1e-9, &format!("transposed, gradient {i}"));
        }
    }
}

#[test]
fn transposed_without_overlap() {
    transposed([2, 5, 7, 9], [5, 3, 2, 2], 2);
    transposed([1, 40, 5, 33], [40, 17, 2, 2], 2);
    transposed([1, 1, 1, 1], [1, 1, 4, 4], 4);
    transposed([1, 7, 3, 70], [7, 33, 1, 1], 1);
}

/// More channels than a vector: slabs of vectors of channels, none of them whole at the end, taps that read no output.
#[test]
fn depthwise_slabs() {
    for (x, w, p) in [
        ([2, 37, 13, 11], [37, 1, 7, 7], params(1, 3, 1, 37)),
        ([1, 70, 9, 5], [70, 1, 5, 5], params(1, 2, 1, 70)),
        ([1, 33, 21, 6], [33, 1, 3, 3], params(1, 1, 1, 33)),
        ([1, 18, 10, 7], [18, 1, 5, 5], params(1, 0, 1, 18)),
        ([1, 16, 1, 1], [16, 1, 7, 7], params(1, 3, 1, 16)),
        ([1, 17, 3, 4], [17, 1, 3, 3], params(1, 5, 1, 17)),
        ([2, 35, 14, 9], [35, 1, 3, 3], params(2, 1, 1, 35)),
        ([1, 20, 15, 12], [20, 1, 3, 5], params(2, 3, 2, 20)),
        ([1, 20, 8, 7], [20, 1, 2, 2], params(3, 0, 1, 20)),
        ([1, 16, 9, 10], [16, 1, 7, 7], params(1, 6, 2, 16)),
        ([1, 3, 9, 10], [3, 1, 3, 3], params(2, 1, 1, 3)),
    ] {
        check(x, w, p);
    }
}

/// In f32 from unaligned memory, with nothing after the sums or a bias alone: the reference is f64 on the same numbers.
fn check_plain(x: [usize; 4], weight: [usize; 4], p: Conv2dParams) {
    let depth = (weight[1] * weight[2] * weight[3]) as f64;
    let (x, w) = (rounded(&random(&x, 1)), rounded(&(random(&weight, 2) / depth.sqrt()).unwrap()));
    let bias = rounded(&random(&[weight[0]], 3));
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let p = Conv2dParams { layout, ..p };
        let x = to_layout(&x, layout);
        for bias in [None, Some(&bias)] {
            let expected = composed::conv2d(&x, &w, bias, &p, Epilogue::NONE).unwrap();
            let y = conv2d(&unaligned(&x), &unaligned(&w), bias.map(unaligned).as_ref(), &p, Epilogue::NONE).unwrap();
            assert_close(&y, &expected, 5e-6, &format!("{:?} {weight:?} {p:?} bias {}", x.dims(), bias.is_some()));
        }
    }
}

/// Whole vectors of channels, whose rows go to the output at once, four at a time; rows and channels that are left over.
#[test]
fn depthwise_slabs_without_epilogue() {
    for (h, w) in [(1, 1), (4, 1), (5, 3), (8, 17), (9, 11), (14, 40)] {
        for c in [16, 17, 31, 48, 80] {
            check_plain([1, c, h, w], [c, 1, 7, 7], params(1, 3, 1, c));
            check_plain([2, c, h, w], [c, 1, 5, 5], params(1, 2, 1, c));
        }
    }
}

/// Rows of 12 pixels and one more, which share a tile, and 13 rows as well as 25 and 37 of Winograd's tiles.
#[test]
fn rows_of_one_more_than_a_tile() {
    for w in [1, 11, 13, 14, 25, 37] {
        check_plain([1, 3, 29, w * 14], [33, 3, 14, 14], params(14, 0, 1, 1));
        check_plain([1, 1, 3, 2 * w], [1, 1, 2, 2], params(2, 0, 1, 1));
        check_plain([2, 5, 7, 2 * w + 1], [40, 5, 3, 3], params(2, 1, 1, 1));
        check_plain([1, 16, 4, 4 * w], [17, 16, 3, 3], params(1, 1, 1, 1));
        check_plain([1, 7, 3, w], [9, 7, 1, 1], params(1, 0, 1, 1));
    }
}

/// Planes in several bands, and every padding that a 3 × 3 kernel can have.
#[test]
fn depthwise_planes() {
    for padding in [0, 1, 2] {
        check([2, 3, 5, 21], [3, 1, 3, 3], params(1, padding, 1, 3));
        check([1, 2, 3, 16], [2, 1, 3, 3], params(1, padding, 1, 2));
    }
    check([1, 2, 130, 150], [2, 1, 3, 3], params(1, 1, 1, 2));
    check([1, 17, 1, 1], [17, 1, 3, 3], params(1, 1, 1, 17));
    check([1, 2, 1, 1], [2, 1, 3, 3], params(1, 2, 1, 2));
}

/// One thread, two and seven give the same bits, forward and backward.
#[test]
fn threads_do_not_change_the_result() {
    let cases = [
        ([2, 17, 40, 37], [19, 17, 3, 3], params(1, 1, 1, 1)),
        ([1, 18, 33, 30], [20, 18, 3, 3], params(1, 2, 2, 1)),
        ([1, 3, 70, 90], [33, 3, 7, 7], params(4, 3, 1, 1)),
        ([1, 8, 64, 80], [8, 8, 3, 3], params(2, 1, 1, 1)),
        ([1, 40, 30, 50], [36, 40, 1, 1], params(1, 0, 1, 1)),
        ([2, 72, 40, 37], [72, 1, 7, 7], params(1, 3, 1, 72)),
        ([1, 72, 41, 37], [72, 1, 3, 3], params(2, 1, 1, 72)),
        ([1, 64, 30, 29], [64, 1, 7, 7], params(1, 3, 1, 64)),
        ([1, 3, 200, 170], [3, 1, 3, 3], params(1, 1, 1, 3)),
        ([1, 3, 100, 350], [40, 3, 14, 14], params(14, 0, 1, 1)),
        ([1, 16, 9, 52], [17, 16, 3, 3], params(1, 1, 1, 1)),
    ];
    for (x, w, p) in cases {
        for layout in [Layout::Nchw, Layout::Nhwc] {
            let p = Conv2dParams { layout, ..p };
            let narrow = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
            let inputs =
                [narrow(&to_layout(&random(&x, 1), layout)), narrow(&random(&w, 2)), narrow(&random(&[w[0]], 3))];
            let f = |t: &[Tensor]| conv2d(&t[0], &t[1], Some(&t[2]), &p, Epilogue::act(Activation::Relu));
            let all = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let plain = conv2d(&inputs[0], &inputs[1], Some(&inputs[2]), &p, Epilogue::NONE).unwrap();
                    let mut all = vec![f(&inputs).unwrap(), plain];
                    all.extend(gradients(&inputs, &f));
                    all.iter().map(values).collect::<Vec<_>>()
                })
            };
            let one = all(1);
            assert!(one.iter().flatten().any(|x| *x != 0.));
            for threads in [2, 7] {
                assert!(all(threads) == one, "{threads} threads, {:?} {p:?}", w);
            }
        }
    }
}
