//! Convolution and its transpose against nested loops.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{Device, Tensor};
use common::{assert_close, check_op, random, values};
use seg_ops::{Activation, Conv2dParams, ConvTranspose2dParams, Epilogue, Layout, composed, conv_transpose2d, conv2d};

fn naive(x: &Tensor, w: &Tensor, p: &Conv2dParams) -> Tensor {
    let (b, c, h, width) = x.dims4().unwrap();
    let (o, ci, kh, kw) = w.dims4().unwrap();
    let oh = (h + 2 * p.padding - p.dilation * (kh - 1) - 1) / p.stride + 1;
    let ow = (width + 2 * p.padding - p.dilation * (kw - 1) - 1) / p.stride + 1;
    let (x, w) = (values(x), values(w));
    let mut y = vec![0.; b * o * oh * ow];
    for (index, y) in y.iter_mut().enumerate() {
        let (ox, oy) = (index % ow, index / ow % oh);
        let (oc, b) = (index / (ow * oh) % o, index / (ow * oh * o));
        let group = oc / (o / p.groups);
        for ic in 0..ci {
            for i in 0..kh {
                for j in 0..kw {
                    let iy = (oy * p.stride + i * p.dilation) as isize - p.padding as isize;
                    let ix = (ox * p.stride + j * p.dilation) as isize - p.padding as isize;
                    if iy >= 0 && ix >= 0 && (iy as usize) < h && (ix as usize) < width {
                        let at = ((b * c + group * ci + ic) * h + iy as usize) * width + ix as usize;
                        *y += x[at] * w[((oc * ci + ic) * kh + i) * kw + j];
                    }
                }
            }
        }
    }
    Tensor::from_vec(y, (b, o, oh, ow), &Device::Cpu).unwrap()
}

fn naive_transposed(x: &Tensor, w: &Tensor, p: &ConvTranspose2dParams) -> Tensor {
    let (b, c, h, width) = x.dims4().unwrap();
    let (_, o, kh, kw) = w.dims4().unwrap();
    let oh = (h - 1) * p.stride + p.dilation * (kh - 1) + p.output_padding + 1 - 2 * p.padding;
    let ow = (width - 1) * p.stride + p.dilation * (kw - 1) + p.output_padding + 1 - 2 * p.padding;
    let (x, w) = (values(x), values(w));
    let mut y = vec![0.; b * o * oh * ow];
    for (index, &x) in x.iter().enumerate() {
        let (ix, iy) = (index % width, index / width % h);
        let (ic, b) = (index / (width * h) % c, index / (width * h * c));
        for oc in 0..o {
            for i in 0..kh {
                for j in 0..kw {
                    let oy = (iy * p.stride + i * p.dilation) as isize - p.padding as isize;
                    let ox = (ix * p.stride + j * p.dilation) as isize - p.padding as isize;
                    if oy >= 0 && ox >= 0 && (oy as usize) < oh && (ox as usize) < ow {
                        y[((b * o + oc) * oh + oy as usize) * ow + ox as usize] +=
                            x * w[((ic * o + oc) * kh + i) * kw + j];
                    }
                }
            }
        }
    }
    Tensor::from_vec(y, (b, o, oh, ow), &Device::Cpu).unwrap()
}

fn naive_epilogue(y: &Tensor, bias: &Tensor, scale: &Tensor, residual: &Tensor) -> Tensor {
    let wide = |t: &Tensor| t.reshape((1, t.elem_count(), 1, 1)).unwrap();
    let y = y.broadcast_add(&wide(bias)).unwrap().gelu_erf().unwrap();
    (y.broadcast_mul(&wide(scale)).unwrap() + residual).unwrap()
}

fn to_layout(t: &Tensor, layout: Layout) -> Tensor {
    match layout {
        Layout::Nchw => t.clone(),
        Layout::Nhwc => t.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap(),
    }
}

