//! Pooling.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device, Tensor};
use common::{check_op, random, values};
use seg_ops::{Layout, Pool2dParams, avg_pool2d, composed, max_pool2d};

/// Maximum and mean by PyTorch's rules.
fn naive(x: &Tensor, p: &Pool2dParams) -> (Tensor, Tensor) {
    let (b, c, h, w) = x.dims4().unwrap();
    let size = |len: usize| {
        // windows that lie inside, and when rounding up those that begin before the padding behind the image
        let inside = (0..len + 2 * p.padding).step_by(p.stride).filter(|s| s + p.kernel <= len + 2 * p.padding).count();
        let begun = (0..len + p.padding).step_by(p.stride).take(inside + 1).count();
        if p.ceil_mode { begun } else { inside }
    };
    let (oh, ow) = (size(h), size(w));
    let x = values(x);
    let (mut maxima, mut means) = (Vec::new(), Vec::new());
    for index in 0..b * c * oh * ow {
        let (ox, oy, plane) = (index % ow, index / ow % oh, index / (ow * oh));
        let (mut best, mut sum, mut count) = (f64::NEG_INFINITY, 0., 0);
        for i in 0..p.kernel {
            for j in 0..p.kernel {
                let (y, x_) = (oy * p.stride + i, ox * p.stride + j);
                if y < h + 2 * p.padding && x_ < w + 2 * p.padding {
                    count += 1;
                }
                if (p.padding..h + p.padding).contains(&y) && (p.padding..w + p.padding).contains(&x_) {
                    let v = x[(plane * h + y - p.padding) * w + x_ - p.padding];
                    best = best.max(v);
                    sum += v;
                }
            }
        }
        maxima.push(best);
        means.push(sum / f64::from(count));
    }
    let tensor = |v| Tensor::from_vec(v, (b, c, oh, ow), &Device::Cpu).unwrap();
    (tensor(maxima), tensor(means))
}

fn check(shape: [usize; 4], kernel: usize, stride: usize, padding: usize, ceil_mode: bool) {
    let x = random(&shape, 1);
    let to = |t: &Tensor, layout| match layout {
        Layout::Nchw => t.clone(),
        Layout::Nhwc => t.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap(),
    };
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let p = Pool2dParams { kernel, stride, padding, ceil_mode, layout };
        let (maxima, means) = naive(&x, &p);
        let x = to(&x, layout);
        check_op(std::slice::from_ref(&x), &to(&maxima, layout), &|t| max_pool2d(&t[0], &p), &|t| {
            composed::max_pool2d(&t[0], &p)
        });
        check_op(&[x], &to(&means, layout), &|t| avg_pool2d(&t[0], &p), &|t| composed::avg_pool2d(&t[0], &p));
    }
}

#[test]
fn pools() {
    check([2, 3, 6, 8], 2, 2, 0, false);
    check([1, 2, 7, 5], 2, 2, 0, false);
    check([1, 3, 7, 9], 3, 2, 1, false);
    check([1, 2, 5, 5], 3, 1, 1, false);
    check([1, 2, 9, 4], 2, 3, 0, false);
    check([1, 1, 1, 6], 1, 1, 0, false);
}

#[test]
fn pools_that_round_up() {
    check([1, 2, 7, 5], 2, 2, 0, true);
    check([2, 2, 6, 8], 3, 2, 1, true);
    check([1, 2, 5, 6], 2, 3, 1, true);
    check([1, 1, 3, 3], 2, 2, 1, true);
    check([1, 1, 4, 1], 3, 3, 1, true);
    check([2, 2, 1, 5], 2, 2, 0, true);
    check([1, 3, 1, 1], 2, 2, 0, true);
}

#[test]
fn large_windows() {
    check([2, 2, 9, 12], 5, 1, 2, false);
    check([1, 2, 8, 11], 4, 3, 1, true);
    check([1, 1, 12, 9], 7, 2, 3, false);
    // as large as the image and larger, as in the weights near edges
    check([1, 1, 6, 5], 11, 1, 5, false);
}

