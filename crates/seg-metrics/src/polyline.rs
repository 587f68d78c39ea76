//! Simplification of pixel chains as OpenCV's `approxPolyDP` does it: Douglas and Peucker's method ("Algorithms for the
//! reduction of the number of points required to represent a digitized line or its caricature", 1973) with OpenCV's
//! clean-up pass.

use serde::{Deserialize, Serialize};

/// To what the distance of a point is measured when a chain is split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChordDistance {
    /// The infinite line through the ends: OpenCV up to 4.12, and all numbers published before 2026.
    #[default]
    Line,
    /// The segment between the ends: OpenCV from 4.13.
    Segment,
}

/// A pixel, column and row.
pub type Point = (i32, i32);

/// How many vertices a chain of distinct pixels has when it is simplified as an open curve.
///
/// `scratch` spares allocations between calls.
pub fn simplified_len(points: &[Point], epsilon: f64, distance: ChordDistance, scratch: &mut Scratch) -> usize {
    if points.len() < 3 {
        return points.len();
    }
    let epsilon = epsilon * epsilon;
    let Scratch { kept, stack } = scratch;
    kept.clear();
    stack.push((0, points.len() - 1));
    while let Some((from, to)) = stack.pop() {
        match farthest(&points[from..=to], epsilon, distance) {
            Some(split) => stack.extend([(from + split, to), (from, from + split)]),
            None => kept.push(points[from]),
        }
    }
    kept.push(points[points.len() - 1]);
    kept.len() - nearly_straight(kept, epsilon)
}

/// Memory of [`simplified_len`].
#[derive(Default)]
pub struct Scratch {
    kept: Vec<Point>,
    stack: Vec<(usize, usize)>,
}

/// The first of the points farthest from the chord, unless none is farther than the square root of `epsilon`.
fn farthest(points: &[Point], epsilon: f64, distance: ChordDistance) -> Option<usize> {
    let (start, end) = (points[0], points[points.len() - 1]);
    let chord = minus(end, start);
    let length = dot(chord, chord) as f64;
    // squared distances times the chord's squared length
    let (mut best, mut best_at) = (0.0, 0);
    for (i, &p) in points.iter().enumerate().skip(1).take(points.len().saturating_sub(2)) {
        let to = minus(p, start);
        let along = dot(to, chord);
        let far = match distance {
            ChordDistance::Segment if along < 0 => dot(to, to) as f64 * length,
            ChordDistance::Segment if along as f64 > length => {
                let from_end = minus(p, end);
                dot(from_end, from_end) as f64 * length
            }
            _ => (cross(to, chord) as f64).powi(2),
        };
        if far > best {
            (best, best_at) = (far, i);
        }
    }
    (best > epsilon * length).then_some(best_at)
}

/// How many vertices the clean-up pass drops.
fn nearly_straight(points: &[Point], epsilon: f64) -> usize {
    let mut dropped = 0;
    let mut start = points[0];
    let mut i = 1;
    while i + 1 < points.len() && points.len() - dropped > 2 {
        let (middle, end) = (points[i], points[i + 1]);
        let chord = minus(end, start);
        let off = cross(minus(middle, start), chord) as f64;
        let forward = dot(minus(middle, start), minus(end, middle)) >= 0;
        if off * off <= 0.5 * epsilon * dot(chord, chord) as f64 && chord.0 != 0 && chord.1 != 0 && forward {
            // the vertex after a dropped one stays
            dropped += 1;
            start = end;
            i += 2;
        } else {
            start = middle;
            i += 1;
        }
    }
    dropped
}

fn minus(a: Point, b: Point) -> (i64, i64) {
    (i64::from(a.0) - i64::from(b.0), i64::from(a.1) - i64::from(b.1))
}

fn dot(a: (i64, i64), b: (i64, i64)) -> i64 {
    a.0 * b.0 + a.1 * b.1
}

fn cross(a: (i64, i64), b: (i64, i64)) -> i64 {
    a.0 * b.1 - a.1 * b.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths that `approxPolyDP` gives for zigzags, at tolerances 1, 2 and 4.
    fn assert_lengths(distance: ChordDistance, theirs: [[usize; 3]; 9]) {
        let shapes = [
            (1, 2, 3, 7),
            (2, 2, 3, 7),
            (3, 2, 3, 7),
            (40, 1, 9, 5),
            (60, 3, 7, 11),
            (200, 2, 5, 23),
            (300, 1, 40, 4),
            (500, 1, 60, 3),
            (400, 5, 3, 40),
        ];
        let mut scratch = Scratch::default();
        for ((n, a, b, m), theirs) in shapes.into_iter().zip(theirs) {
            let points: Vec<Point> = (0..n).map(|i| (i * a % m + i / b, i * i * b % m - i / a)).collect();
            let ours = [1., 2., 4.].map(|epsilon| simplified_len(&points, epsilon, distance, &mut scratch));
            assert_eq!(ours, theirs, "{n} points, {a}, {b}, {m}");
        }
    }

    #[test]
    fn equals_opencv_4_12() {
        assert_lengths(
            ChordDistance::Line,
            [
                [1, 1, 1],
                [2, 2, 2],
                [2, 2, 2],
                [33, 29, 8],
                [57, 47, 37],
                [195, 161, 92],
                [150, 134, 2],
                [318, 2, 2],
                [386, 353, 300],
            ],
        );
    }

    #[test]
    fn equals_opencv_4_14() {
        assert_lengths(
            ChordDistance::Segment,
            [
                [1, 1, 1],
                [2, 2, 2],
                [2, 2, 2],
                [33, 32, 8],
                [57, 47, 37],
                [195, 160, 92],
                [150, 134, 2],
                [318, 2, 2],
                [386, 353, 300],
            ],
        );
    }
}
