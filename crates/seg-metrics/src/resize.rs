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

/// OpenCV's `INTER_LINEAR` on float64: across, then down, each step `a + (b - a) * weight` rounded once. Sizes are
/// (width, height).
///
/// # Panics
/// When `image` is not as large as `from` says.
pub fn bilinear(image: &[f64], from: (usize, usize), to: (usize, usize)) -> Vec<f64> {
    let between = |a: f64, b: f64, tap: &Tap| (b - a).mul_add(f64::from(tap.weight), a);
    let columns = taps(from.0, to.0);
    let mut out = Vec::with_capacity(to.0 * to.1);
    for tap in taps(from.1, to.1) {
        let (upper, lower) = (&image[tap.first * from.0..][..from.0], &image[tap.second * from.0..][..from.0]);
        let across = |row: &[f64], c: &Tap| between(row[c.first], row[c.second], c);
        out.extend(columns.iter().map(|c| between(across(upper, c), across(lower, c), &tap)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_one_and_the_same_size() {
        let one = Plane::new(&[7], 1, 1).unwrap();
        assert_eq!(bilinear_u8(one, 3, 2), [7; 6]);
        let pixels: Vec<u8> = (0..12).map(|i| i * 20).collect();
        let plane = Plane::new(&pixels, 4, 3).unwrap();
        assert_eq!(bilinear_u8(plane, 4, 3), pixels);
        assert_eq!(bilinear(&[1., 3.], (2, 1), (4, 1)), [1., 1.5, 2.5, 3.]);
    }
}
