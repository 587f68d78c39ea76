//! Weighted F-measure: Margolin et al., "How to Evaluate Foreground Maps?", CVPR 2014.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::distance::{Nearest, nearest_features};
use crate::prepare::{Level, Prepared, with_pixels};
use crate::protocol::WeightedFRule;
use crate::tally::Tally;

/// Half the width of the 7x7 Gaussian.
const HALF: usize = 3;
/// Its sigma.
const SIGMA: f64 = 5.;
/// From this distance on the weight of a background pixel is 2 to the last bit.
const FAR: usize = 270;
/// Rows that one task filters.
const BAND: usize = 32;

/// One value for each weight of the precision in the rule.
pub(crate) fn weighted_f(pair: &Prepared<'_>, tally: &Tally, rule: &WeightedFRule) -> Vec<f64> {
    let truth = tally.foreground();
    if truth == 0 {
        return vec![if rule.empty_undefined { f64::NAN } else { 0. }; rule.beta2.len()];
    }
    let (inside, outside) = with_pixels!(pair, pixels => weighted_errors(pixels, pair, tally));
    let truth = truth as f64;
    let (tp, fp) = (truth - inside, outside);
    let recall = 1. - inside / truth;
    let precision = tp / (tp + fp + rule.eps);
    let f = |beta2: &f64| (1. + beta2) * recall * precision / (recall + beta2 * precision + rule.eps);
    rule.beta2.iter().map(f).collect()
}

/// Sums of the weighted errors of foreground and background.
fn weighted_errors<L: Level + Default>(pixels: &[L], pair: &Prepared<'_>, tally: &Tally) -> (f64, f64) {
    // each background pixel as its nearest foreground pixel is, the rest as it is
    let mut carried = vec![L::default(); pixels.len()];
    let outside = if tally.background() == 0 {
        carried.copy_from_slice(pixels);
        0.
    } else {
        carry(pixels, pair, &mut carried)
    };
    (inside_errors(pixels, &carried, pair), outside)
}

/// Fills `carried` and sums the background's errors, weighted by their distance to the foreground.
fn carry<L: Level>(pixels: &[L], pair: &Prepared<'_>, carried: &mut [L]) -> f64 {
    let (width, gt) = (pair.width(), pair.gt);
    let weights = weights();
    let sums: Vec<AtomicU64> = (0..pair.height()).map(|_| AtomicU64::new(0)).collect();
    nearest_features(
        gt.plane().data(),
        width,
        |&t| gt.holds(t),
        carried,
        |y, nearest: &[Nearest], carried| {
            let (pred, truth) = (&pixels[y * width..][..width], gt.plane().row(y));
            let mut sum = 0.;
            for (x, (out, at)) in carried.iter_mut().zip(nearest).enumerate() {
                *out = pixels[at.index(width)];
                let error = pair.values[pred[x].index()];
                if error > 0. && !gt.holds(truth[x]) {
                    let squared = at.squared_distance(y, x) as usize;
                    sum += error * weights.get(squared).copied().unwrap_or(2.);
                }
            }
            // each row is written once; the sums are added in order below
            sums[y].store(sum.to_bits(), Ordering::Relaxed);
        },
    );
    sums.iter().map(|bits| f64::from_bits(bits.load(Ordering::Relaxed))).sum()
}

/// The weight of a background pixel by its squared distance from the foreground: 1 at it, 2 far away, half of the way
/// every five pixels.
fn weights() -> &'static [f64] {
    static TABLE: OnceLock<Vec<f64>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let decay = 0.5f64.ln() / 5.;
        (0..FAR * FAR).map(|squared| 2. - (decay * (squared as f64).sqrt()).exp()).collect()
    })
}