#[test]
fn a_number_that_is_not_finite_stays_in_its_windows() {
    let p = Pool2dParams { kernel: 5, stride: 1, padding: 2, ceil_mode: false, layout: Layout::Nchw };
    for odd in [f32::NAN, f32::INFINITY] {
        let mut row = vec![1f32; 16 * 8];
        row[3 * 16 + 4] = odd;
        let x = Tensor::from_vec(row, (1, 1, 8, 16), &Device::Cpu).unwrap();
        let means = values(&avg_pool2d(&x, &p).unwrap());
        for (i, mean) in means.iter().enumerate() {
            let near = (i % 16).abs_diff(4) <= 2 && (i / 16).abs_diff(3) <= 2;
            assert_eq!(mean.is_finite(), !near, "{odd} {i}");
        }
    }
}

#[test]
fn of_equal_maxima_the_first_gets_the_gradient() {
    let x = [Tensor::ones((1, 1, 4, 4), DType::F64, &Device::Cpu).unwrap()];
    let p = Pool2dParams { kernel: 2, stride: 2, padding: 0, ceil_mode: false, layout: Layout::Nchw };
    for g in
        [common::gradients(&x, &|t| max_pool2d(&t[0], &p)), common::gradients(&x, &|t| composed::max_pool2d(&t[0], &p))]
    {
        let zero: Vec<bool> = values(&g[0]).iter().map(|&g| g == 0.).collect();
        let expected: Vec<bool> = (0..16).map(|i| i % 2 == 1 || i / 4 % 2 == 1).collect();
        assert_eq!(zero, expected);
    }
}

#[test]
fn extremes() {
    let p = Pool2dParams { kernel: 3, stride: 1, padding: 1, ceil_mode: false, layout: Layout::Nchw };
    let x = Tensor::full(f32::NEG_INFINITY, (1, 1, 2, 2), &Device::Cpu).unwrap();
    for y in [max_pool2d(&x, &p).unwrap(), composed::max_pool2d(&x, &p).unwrap()] {
        assert!(values(&y).iter().all(|&y| y == f64::NEG_INFINITY));
    }
    let x = Tensor::new(&[[[[f32::NAN, 1.], [2., 3.]]]], &Device::Cpu).unwrap();
    for y in [max_pool2d(&x, &p).unwrap(), composed::max_pool2d(&x, &p).unwrap()] {
        assert!(values(&y).iter().all(|y| y.is_nan()), "a NaN in the window wins");
    }
    let x = Tensor::zeros((0, 2, 4, 4), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(max_pool2d(&x, &p).unwrap().dims(), [0, 2, 4, 4]);
    assert_eq!(composed::avg_pool2d(&x, &p).unwrap().dims(), [0, 2, 4, 4]);
}

#[test]
fn refusals_name_the_cause() {
    let x = random(&[1, 1, 2, 5], 1);
    let p = Pool2dParams { kernel: 3, stride: 1, padding: 0, ceil_mode: false, layout: Layout::Nchw };
    let text = max_pool2d(&x, &p).unwrap_err().to_string();
    assert!(text.contains("max_pool2d: `x` has shape [1, 1, 2, 5]") && text.contains("3 × 3"), "{text}");
    let text = max_pool2d(&x, &Pool2dParams { kernel: 4, stride: 2, ceil_mode: true, ..p }).unwrap_err().to_string();
    assert!(text.contains("at least 3 × 3"), "{text}");
    let text = avg_pool2d(&x, &Pool2dParams { padding: 2, ..p }).unwrap_err().to_string();
    assert!(text.contains("`padding` is 2") && text.contains('1'), "{text}");
    let text = avg_pool2d(&x, &Pool2dParams { stride: 0, ..p }).unwrap_err().to_string();
    assert!(text.contains("`stride` is 0"), "{text}");
}
