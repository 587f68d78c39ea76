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

use crate::plane::{Plane, bands};
use crate::prepare::{Level, Prepared, Ramp, with_pixels};
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
    let map = Map::new(pixels, truth, pair.gt.first().unwrap_or(u8::MAX), &pair.values);
    let bands = bands(0..truth.height(), BAND);
    let around: Vec<_> = bands.iter().map(|band| map.around(band)).collect();
    let outside = columns::outside(truth, map.first, &around);
    let sums: Vec<(f64, f64)> = bands
        .into_par_iter()
        .zip(outside)
        .map_init(
            || (carry::Scratch::new(truth.width()), filter::Scratch::new()),
            |(scratch, rows), (band, outside)| {
                let outside = carry::errors(&map, &band, outside, scratch);
                (filter::errors(&map, &band, &scratch.carried(&map, &band), rows), outside)
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
    /// The lowest level that is an error in the background.
    lowest: Option<L>,
    /// The highest level that is an error in the foreground.
    highest: Option<L>,
}

impl<'a, L: Level> Map<'a, L> {
    fn new(pixels: &'a [L], truth: Plane<'a>, first: u8, values: &'a [f64]) -> Self {
        let ramp = Ramp::new(values);
        let (lowest, highest) = (ramp.above_zero(), ramp.below_one());
        Self { pixels, truth, first, ramp, lowest, highest }
    }

    fn row(&self, y: usize) -> &[L] {
        &self.pixels[y * self.truth.width()..][..self.truth.width()]
    }

    /// The rows that windows around the pixels of a band hold.
    fn around(&self, band: &Range<usize>) -> Range<usize> {
        band.start.saturating_sub(HALF)..(band.end + HALF).min(self.truth.height())
    }
}
