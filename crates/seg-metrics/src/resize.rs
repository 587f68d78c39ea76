//! Resizing a prediction to its ground truth, as OpenCV does.

use crate::Plane;

/// One output position: the two source positions and the weight of the second.
struct Tap {
    first: usize,
    second: usize,
    weight: f32,
}

/// Where the pixels of a row or column of `to` come from in one of `from`: half-pixel centres, the border repeated.
fn taps(from: usize, to: usize) -> Vec<Tap> {
    let scale = from as f64 / to as f64;
    (0..to)
        .map(|i| {
            let at = ((i as f64 + 0.5) * scale - 0.5) as f32;
            let floor = at.floor();
            let (mut first, mut weight) = (floor as i64, at - floor);
            if first < 0 {
                (first, weight) = (0, 0.);
            }
            if first >= from as i64 - 1 {
                (first, weight) = (from as i64 - 1, 0.);
            }
            let first = first as usize;
            Tap { first, second: (first + 1).min(from - 1), weight }
        })
        .collect()
}

/// OpenCV's `INTER_LINEAR` on 8 bits: weights of 11 bits, rows then columns, rounded as its fixed-point code does.
pub fn bilinear_u8(image: Plane<'_>, width: usize, height: usize) -> Vec<u8> {
    const ONE: f32 = 2048.;
    let fixed = |tap: &Tap| {
        let second = (tap.weight * ONE).round_ties_even() as i32;
        (((1. - tap.weight) * ONE).round_ties_even() as i32, second)
    };
    let columns = taps(image.width(), width);
    let across = |y: usize| -> Vec<i32> {
        let row = image.row(y);
        columns
            .iter()
            .map(|tap| {
                let (a, b) = fixed(tap);
                i32::from(row[tap.first]) * a + i32::from(row[tap.second]) * b
            })
            .collect()
    };
    let mut out = Vec::with_capacity(width * height);
    let mut kept: [(usize, Vec<i32>); 2] = [(usize::MAX, Vec::new()), (usize::MAX, Vec::new())];
    for tap in taps(image.height(), height) {
        let (a, b) = fixed(&tap);
        if kept[1].0 == tap.first {
            kept.swap(0, 1);
        }
        for (slot, y) in [tap.first, tap.second].into_iter().enumerate() {
            if kept[slot].0 != y {
                kept[slot] = (y, across(y));
            }
        }
        let (upper, lower) = (&kept[0].1, &kept[1].1);
        out.extend(upper.iter().zip(lower).map(|(&u, &l)| {
            let sum = ((a * (u >> 4)) >> 16) + ((b * (l >> 4)) >> 16);
            ((sum + 2) >> 2).clamp(0, 255) as u8
        }));
    }
    out
}

/// OpenCV's `INTER_LINEAR` on float64: weights in float32, the sums in float64. Sizes are (width, height).
pub(crate) fn bilinear(image: &[f64], from: (usize, usize), to: (usize, usize)) -> Vec<f64> {
    let columns = taps(from.0, to.0);
    let mut out = Vec::with_capacity(to.0 * to.1);
    for tap in taps(from.1, to.1) {
        let (upper, lower) = (&image[tap.first * from.0..][..from.0], &image[tap.second * from.0..][..from.0]);
        let across =
            |row: &[f64], c: &Tap| row[c.first] * f64::from(1. - c.weight) + row[c.second] * f64::from(c.weight);
        let (a, b) = (f64::from(1. - tap.weight), f64::from(tap.weight));
        out.extend(columns.iter().map(|c| across(upper, c) * a + across(lower, c) * b));
    }
    out
}