fn check_conv(x: [usize; 4], weight: [usize; 4], p: Conv2dParams) {
    let (x, w) = (random(&x, 1), random(&weight, 2));
    let product = naive(&x, &w, &p);
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let p = Conv2dParams { layout, ..p };
        let x = to_layout(&x, layout);
        check_op(
            &[x.clone(), w.clone()],
            &to_layout(&product, layout),
            &|t| conv2d(&t[0], &t[1], None, &p, Epilogue::NONE),
            &|t| composed::conv2d(&t[0], &t[1], None, &p, Epilogue::NONE),
        );
        let (bias, scale) = (random(&[weight[0]], 3), random(&[weight[0]], 4));
        let residual = random(product.dims(), 5);
        let expected = to_layout(&naive_epilogue(&product, &bias, &scale, &residual), layout);
        let e = |t: &[Tensor], f: &dyn Fn(Epilogue<'_>) -> candle_core::Result<Tensor>| {
            f(Epilogue::act(Activation::Gelu).with_scale(&t[3]).with_residual(&t[4]))
        };
        check_op(
            &[x, w.clone(), bias, scale, to_layout(&residual, layout)],
            &expected,
            &|t| e(t, &|e| conv2d(&t[0], &t[1], Some(&t[2]), &p, e)),
            &|t| e(t, &|e| composed::conv2d(&t[0], &t[1], Some(&t[2]), &p, e)),
        );
    }
}

fn params(stride: usize, padding: usize, dilation: usize, groups: usize) -> Conv2dParams {
    Conv2dParams { stride, padding, dilation, groups, layout: Layout::Nchw }
}

#[test]
fn dense_convolution() {
    check_conv([2, 3, 7, 5], [4, 3, 3, 3], params(1, 1, 1, 1));
    check_conv([1, 2, 9, 12], [3, 2, 3, 3], params(2, 1, 1, 1));
    check_conv([1, 3, 15, 11], [2, 3, 7, 7], params(4, 3, 1, 1));
    check_conv([2, 2, 10, 9], [3, 2, 3, 2], params(3, 2, 2, 1));
    check_conv([2, 1, 6, 6], [4, 1, 2, 2], params(2, 0, 1, 1));
}

#[test]
fn pointwise_convolution() {
    check_conv([2, 5, 4, 3], [6, 5, 1, 1], params(1, 0, 1, 1));
    check_conv([1, 3, 5, 5], [2, 3, 1, 1], params(2, 0, 1, 1));
    check_conv([1, 3, 2, 2], [2, 3, 1, 1], params(1, 1, 1, 1));
}

#[test]
fn one_pixel_and_one_row() {
    check_conv([1, 2, 1, 1], [3, 2, 3, 3], params(1, 1, 1, 1));
    check_conv([1, 2, 1, 13], [3, 2, 3, 3], params(2, 1, 1, 1));
    check_conv([1, 2, 8, 1], [2, 2, 5, 3], params(1, 2, 1, 1));
}

#[test]
fn grouped_convolution() {
    check_conv([2, 6, 5, 6], [4, 3, 3, 3], params(1, 1, 1, 2));
    check_conv([1, 4, 6, 5], [8, 1, 3, 3], params(2, 1, 1, 4));
}

#[test]
fn depthwise_convolution() {
    check_conv([2, 5, 6, 7], [5, 1, 3, 3], params(1, 1, 1, 5));
    check_conv([1, 40, 7, 9], [40, 1, 3, 3], params(2, 1, 1, 40));
    check_conv([1, 3, 11, 9], [3, 1, 3, 5], params(2, 3, 2, 3));
    check_conv([1, 4, 1, 4], [4, 1, 7, 7], params(1, 3, 1, 4));
    check_conv([1, 2, 6, 5], [2, 1, 1, 1], params(3, 0, 1, 2));
}

fn check_transposed(x: [usize; 4], weight: [usize; 4], p: ConvTranspose2dParams) {
    let (x, w) = (random(&x, 1), random(&weight, 2));
    let product = naive_transposed(&x, &w, &p);
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let p = ConvTranspose2dParams { layout, ..p };
        let x = to_layout(&x, layout);
        check_op(
            &[x.clone(), w.clone()],
            &to_layout(&product, layout),
            &|t| conv_transpose2d(&t[0], &t[1], None, &p, Epilogue::NONE),
            &|t| composed::conv_transpose2d(&t[0], &t[1], None, &p, Epilogue::NONE),
        );
        let (bias, scale) = (random(&[weight[1]], 3), random(&[weight[1]], 4));
        let residual = random(product.dims(), 5);
        let expected = to_layout(&naive_epilogue(&product, &bias, &scale, &residual), layout);
        check_op(
            &[x, w.clone(), bias, scale, to_layout(&residual, layout)],
            &expected,
            &|t| {
                let e = Epilogue::act(Activation::Gelu).with_scale(&t[3]).with_residual(&t[4]);
                conv_transpose2d(&t[0], &t[1], Some(&t[2]), &p, e)
            },
            &|t| {
                let e = Epilogue::act(Activation::Gelu).with_scale(&t[3]).with_residual(&t[4]);
                composed::conv_transpose2d(&t[0], &t[1], Some(&t[2]), &p, e)
            },
        );
    }
}