/// The Gaussian along one axis, of sum 1.
fn kernel() -> [f64; 2 * HALF + 1] {
    let raw: [f64; 2 * HALF + 1] = std::array::from_fn(|i| {
        let d = i as f64 - HALF as f64;
        (-d * d / (2. * SIGMA * SIGMA)).exp()
    });
    let sum: f64 = raw.iter().sum();
    raw.map(|v| v / sum)
}

/// Sums the foreground's errors, each the smaller of itself and its neighbourhood's.
fn inside_errors<L: Level>(pixels: &[L], carried: &[L], pair: &Prepared<'_>) -> f64 {
    let errors: Vec<f64> = pair.values.iter().map(|v| (v - 1.).abs()).collect();
    let starts: Vec<usize> = (0..pair.height()).step_by(BAND).collect();
    let sums: Vec<f64> = starts
        .into_par_iter()
        .map(|start| {
            let mut filter = Filter::new(carried, &errors, pair);
            (start..(start + BAND).min(pair.height())).map(|y| filter.row(y, pixels)).sum()
        })
        .collect();
    sums.iter().sum()
}

/// Filters the rows of a band from the top.
struct Filter<'a, L> {
    carried: &'a [L],
    errors: &'a [f64],
    pair: &'a Prepared<'a>,
    kernel: [f64; 2 * HALF + 1],
    /// Errors of the last rows, row `y` at `y % 8`, and which row each is.
    rows: [(usize, Vec<f64>); 8],
    /// Sums down the columns, with `HALF` zeros at either end.
    down: Vec<f64>,
}

impl<'a, L: Level> Filter<'a, L> {
    fn new(carried: &'a [L], errors: &'a [f64], pair: &'a Prepared<'a>) -> Self {
        let width = pair.width();
        Self {
            carried,
            errors,
            pair,
            kernel: kernel(),
            rows: std::array::from_fn(|_| (usize::MAX, Vec::new())),
            down: vec![0.; width + 2 * HALF],
        }
    }

    /// The sum of row `y`.
    fn row(&mut self, y: usize, pixels: &[L]) -> f64 {
        let (width, gt) = (self.pair.width(), self.pair.gt);
        let (pred, truth) = (&pixels[y * width..][..width], gt.plane().row(y));
        let (first, any) = gt.limit();
        let wrong = |x: usize| any && truth[x] >= first && self.errors[pred[x].index()] > 0.;
        let Some(from) = (0..width).find(|&x| wrong(x)) else { return 0. };
        let to = (from..width).rev().find(|&x| wrong(x)).unwrap_or(from) + 1;
        self.sum_columns(y, from.saturating_sub(HALF), (to + HALF).min(width));
        let mut sum = 0.;
        for x in from..to {
            let error = self.errors[pred[x].index()];
            if truth[x] >= first && error > 0. {
                let near: f64 = self.down[x..].iter().zip(&self.kernel).map(|(v, k)| v * k).sum();
                sum += error.min(near);
            }
        }
        sum
    }

    /// Fills `down` for the columns `from..to` of row `y`; beyond the image there are zeros.
    fn sum_columns(&mut self, y: usize, from: usize, to: usize) {
        let (width, height) = (self.pair.width(), self.pair.height());
        let down = &mut self.down[HALF..HALF + width][from..to];
        down.fill(0.);
        for (k, weight) in self.kernel.iter().enumerate() {
            let Some(at) = (y + k).checked_sub(HALF).filter(|&at| at < height) else { continue };
            let (kept, row) = &mut self.rows[at % 8];
            if *kept != at {
                *kept = at;
                row.clear();
                row.extend(self.carried[at * width..][..width].iter().map(|level| self.errors[level.index()]));
            }
            for (sum, error) in down.iter_mut().zip(&row[from..to]) {
                *sum += weight * error;
            }
        }
        // what an earlier row left beside this row's columns
        for x in from.saturating_sub(HALF)..from {
            self.down[HALF + x] = 0.;
        }
        for x in to..(to + HALF).min(width) {
            self.down[HALF + x] = 0.;
        }
    }
}
