//! What comes from counts of levels, against the pixels one by one; and weighted F against its definition.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

use proptest::prelude::*;
use seg_metrics::{Evaluator, Metric, Plane, Protocol};

type Pair = (usize, usize, Vec<u8>, Vec<u8>);

/// Images of up to 24x24 pixels with few or many levels.
fn pairs() -> impl Strategy<Value = Pair> {
    (1usize..24, 1usize..24, 0u8..=255, 1u8..=255).prop_flat_map(|(w, h, low, span)| {
        let level = (0..=span).prop_map(move |v| low.saturating_add(v));
        let truth = prop::sample::select(vec![0u8, 0, 128, 129, 255]);
        (Just(w), Just(h), prop::collection::vec(level, w * h), prop::collection::vec(truth, w * h))
    })
}

/// Values and foreground of each pixel.
fn prepared(pred: &[u8], gt: &[u8]) -> (Vec<f64>, Vec<bool>) {
    let (low, high) = pred.iter().fold((255, 0), |(a, b), &v| (v.min(a), v.max(b)));
    let (low, high) = (f64::from(low) / 255., f64::from(high) / 255.);
    let value = |&v: &u8| {
        let v = f64::from(v) / 255.;
        if low == high { v } else { (v - low) / (high - low) }
    };
    (pred.iter().map(value).collect(), gt.iter().map(|&v| v > 128).collect())
}

fn weighted_f(values: &[f64], gt: &[bool], width: usize) -> f64 {
    let inside: Vec<usize> = (0..gt.len()).filter(|&i| gt[i]).collect();
    if inside.is_empty() {
        return 0.;
    }
    let at = |i: usize| ((i / width) as f64, (i % width) as f64);
    let error: Vec<f64> = values.iter().zip(gt).map(|(v, &t)| (v - f64::from(u8::from(t))).abs()).collect();
    let nearest: Vec<(f64, usize)> = (0..gt.len())
        .map(|i| {
            let key = |&j: &usize| {
                let ((a, b), (c, d)) = (at(i), at(j));
                ((a - c).powi(2) + (b - d).powi(2), d, c)
            };
            let best = inside.iter().min_by(|a, b| key(a).partial_cmp(&key(b)).unwrap()).unwrap();
            (key(best).0.sqrt(), *best)
        })
        .collect();
    let kernel = |dy: i64, dx: i64| (-((dy * dy + dx * dx) as f64) / 50.).exp();
    let total: f64 = (-3..=3).flat_map(|y| (-3..=3).map(move |x| kernel(y, x))).sum();
    let height = gt.len() / width;
    let filtered = |i: usize| -> f64 {
        let (y, x) = ((i / width) as i64, (i % width) as i64);
        let mut sum = 0.;
        for (dy, dx) in (-3..=3).flat_map(|dy| (-3..=3).map(move |dx| (dy, dx))) {
            let (r, c) = (y + dy, x + dx);
            if (0..height as i64).contains(&r) && (0..width as i64).contains(&c) {
                sum += kernel(dy, dx) / total * error[nearest[r as usize * width + c as usize].1];
            }
        }
        sum
    };
    let wrong_inside: f64 = inside.iter().map(|&i| error[i].min(filtered(i))).sum();
    let wrong_outside: f64 =
        (0..gt.len()).filter(|&i| !gt[i]).map(|i| error[i] * (2. - (0.5f64.ln() / 5. * nearest[i].0).exp())).sum();
    let n = inside.len() as f64;
    let (recall, hit) = (1. - wrong_inside / n, n - wrong_inside);
    let precision = hit / (hit + wrong_outside + f64::EPSILON);
    2. * recall * precision / (recall + precision + f64::EPSILON)
}

