//! Polygons to runs, as pycocotools' `frPyObjects` fills them (`common/maskApi.c`): along outlines on a grid five times as fine.

use super::{Rle, Runs, check_area};
use crate::error::{DataError, Result};

/// The grid on which outlines are walked, to a pixel.
const FINE: f64 = 5.;
/// Largest coordinate that is accepted, to either side: walks stay short.
const FARTHEST: f64 = 1e6;
/// Most steps of a walk around one polygon.
const LONGEST: u64 = 1 << 32;

impl Rle {
    /// The inside of a polygon, `[x0, y0, x1, y1, …]` in pixels of which the first reaches from 0 to 1.
    ///
    /// # Errors
    /// Fewer than three points, an odd number of coordinates, one that is no number or beyond a million, an area beyond [`MAX_AREA`](super::MAX_AREA).
    pub fn from_polygon(xy: &[f64], width: u32, height: u32) -> Result<Self> {
        let area = check_area(width, height)?;
        let (points, rest) = xy.as_chunks::<2>();
        if points.len() < 3 || !rest.is_empty() {
            let n = xy.len();
            return Err(DataError::rle(format!("a polygon of {n} coordinates, expected an even number, at least 6")));
        }
        if let Some(wrong) = xy.iter().find(|v| v.is_nan() || v.abs() > FARTHEST) {
            return Err(DataError::rle(format!("a polygon's coordinate is {wrong}, expected -1000000 to 1000000")));
        }
        let corners: Vec<[i64; 2]> = points.iter().map(|p| p.map(|v| (FINE * v + 0.5) as i64)).collect();
        let edges = || corners.iter().zip(corners.iter().cycle().skip(1));
        let steps: u64 = edges().map(|(a, b)| a[0].abs_diff(b[0]).max(a[1].abs_diff(b[1])) + 1).sum();
        if steps > LONGEST {
            return Err(DataError::rle(format!("a polygon's outline has {steps} steps, expected at most {LONGEST}")));
        }
        // where the inside begins or ends, counted down the columns
        let mut turns: Vec<u64> = Vec::new();
        let mut last: Option<[i64; 2]> = None;
        for (from, to) in edges() {
            walk(*from, *to, |point| {
                if let Some(last) = last {
                    turns.extend(turn(last, point, width, height));
                }
                last = Some(point);
            });
        }
        turns.sort_unstable();
        let mut runs = Runs::default();
        let (mut at, mut inside) = (0, false);
        for turn in turns.into_iter().chain([area]) {
            // two at one place take each other back
            if turn > at {
                runs.push(inside, (turn - at) as u32);
            }
            (at, inside) = (turn, !inside);
        }
        Self::from_counts(runs.finish(), width, height)
    }

    /// What is inside any of several masks.
    ///
    /// # Errors
    /// When sizes differ, or there is none.
    pub fn union(masks: &[Self]) -> Result<Self> {
        let Some((first, others)) = masks.split_first() else {
            return Err(DataError::rle("no masks to join, expected at least one"));
        };
        let mut all = first.clone();
        for other in others {
            if other.dimensions() != first.dimensions() {
                let [a, b] = [first, other].map(|m| format!("{}x{}", m.width, m.height));
                return Err(DataError::rle(format!("masks of {a} and {b} cannot be joined")));
            }
            all = all.or(other);
        }
        Ok(all)
    }

    fn or(&self, other: &Self) -> Self {
        let ends = |rle: &Self| {
            let mut at = 0u64;
            rle.counts
                .iter()
                .map(move |&n| {
                    at += u64::from(n);
                    at
                })
                .collect::<Vec<_>>()
        };
        let (a, b) = (ends(self), ends(other));
        let area = u64::from(self.width) * u64::from(self.height);
        let (mut i, mut k, mut at) = (0, 0, 0);
        let mut runs = Runs::default();
        while at < area {
            // runs of length 0 end where they begin
            while i < a.len() && a[i] <= at {
                i += 1;
            }
            while k < b.len() && b[k] <= at {
                k += 1;
            }
            let end = a.get(i).copied().unwrap_or(area).min(b.get(k).copied().unwrap_or(area));
            runs.push(i % 2 == 1 || k % 2 == 1, (end - at) as u32);
            at = end;
        }
        Self { width: self.width, height: self.height, counts: runs.finish() }
    }
}

/// Every point of the fine grid from one corner to the next, both included.
fn walk(from: [i64; 2], to: [i64; 2], mut visit: impl FnMut([i64; 2])) {
    let (dx, dy) = ((to[0] - from[0]).abs(), (to[1] - from[1]).abs());
    // the longer axis goes step by step, the other one is rounded, from its lower end up
    let (long, length) = if dx >= dy { (0, dx) } else { (1, dy) };
    let turned = from[long] > to[long];
    let (start, end) = if turned { (to, from) } else { (from, to) };
    let slope = if length == 0 { 0. } else { (end[1 - long] - start[1 - long]) as f64 / length as f64 };
    for step in 0..=length {
        let t = if turned { length - step } else { step };
        let mut point = [0; 2];
        point[long] = start[long] + t;
        point[1 - long] = (start[1 - long] as f64 + slope * t as f64 + 0.5) as i64;
        visit(point);
    }
}

/// Where the outline passes the middle of a column of pixels.
fn turn(last: [i64; 2], point: [i64; 2], width: u32, height: u32) -> Option<u64> {
    if last[0] == point[0] {
        return None;
    }
    let left = if point[0] < last[0] { point[0] } else { point[0] - 1 };
    let x = (left as f64 + 0.5) / FINE - 0.5;
    if x.floor() != x || x < 0. || x > f64::from(width) - 1. {
        return None;
    }
    let y = (point[1].min(last[1]) as f64 + 0.5) / FINE - 0.5;
    Some(x as u64 * u64::from(height) + y.clamp(0., height.into()).ceil() as u64)
}
