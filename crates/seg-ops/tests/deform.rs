//! Deformable convolution and sampling at positions.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device, Tensor};
use common::{assert_close, check_op, gradients, numbers, random, values};
use seg_ops::{DeformConv2dParams, Layout, composed, deform_conv2d, grid_sample};

/// A pixel, or zero outside.
fn pixel(x: &[f64], (h, w): (usize, usize), y: f64, column: f64) -> f64 {
    let inside = (0. ..h as f64).contains(&y) && (0. ..w as f64).contains(&column);
    if inside { x[y as usize * w + column as usize] } else { 0. }
}

/// Between the pixels of one plane.
fn bilinear(x: &[f64], size: (usize, usize), y: f64, column: f64) -> f64 {
    let (y0, x0) = (y.floor(), column.floor());
    let mut sum = 0.;
    for (dy, dx) in [(0., 0.), (0., 1.), (1., 0.), (1., 1.)] {
        let weight = (1. - (y - y0 - dy).abs()) * (1. - (column - x0 - dx).abs());
        sum += weight * pixel(x, size, y0 + dy, x0 + dx);
    }
    sum
}

/// By the definition, channels first.
fn naive(t: &[Tensor], masked: bool, p: &DeformConv2dParams) -> Tensor {
    let ((b, c, h, w), (_, _, oh, ow)) = (t[0].dims4().unwrap(), t[1].dims4().unwrap());
    let weight = &t[if masked { 3 } else { 2 }];
    let (o, _, kh, kw) = weight.dims4().unwrap();
    let (x, offset, weight) = (values(&t[0]), values(&t[1]), values(weight));
    let mask = masked.then(|| values(&t[2]));
    let bias = values(t.last().unwrap());
    let taps = kh * kw;
    let mut y = Vec::new();
    for index in 0..b * o * oh * ow {
        let (ox, oy, out, image) = (index % ow, index / ow % oh, index / (ow * oh) % o, index / (ow * oh * o));
        let place = |channel: usize, channels: usize| ((image * channels + channel) * oh + oy) * ow + ox;
        let mut sum = bias[out];
        for tap in 0..taps {
            let moved = |o: usize, i: usize, axis: usize| {
                let start = (o * p.stride) as f64 - p.padding as f64 + (i * p.dilation) as f64;
                start + offset[place(2 * tap + axis, 2 * taps)]
            };
            let at = (moved(oy, tap / kw, 0), moved(ox, tap % kw, 1));
            let m = mask.as_ref().map_or(1., |mask| mask[place(tap, taps)]);
            for channel in 0..c {
                let plane = &x[(image * c + channel) * h * w..][..h * w];
                sum += weight[(out * c + channel) * taps + tap] * m * bilinear(plane, (h, w), at.0, at.1);
            }
        }
        y.push(sum);
    }
    Tensor::from_vec(y, (b, o, oh, ow), &Device::Cpu).unwrap()
}

fn last(t: &Tensor) -> Tensor {
    t.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap()
}

/// x, offset, mask, weight, bias; offsets reach out of the image, and none is close to a whole pixel, where there is no derivative.
fn inputs(
    (b, c, h, w): (usize, usize, usize, usize),
    o: usize,
    (kh, kw): (usize, usize),
    p: &DeformConv2dParams,
) -> Vec<Tensor> {
    let size = |len: usize, k: usize| (len + 2 * p.padding - p.dilation * (k - 1) - 1) / p.stride + 1;
    let (oh, ow) = (size(h, kh), size(w, kw));
    let dims = [b, 2 * kh * kw, oh, ow];
    let offsets = numbers(dims.iter().product(), 2).into_iter().map(|v| (v * 20.).round() / 4. + 0.11 + 0.03 * v);
    vec![
        random(&[b, c, h, w], 1),
        Tensor::from_vec(offsets.collect::<Vec<_>>(), &dims, &Device::Cpu).unwrap(),
        random(&[b, kh * kw, oh, ow], 3),
        random(&[o, c, kh, kw], 4),
        random(&[o], 5),
    ]
}