proptest! {
    #[test]
    fn counts_of_levels_are_counts_of_pixels((w, h, pred, gt) in pairs()) {
        let metrics = [Metric::Mae, Metric::Mse, Metric::FmeasureV2, Metric::Wfm];
        let evaluator = Evaluator::new(Protocol::default(), &metrics);
        let scores = evaluator.measure(Plane::new(&pred, w, h).unwrap(), Plane::new(&gt, w, h).unwrap()).unwrap();
        let (values, truth) = prepared(&pred, &gt);
        let n = values.len() as f64;
        let errors: Vec<f64> = values.iter().zip(&truth).map(|(v, &t)| (v - f64::from(u8::from(t))).abs()).collect();
        let near = |name: &str, expected: f64, tolerance: f64| {
            let ours = scores.value(name).unwrap();
            prop_assert!((ours - expected).abs() <= tolerance, "{name}: {ours}, expected {expected}");
            Ok(())
        };
        near("mae", errors.iter().sum::<f64>() / n, 1e-12)?;
        near("mse", errors.iter().map(|e| e * e).sum::<f64>() / n, 1e-12)?;
        near("wfm_beta1", weighted_f(&values, &truth, w), 1e-9)?;
        let (iou, oa) = (scores.curve("fmeasure_v2.iou.dynamic").unwrap(), scores.curve("fmeasure_v2.oa.dynamic").unwrap());
        for i in (0..256).step_by(15) {
            let found: Vec<bool> = values.iter().map(|v| (v * 255.) as u8 >= 255 - i as u8).collect();
            let both = found.iter().zip(&truth).filter(|(a, b)| **a && **b).count() as f64;
            let either = found.iter().zip(&truth).filter(|(a, b)| **a || **b).count() as f64;
            let same = found.iter().zip(&truth).filter(|(a, b)| a == b).count() as f64;
            prop_assert_eq!(iou[i], if either == 0. { 0. } else { both / either });
            prop_assert_eq!(oa[i], same / n);
        }
    }

    #[test]
    fn every_result_is_a_number_or_told_to_be_none((w, h, pred, gt) in pairs()) {
        for name in seg_metrics::PROTOCOLS {
            let evaluator = Evaluator::all(Protocol::named(name).unwrap());
            let scores = evaluator.measure(Plane::new(&pred, w, h).unwrap(), Plane::new(&gt, w, h).unwrap()).unwrap();
            for (result, value) in &scores.values {
                let may_be_none = ["mba", "boundary_iou", "mask_iou"].contains(&result.as_ref());
                prop_assert!(name != "default" || may_be_none || value.is_finite(), "{name} {result}: {value}");
                prop_assert!(!value.is_infinite(), "{name} {result}: {value}");
            }
        }
    }
}

/// A picture of several bands, strips and pieces: a bar, dots, and background too far away to tell the distance.
fn wide() -> Pair {
    let (w, h) = (1100, 130);
    let noise = |i: usize| (i as u64).wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407) >> 40;
    let inside = |x: usize, y: usize| {
        (x.abs_diff(500) < 8 && y > 20)
            || (x < 560 && y < 60 && noise(y * w + x).is_multiple_of(997))
            || (x, y) == (560, 129)
    };
    let gt = (0..w * h).map(|i| if inside(i % w, i / w) { 255 } else { 0 }).collect();
    let pred = (0..w * h).map(|i| (noise(7 * i) % 200) as u8 + if inside(i % w, i / w) { 55 } else { 0 }).collect();
    (w, h, pred, gt)
}

#[test]
fn weighted_f_of_a_wide_image() {
    let (w, h, pred, gt) = wide();
    let evaluator = Evaluator::new(Protocol::default(), &[Metric::Wfm]);
    let scores = evaluator.measure(Plane::new(&pred, w, h).unwrap(), Plane::new(&gt, w, h).unwrap()).unwrap();
    let (values, truth) = prepared(&pred, &gt);
    let (ours, expected) = (scores.value("wfm_beta1").unwrap(), weighted_f(&values, &truth, w));
    assert!((ours - expected).abs() <= 1e-12, "{ours}, expected {expected}");
}

#[test]
fn threads_do_not_change_a_bit() {
    let (w, h, pred, gt) = wide();
    let evaluator = Evaluator::new(Protocol::default(), &Metric::STANDARD);
    let bits = |threads: usize| -> Vec<(String, u64)> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (pred, gt) = (Plane::new(&pred, w, h).unwrap(), Plane::new(&gt, w, h).unwrap());
        let scores = pool.install(|| evaluator.measure(pred, gt)).unwrap();
        scores.values.iter().map(|(name, value)| (name.to_string(), value.to_bits())).collect()
    };
    let one = bits(1);
    assert_eq!(one, bits(2));
    assert_eq!(one, bits(7));
}
