//! Resizing.

#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device, Tensor};
use common::{assert_close, check_op, random, values};
use seg_ops::{Interpolation, Resize, composed, resize};

/// Keys' kernel, written the textbook way.
fn keys(d: f64, a: f64) -> f64 {
    let d = d.abs();
    if d <= 1. {
        (a + 2.) * d.powi(3) - (a + 3.) * d.powi(2) + 1.
    } else if d < 2. {
        a * d.powi(3) - 5. * a * d.powi(2) + 8. * a * d - 4. * a
    } else {
        0.
    }
}

/// All weights of an axis as a dense matrix, from the definition.
fn matrix(input: usize, output: usize, r: &Resize, scale: Option<f64>) -> Vec<Vec<f64>> {
    let ratio = match scale {
        _ if r.align_corners => (input as f64 - 1.) / (output as f64 - 1.).max(1.),
        Some(s) => 1. / s,
        None => input as f64 / output as f64,
    };
    let ratio = if r.align_corners && output == 1 { 0. } else { ratio };
    let last = input as isize - 1;
    (0..output)
        .map(|o| {
            let mut row = vec![0.; input];
            if r.antialias {
                let stretch = ratio.max(1.);
                let centre = ratio * (o as f64 + 0.5);
                let reach = if r.mode == Interpolation::Bicubic { 2. } else { 1. };
                for (i, w) in row.iter_mut().enumerate() {
                    let d = (i as f64 + 0.5 - centre) / stretch;
                    if d.abs() < reach {
                        *w = if r.mode == Interpolation::Bicubic { keys(d, -0.5) } else { 1. - d.abs() };
                    }
                }
                let sum: f64 = row.iter().sum();
                row.iter_mut().for_each(|w| *w /= sum);
                return row;
            }
            let x = if r.align_corners { ratio * o as f64 } else { ratio * (o as f64 + 0.5) - 0.5 };
            let mut add = |i: isize, w: f64| row[i.clamp(0, last) as usize] += w;
            match r.mode {
                Interpolation::Nearest => add((ratio * o as f64).floor() as isize, 1.),
                Interpolation::Bilinear => {
                    let x = if input == output { o as f64 } else { x.max(0.) };
                    let i = x.floor();
                    add(i as isize, 1. - (x - i));
                    add(i as isize + 1, x - i);
                }
                Interpolation::Bicubic => {
                    let i = x.floor();
                    for k in -1..3 {
                        add(i as isize + k, keys(x - i - k as f64, -0.75));
                    }
                }
            }
            row
        })
        .collect()
}

fn naive(x: &Tensor, (oh, ow): (usize, usize), r: &Resize) -> Tensor {
    let (b, c, h, w) = x.dims4().unwrap();
    let rows = matrix(h, oh, r, r.scale.map(|s| s.0));
    let columns = matrix(w, ow, r, r.scale.map(|s| s.1));
    let x = values(x);
    let mut y = Vec::new();
    for index in 0..b * c * oh * ow {
        let (ox, oy, plane) = (index % ow, index / ow % oh, index / (ow * oh));
        let mut sum = 0.;
        for i in 0..h {
            for j in 0..w {
                sum += rows[oy][i] * columns[ox][j] * x[(plane * h + i) * w + j];
            }
        }
        y.push(sum);
    }
    Tensor::from_vec(y, (b, c, oh, ow), &Device::Cpu).unwrap()
}

fn check(shape: [usize; 4], size: (usize, usize), r: Resize) {
    let x = random(&shape, 1);
    check_op(std::slice::from_ref(&x), &naive(&x, size, &r), &|t| resize(&t[0], size, &r), &|t| {
        composed::resize(&t[0], size, &r)
    });
}

/// Ratios with powers of two, where f32 and f64 agree on which pixel is nearest.
#[test]
fn nearest() {
    for size in [(8, 10), (2, 5), (16, 20), (4, 5), (1, 1)] {
        check([2, 2, 4, 5], size, Resize::nearest());
    }
    check([1, 1, 4, 6], (9, 13), Resize::nearest().with_scale(2.25, 2.2));
}

#[test]
fn bilinear_and_bicubic() {
    for r in [Resize::bilinear(), Resize::bicubic()] {
        for size in [(8, 10), (3, 4), (4, 5), (7, 3), (1, 1), (1, 17), (13, 1)] {
            check([2, 2, 4, 5], size, r);
            check([1, 2, 5, 4], size, r.align_corners());
        }
        check([1, 1, 1, 6], (3, 3), r);
        check([1, 1, 2, 1], (5, 4), r);
        check([1, 2, 7, 7], (16, 11), r.with_scale(2.3, 1.6));
    }
}

#[test]
fn antialiased() {
    for r in [Resize::bilinear().antialiased(), Resize::bicubic().antialiased()] {
        for size in [(3, 4), (2, 2), (1, 1), (20, 5), (9, 11), (5, 30)] {
            check([2, 1, 9, 11], size, r);
        }
        check([1, 2, 1, 7], (2, 3), r);
    }
}

/// Large enough for several bands.
#[test]
fn bands_join() {
    let x = random(&[2, 3, 40, 37], 1);
    for (size, r) in
        [((330, 310), Resize::bilinear()), ((331, 17), Resize::bicubic()), ((13, 500), Resize::bicubic().antialiased())]
    {
        assert_close(&resize(&x, size, &r).unwrap(), &naive(&x, size, &r), 1e-10, "bands");
        let inputs = [x.clone()];
        let a = common::gradients(&inputs, &|t| resize(&t[0], size, &r));
        let b = common::gradients(&inputs, &|t| composed::resize(&t[0], size, &r));
        assert_close(&a[0], &b[0], 1e-9, "gradient of bands");
    }
}

#[test]
fn nearest_is_exact_copying() {
    let x = random(&[1, 2, 3, 5], 1).to_dtype(DType::F32).unwrap();
    let y = resize(&x, (6, 10), &Resize::nearest()).unwrap();
    assert_eq!(values(&y), values(&x.upsample_nearest2d(6, 10).unwrap()));
}

#[test]
fn empty_and_refused() {
    let x = Tensor::zeros((0, 2, 4, 4), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(resize(&x, (3, 7), &Resize::bilinear()).unwrap().dims(), [0, 2, 3, 7]);
    assert_eq!(composed::resize(&x, (3, 7), &Resize::bilinear()).unwrap().dims(), [0, 2, 3, 7]);
    let x = random(&[1, 1, 4, 4], 1);
    let text = resize(&x, (0, 7), &Resize::bilinear()).unwrap_err().to_string();
    assert!(text.contains("resize: parameter `size` is 0 × 7"), "{text}");
    let text = resize(&x, (3, 7), &Resize::nearest().antialiased()).unwrap_err().to_string();
    assert!(text.contains("nearest"), "{text}");
    let text = resize(&x, (3, 7), &Resize::bilinear().with_scale(f64::NAN, 1.)).unwrap_err().to_string();
    assert!(text.contains("scale"), "{text}");
    let text = resize(&random(&[1, 0, 0, 4], 1), (3, 7), &Resize::bilinear()).unwrap_err().to_string();
    assert!(text.contains("at least 1 × 1"), "{text}");
}