fn check(dims: (usize, usize, usize, usize), o: usize, kernel: (usize, usize), p: DeformConv2dParams) {
    let all = inputs(dims, o, kernel, &p);
    let expected = naive(&all, true, &p);
    check_op(&all, &expected, &|t| deform_conv2d(&t[0], &t[1], Some(&t[2]), &t[3], Some(&t[4]), &p), &|t| {
        composed::deform_conv2d(&t[0], &t[1], Some(&t[2]), &t[3], Some(&t[4]), &p)
    });
    let p = DeformConv2dParams { layout: Layout::Nhwc, ..p };
    let mut turned = all.clone();
    turned.iter_mut().take(3).for_each(|t| *t = last(t));
    check_op(&turned, &last(&expected), &|t| deform_conv2d(&t[0], &t[1], Some(&t[2]), &t[3], Some(&t[4]), &p), &|t| {
        composed::deform_conv2d(&t[0], &t[1], Some(&t[2]), &t[3], Some(&t[4]), &p)
    });
    // without masks
    turned.remove(2);
    let mut plain = all;
    plain.remove(2);
    check_op(
        &turned,
        &last(&naive(&plain, false, &p)),
        &|t| deform_conv2d(&t[0], &t[1], None, &t[2], Some(&t[3]), &p),
        &|t| composed::deform_conv2d(&t[0], &t[1], None, &t[2], Some(&t[3]), &p),
    );
}

#[test]
fn deformable() {
    let p = DeformConv2dParams::default();
    check((2, 3, 6, 5), 4, (3, 3), DeformConv2dParams { padding: 1, ..p });
    check((1, 2, 7, 9), 3, (3, 2), DeformConv2dParams { stride: 2, dilation: 2, padding: 2, ..p });
    check((1, 9, 5, 4), 5, (1, 1), p);
    // more channels than a vector has, more than one block of pixels
    check((1, 19, 8, 7), 35, (3, 3), DeformConv2dParams { padding: 1, ..p });
}

/// Several blocks, several stretches of taps, several tasks of the backward.
#[test]
fn larger_images() {
    let p = DeformConv2dParams { padding: 3, ..DeformConv2dParams::default() };
    let inputs: Vec<Tensor> =
        inputs((2, 32, 24, 31), 33, (7, 7), &p).iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect();
    let f = |t: &[Tensor]| deform_conv2d(&t[0], &t[1], Some(&t[2]), &t[3], Some(&t[4]), &p);
    let g = |t: &[Tensor]| composed::deform_conv2d(&t[0], &t[1], Some(&t[2]), &t[3], Some(&t[4]), &p);
    assert_close(&f(&inputs).unwrap(), &g(&inputs).unwrap(), 5e-5, "value");
    let exact: Vec<Tensor> = inputs.iter().map(|t| t.to_dtype(DType::F64).unwrap()).collect();
    for (i, (a, b)) in gradients(&inputs, &f).iter().zip(gradients(&exact, &g)).enumerate() {
        assert_close(a, &b, 2e-4, &format!("gradient {i}"));
    }
}

/// Only what is asked for is computed, and the rest does not disturb it.
#[test]
fn frozen_inputs() {
    let p = DeformConv2dParams { padding: 1, ..DeformConv2dParams::default() };
    let all = inputs((1, 3, 5, 5), 2, (3, 3), &p);
    let f = |t: &[Tensor]| deform_conv2d(&t[0], &t[1], Some(&t[2]), &t[3], Some(&t[4]), &p);
    let whole = gradients(&all, &f);
    let x = gradients(&all[..1], &|t| f(&[&[t[0].clone()], &all[1..]].concat()));
    assert_close(&x[0], &whole[0], 1e-12, "x alone");
    let weight = gradients(&all[3..4], &|t| f(&[&all[..3], &[t[0].clone()], &all[4..]].concat()));
    assert_close(&weight[0], &whole[3], 1e-12, "weight alone");
}

fn bits(tensors: &[Tensor]) -> Vec<Vec<u32>> {
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    tensors.iter().map(|t| flat(t).into_iter().map(f32::to_bits).collect()).collect()
}

#[test]
fn same_bits_for_any_number_of_threads() {
    let p = DeformConv2dParams { padding: 1, layout: Layout::Nhwc, ..DeformConv2dParams::default() };
    let mut maps = inputs((2, 20, 50, 61), 12, (3, 3), &p);
    maps.iter_mut().take(3).for_each(|t| *t = last(t));
    let maps: Vec<Tensor> = maps.iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect();
    let points = [maps[0].clone(), random(&[2, 70, 40, 2], 7).to_dtype(DType::F32).unwrap()];
    let run = |threads: usize| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let f = |t: &[Tensor]| deform_conv2d(&t[0], &t[1], Some(&t[2]), &t[3], Some(&t[4]), &p);
            let s = |t: &[Tensor]| grid_sample(&t[0], &t[1], Layout::Nhwc);
            let mut all = vec![f(&maps).unwrap(), s(&points).unwrap()];
            all.extend(gradients(&maps, &f));
            all.extend(gradients(&points, &s));
            bits(&all)
        })
    };
    let one = run(1);
    assert!(run(2) == one, "2 threads");
    assert!(run(5) == one, "5 threads");
}