#[test]
fn transposed_convolution() {
    let p = |stride, padding, output_padding, dilation| ConvTranspose2dParams {
        stride,
        padding,
        output_padding,
        dilation,
        layout: Layout::Nchw,
    };
    check_transposed([2, 3, 4, 5], [3, 2, 2, 2], p(2, 0, 0, 1));
    check_transposed([1, 2, 3, 4], [2, 3, 3, 3], p(2, 1, 1, 1));
    check_transposed([2, 2, 3, 3], [2, 2, 3, 2], p(1, 0, 0, 1));
    check_transposed([1, 2, 4, 3], [2, 2, 3, 3], p(3, 2, 1, 2));
    check_transposed([1, 3, 1, 1], [3, 4, 4, 4], p(4, 0, 0, 1));
}

/// Large enough for several blocks and tasks.
#[test]
fn blocks_join() {
    let x = random(&[2, 8, 70, 65], 1);
    let w = random(&[6, 8, 3, 3], 2);
    let p = params(1, 1, 1, 1);
    let expected = naive(&x, &w, &p);
    for layout in [Layout::Nchw, Layout::Nhwc] {
        let y = conv2d(&to_layout(&x, layout), &w, None, &Conv2dParams { layout, ..p }, Epilogue::NONE).unwrap();
        assert_close(&y, &to_layout(&expected, layout), 1e-10, "conv2d");
    }
    let f = |t: &[Tensor]| conv2d(&t[0], &t[1], None, &p, Epilogue::NONE);
    let g = |t: &[Tensor]| composed::conv2d(&t[0], &t[1], None, &p, Epilogue::NONE);
    let inputs = [x, w];
    for (a, b) in common::gradients(&inputs, &f).iter().zip(common::gradients(&inputs, &g)) {
        assert_close(a, &b, 1e-9, "gradient");
    }
}

#[test]
fn empty_batch() {
    let x = Tensor::zeros((0, 3, 4, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
    let w = Tensor::zeros((2, 3, 3, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
    let y = conv2d(&x, &w, None, &params(1, 1, 1, 1), Epilogue::NONE).unwrap();
    assert_eq!(y.dims(), [0, 2, 4, 4]);
    let y = composed::conv2d(&x, &w, None, &params(1, 1, 1, 1), Epilogue::NONE).unwrap();
    assert_eq!(y.dims(), [0, 2, 4, 4]);
    let w = Tensor::zeros((3, 2, 2, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
    let p = ConvTranspose2dParams { stride: 2, ..Default::default() };
    assert_eq!(conv_transpose2d(&x, &w, None, &p, Epilogue::NONE).unwrap().dims(), [0, 2, 8, 8]);
}

#[test]
fn refusals_name_the_cause() {
    let x = random(&[1, 3, 4, 4], 1);
    let w = random(&[2, 3, 3, 3], 2);
    let message = |r: candle_core::Result<Tensor>| r.unwrap_err().to_string();
    let e = Epilogue::NONE;
    let text = message(conv2d(&x, &w, None, &params(0, 1, 1, 1), e));
    assert!(text.contains("conv2d") && text.contains("stride") && text.contains('0'), "{text}");
    let text = message(conv2d(&x, &random(&[2, 4, 3, 3], 2), None, &params(1, 1, 1, 1), e));
    assert!(text.contains("`x`") && text.contains("4 channels"), "{text}");
    let text = message(conv2d(&x, &random(&[2, 3, 7, 7], 2), None, &params(1, 1, 1, 1), e));
    assert!(text.contains("at least 5 pixels"), "{text}");
    let text = message(conv2d(&x, &w, Some(&random(&[3], 1)), &params(1, 1, 1, 1), e));
    assert!(text.contains("`bias`") && text.contains("[2]"), "{text}");
    let residual = random(&[1, 2, 4, 5], 1);
    let text = message(conv2d(&x, &w, None, &params(1, 1, 1, 1), e.with_residual(&residual)));
    assert!(text.contains("`residual`") && text.contains("[1, 2, 4, 4]"), "{text}");
    let half = x.to_dtype(candle_core::DType::F32).unwrap();
    let text = message(conv2d(&half, &w, None, &params(1, 1, 1, 1), e));
    assert!(text.contains("`weight`") && text.contains("F32"), "{text}");
    let p = ConvTranspose2dParams { output_padding: 1, ..Default::default() };
    let text = message(conv_transpose2d(&x, &random(&[3, 2, 2, 2], 2), None, &p, e));
    assert!(text.contains("output_padding"), "{text}");
}
