//! What PySODMetrics gives where its arithmetic shows: the context measure in single precision, the size-invariant MAE of
//! images that the targets' rectangles cover. `golden/metrics/make_single_precision.py` made the numbers.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod common;

use common::{close, folder};
use seg_metrics::{Evaluator, Metric, Plane, Protocol};

/// The generator of the script.
fn generated(seed: u64, n: u64) -> Vec<u8> {
    let byte = |i: u64| {
        let mut z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 56) as u8
    };
    (1..=n).map(byte).collect()
}

fn inside(shape: &str, numbers: &[i64], x: i64, y: i64) -> bool {
    match (shape, numbers) {
        ("ellipse", &[cx, cy, a, b, lean]) => {
            let (u, v) = (1000 * (x - cx) + lean * (y - cy), 1000 * (y - cy));
            u * u * b * b + v * v * a * a <= 1_000_000 * a * a * b * b
        }
        _ => numbers.chunks_exact(4).any(|r| (r[0]..r[2]).contains(&x) && (r[1]..r[3]).contains(&y)),
    }
}

struct Case {
    row: String,
    pred: Vec<u8>,
    gt: Vec<u8>,
    size: (usize, usize),
    context: f64,
    mae: f64,
}

fn cases() -> Vec<Case> {
    let rows = std::fs::read_to_string(folder().join("single_precision.txt")).unwrap();
    let case = |row: &str| {
        let fields: Vec<&str> = row.split(' ').collect();
        let numbers: Vec<i64> = fields[1].split(',').filter_map(|n| n.parse().ok()).collect();
        let (width, height): (u64, u64) = (fields[2].parse().unwrap(), fields[3].parse().unwrap());
        let at = |i: u64| inside(fields[0], &numbers, (i % width) as i64, (i / width) as i64);
        let gt: Vec<u8> = (0..width * height).map(|i| if at(i) { 255 } else { 0 }).collect();
        let noise = generated(width * 1000 + height, width * height);
        let pred = noise.iter().zip(&gt).map(|(n, g)| n / 2 + g / 255 * 128).collect();
        let (context, mae) = (fields[4].parse().unwrap(), fields[5].parse().unwrap());
        Case { row: row.to_owned(), pred, gt, size: (width as usize, height as usize), context, mae }
    };
    rows.lines().map(case).collect()
}

/// Context measure and size-invariant MAE.
fn measure(case: &Case, protocol: Protocol) -> (f64, f64) {
    let (width, height) = case.size;
    let (pred, gt) = (Plane::new(&case.pred, width, height).unwrap(), Plane::new(&case.gt, width, height).unwrap());
    let metrics = [Metric::ContextMeasure, Metric::SizeInvariance];
    let scores = Evaluator::new(protocol, &metrics).measure(pred, gt).unwrap();
    (scores.value("context_measure").unwrap(), scores.value("size_invariance.mae").unwrap())
}

#[test]
fn pysodmetrics_to_the_last_digits() {
    let cases = cases();
    assert_eq!(cases.len(), 25);
    for case in &cases {
        let (context, mae) = measure(case, Protocol::pysodmetrics());
        assert!(close(context, case.context, 1e-10), "{}: {context}", case.row);
        assert!(close(mae, case.mae, 1e-12), "{}: {mae}", case.row);
    }
}

#[test]
fn the_clean_definition_is_near_and_has_no_hole() {
    for case in &cases() {
        let (context, mae) = measure(case, Protocol::default());
        assert!(close(context, case.context, 2e-7), "{}: {context}", case.row);
        assert!(close(mae, case.mae, 1e-12) || case.mae.is_nan() && mae > 0.2 && mae < 0.4, "{}: {mae}", case.row);
    }
}
