//! Weighted F-measure: Margolin et al., "How to Evaluate Foreground Maps?", CVPR 2014.
//!
//! The image is done in bands of rows, all steps of a band one after the other while its pixels are in the cache; no
//! intermediate image is kept.

mod carry;
mod columns;
mod filter;
mod squares;
#[cfg(test)]
mod tests;

use std::ops::Range;

use rayon::prelude::*;

use crate::plane::Plane;
use crate::prepare::{Prepared, Ramp, with_pixels};
use crate::protocol::WeightedFRule;
use crate::tally::Tally;

/// Half the width of the 7x7 Gaussian.
const HALF: usize = 3;
/// Its sigma.
const SIGMA: f64 = 5.;
/// Rows of a band.
const BAND: usize = 64;
/// Columns that are done together.
const PIECE: usize = 32;

/// One value for each weight of the precision in the rule.
pub(crate) fn weighted_f(pair: &Prepared<'_>, tally: &Tally, rule: &WeightedFRule) -> Vec<f64> {
    let truth = tally.foreground();
    if truth == 0 {
        return vec![if rule.empty_undefined { f64::NAN } else { 0. }; rule.beta2.len()];
    }
    let (inside, outside) = with_pixels!(pair, pixels => weighted_errors(pixels, pair));
    let truth = truth as f64;
    let (tp, fp) = (truth - inside, outside);
    let recall = 1. - inside / truth;
    let precision = tp / (tp + fp + rule.eps);
    let f = |beta2: &f64| (1. + beta2) * recall * precision / (recall + beta2 * precision + rule.eps);
    rule.beta2.iter().map(f).collect()
}

/// Sums of the weighted errors of foreground and background; there is some foreground.
fn weighted_errors<L: filter::Filtered>(pixels: &[L], pair: &Prepared<'_>) -> (f64, f64) {
    let truth = pair.gt.plane();
    let map = Map { pixels, truth, first: pair.gt.limit().0, ramp: Ramp::new(&pair.values) };
    let bands: Vec<Range<usize>> =
        (0..truth.height()).step_by(BAND).map(|y| y..(y + BAND).min(truth.height())).collect();
    let around: Vec<_> = bands.iter().map(|band| map.around(band)).collect();
    let outside = columns::outside(truth, map.first, &around);
    let sums: Vec<(f64, f64)> = bands
        .into_par_iter()
        .zip(around)
        .zip(outside)
        .map_init(
            || (carry::Scratch::new(map.truth.width()), filter::Scratch::new()),
            |(scratch, rows), ((band, around), outside)| {
                let outside = carry::errors(&map, &pair.values, &band, &around, outside, scratch);
                let carried = scratch.carried(&map, &around);
                (filter::errors(&map, &pair.values, &band, &carried, rows), outside)
            },
        )
        .collect();
    sums.into_iter().fold((0., 0.), |sum, band| (sum.0 + band.0, sum.1 + band.1))
}

/// A prediction and its truth.
struct Map<'a, L> {
    pixels: &'a [L],
    truth: Plane<'a>,
    /// Where the foreground begins.
    first: u8,
    ramp: Ramp<'a>,
}

impl<L> Map<'_, L> {
    fn row(&self, y: usize) -> &[L] {
        &self.pixels[y * self.truth.width()..][..self.truth.width()]
    }

    /// The rows that windows around the pixels of a band hold.
    fn around(&self, band: &Range<usize>) -> Range<usize> {
        band.start.saturating_sub(HALF)..(band.end + HALF).min(self.truth.height())
    }
}