/// Far away, infinite and undefined offsets see zeros.
#[test]
fn offsets_out_of_this_world() {
    let x = Tensor::ones((1, 1, 3, 3), DType::F32, &Device::Cpu).unwrap();
    let weight = Tensor::ones((1, 1, 1, 1), DType::F32, &Device::Cpu).unwrap();
    let bad = [1e30f32, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1e30, -1., 3., 0., 0.5];
    let mut offset = bad.to_vec();
    offset.extend([0f32; 9]);
    let offset = Tensor::from_vec(offset, (1, 2, 3, 3), &Device::Cpu).unwrap();
    let y = deform_conv2d(&x, &offset, None, &weight, None, &DeformConv2dParams::default()).unwrap();
    // the sixth looks a row up from the second row, the seventh below the image, the last two see their own row and half of the next, which is none
    assert_eq!(values(&y), [0., 0., 0., 0., 0., 1., 0., 1., 0.5]);
}

#[test]
fn sampling() {
    for (dims, places) in [([2, 3, 5, 7], [2, 4, 3, 2]), ([1, 1, 1, 4], [1, 1, 9, 2]), ([1, 6, 9, 2], [1, 20, 1, 2])] {
        let x = random(&dims, 1);
        // off the whole pixels, and some of it outside
        let grid: Vec<f64> = numbers(places.iter().product(), 2).into_iter().map(|v| 1.3 * v).collect();
        let grid = Tensor::from_vec(grid, &places, &Device::Cpu).unwrap();
        let [b, c, h, w] = dims;
        let (data, at) = (values(&x), values(&grid));
        let n = places[1] * places[2];
        let mut expected = Vec::new();
        for index in 0..b * c * n {
            let (position, plane) = (index % n + index / (n * c) * n, index / n);
            let place = |v: f64, len: usize| ((v + 1.) * len as f64 - 1.) / 2.;
            let plane = &data[plane * h * w..][..h * w];
            expected.push(bilinear(plane, (h, w), place(at[2 * position + 1], h), place(at[2 * position], w)));
        }
        let expected = Tensor::from_vec(expected, (b, c, places[1], places[2]), &Device::Cpu).unwrap();
        for layout in [Layout::Nchw, Layout::Nhwc] {
            let (x, expected) = match layout {
                Layout::Nchw => (x.clone(), expected.clone()),
                Layout::Nhwc => (last(&x), last(&expected)),
            };
            check_op(&[x, grid.clone()], &expected, &|t| grid_sample(&t[0], &t[1], layout), &|t| {
                composed::grid_sample(&t[0], &t[1], layout)
            });
        }
    }
}

#[test]
fn refused() {
    let p = DeformConv2dParams::default();
    let t = |dims: &[usize]| Tensor::zeros(dims, DType::F32, &Device::Cpu).unwrap();
    let call = |offset: &[usize], mask: &[usize], p: &DeformConv2dParams| {
        let (x, weight) = (t(&[1, 2, 5, 5]), t(&[3, 2, 3, 3]));
        deform_conv2d(&x, &t(offset), Some(&t(mask)), &weight, None, p).unwrap_err().to_string()
    };
    let text = call(&[1, 9, 3, 3], &[1, 9, 3, 3], &p);
    assert!(text.contains("`offset` has shape [1, 9, 3, 3], expected [1, 18, 3, 3]"), "{text}");
    let text = call(&[1, 18, 3, 3], &[1, 18, 3, 3], &p);
    assert!(text.contains("`mask`") && text.contains("[1, 9, 3, 3]"), "{text}");
    let text = call(&[1, 18, 3, 3], &[1, 9, 3, 3], &DeformConv2dParams { stride: 0, ..p });
    assert!(text.contains("stride"), "{text}");
    let text = call(&[1, 18, 3, 3], &[1, 9, 3, 3], &DeformConv2dParams { dilation: 3, ..p });
    assert!(text.contains("at least 7 pixels"), "{text}");
    let text = grid_sample(&t(&[1, 2, 5, 5]), &t(&[1, 4, 4, 3]), Layout::Nchw).unwrap_err().to_string();
    assert!(text.contains("`grid`") && text.contains("[1, h, w, 2]"), "{text}");
    let text = grid_sample(&t(&[1, 2, 0, 5]), &t(&[1, 4, 4, 2]), Layout::Nchw).unwrap_err().to_string();
    assert!(text.contains("1 × 1"), "{text}");
    let empty = deform_conv2d(&t(&[0, 2, 5, 5]), &t(&[0, 18, 3, 3]), None, &t(&[3, 2, 3, 3]), None, &p).unwrap();
    assert_eq!(empty.dims(), [0, 3, 3, 3]);
    assert_eq!(grid_sample(&t(&[1, 2, 5, 5]), &t(&[1, 0, 4, 2]), Layout::Nchw).unwrap().dims(), [1, 2, 0, 4]);
}
