//! Errors of the foreground, each the smaller of itself and its neighbourhood's.

use std::ops::Range;

use super::carry::Carried;
use super::{HALF, Map, SIGMA};
use crate::prepare::{Level, Ramp};
use crate::wide::{Wide, any, mask, widest};

/// Columns whose errors are filtered together.
const STRIP: usize = 128;
/// Rows that are kept.
const KEPT: usize = 8;

/// Errors of a row of a strip, weighted along the row.
type Errors = [f64; STRIP];
/// Levels of a row of a strip, with `HALF` columns on either side.
type Levels<L> = [L; STRIP + 2 * HALF];

/// What is used for one band after the other.
pub(super) struct Scratch {
    /// The last rows: `y` at `y % KEPT`.
    rows: Box<[Errors; KEPT]>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self { rows: Box::new([[0.; STRIP]; KEPT]) }
    }
}

/// Sums the errors of a band's foreground.
pub(super) fn errors<L: Filtered>(
    map: &Map<'_, L>,
    band: &Range<usize>,
    carried: &Carried<'_, L>,
    scratch: &mut Scratch,
) -> f64 {
    let Some(highest) = map.highest else { return 0. };
    let (kernel, rows) = (kernel(), &mut *scratch.rows);
    let strips = (0..map.truth.width()).step_by(STRIP);
    strips
        .map(|x| {
            let inside = inside(&kernel, x, map.truth.width());
            widest(Strip { map, carried, highest, kernel, inside, band, x, rows: &mut *rows })
        })
        .sum()
}

/// The Gaussian along one axis, of sum 1, up to its middle.
type Kernel = [f64; HALF + 1];

fn kernel() -> Kernel {
    let raw: [f64; HALF + 1] = std::array::from_fn(|i| {
        let d = HALF as f64 - i as f64;
        (-d * d / (2. * SIGMA * SIGMA)).exp()
    });
    let sum = 2. * raw[..HALF].iter().sum::<f64>() + raw[HALF];
    raw.map(|v| v / sum)
}

/// How much of the Gaussian lies inside the image, for the columns of a strip.
fn inside(kernel: &Kernel, x: usize, width: usize) -> Errors {
    if x >= HALF && x + STRIP + HALF <= width {
        return [1.; STRIP];
    }
    let lies = |at: usize| f64::from(u8::from((HALF..width + HALF).contains(&at)));
    std::array::from_fn(|i| weigh(kernel, &std::array::from_fn::<_, { 2 * HALF + 1 }, _>(|k| lies(x + i + k))))
}

/// Sums the errors of the foreground in `STRIP` columns from `x` on.
struct Strip<'a, L> {
    map: &'a Map<'a, L>,
    carried: &'a Carried<'a, L>,
    /// The highest level that is an error.
    highest: L,
    kernel: Kernel,
    inside: Errors,
    band: &'a Range<usize>,
    x: usize,
    rows: &'a mut [Errors; KEPT],
}

impl<L: Filtered> Wide for Strip<'_, L> {
    type Output = f64;

    #[inline(always)]
    fn run(mut self) -> f64 {
        let Map { truth, first, .. } = *self.map;
        let columns = self.x..(self.x + STRIP).min(truth.width());
        let (mut sums, mut kept) = ([0.; 8], [usize::MAX; KEPT]);
        for y in self.band.clone() {
            // the foreground carries its own errors
            let (pred, truth) = (&self.carried.row(y)[columns.clone()], &truth.row(y)[columns.clone()]);
            let mut marks = [0; STRIP];
            for ((mark, p), t) in marks.iter_mut().zip(pred).zip(truth) {
                *mark = mask((*t >= first) & (*p <= self.highest));
            }
            if !any(&marks) {
                continue;
            }
            for at in y.saturating_sub(HALF)..(y + HALF + 1).min(self.map.truth.height()) {
                if kept[at % KEPT] != at {
                    kept[at % KEPT] = at;
                    self.across(at);
                }
            }
            let mut own = [0.; STRIP];
            L::values(pred, &self.map.ramp, &mut own);
            self.add(y, &own, &marks, &mut sums);
        }
        sums.iter().sum()
    }
}

impl<L: Filtered> Strip<'_, L> {
    /// Weights the errors of row `y` along it; beyond the image there are none.
    #[inline(always)]
    fn across(&mut self, y: usize) {
        let (row, out) = (self.carried.row(y), &mut self.rows[y % KEPT]);
        let mut filled = [L::of(0); STRIP + 2 * HALF];
        let whole = self.x.checked_sub(HALF).and_then(|from| row.get(from..)?.first_chunk());
        let levels = whole.unwrap_or_else(|| {
            let before = HALF.min(self.x);
            let row = &row[self.x - before..(self.x + STRIP + HALF).min(row.len())];
            filled[HALF - before..][..row.len()].copy_from_slice(row);
            &filled
        });
        L::across(levels, &self.map.ramp, &self.kernel, &self.inside, out);
    }

    /// Adds the marked errors of row `y`, filtered where that is less.
    #[inline(always)]
    fn add(&self, y: usize, own: &Errors, marks: &[u8; STRIP], sums: &mut [f64; 8]) {
        let zeros = [0.; STRIP];
        let mut around = [&zeros; 2 * HALF + 1];
        for (k, row) in around.iter_mut().enumerate() {
            if let Some(at) = (y + k).checked_sub(HALF).filter(|&at| at < self.map.truth.height()) {
                *row = &self.rows[at % KEPT];
            }
        }
        for from in (0..STRIP).step_by(8) {
            for (i, sum) in (from..from + 8).zip(&mut *sums) {
                let mut column = [0.; 2 * HALF + 1];
                column.iter_mut().zip(&around).for_each(|(error, row)| *error = row[i]);
                let (own, near) = (1. - own[i], weigh(&self.kernel, &column));
                let smaller = if near < own { near } else { own };
                *sum += if marks[i] != 0 { smaller } else { 0. };
            }
        }
    }
}

/// The weighted sum of seven numbers, symmetric about the middle one.
#[inline(always)]
fn weigh(kernel: &Kernel, v: &[f64]) -> f64 {
    let sum = kernel[3] * v[3];
    let sum = kernel[2].mul_add(v[2] + v[4], sum);
    let sum = kernel[1].mul_add(v[1] + v[5], sum);
    kernel[0].mul_add(v[0] + v[6], sum)
}

/// Levels whose errors can be filtered along a row.
pub(super) trait Filtered: Level {
    /// Weights the errors of a strip's levels. Beyond the image, where there are none, the level is 0.
    fn across(levels: &Levels<Self>, ramp: &Ramp<'_>, kernel: &Kernel, inside: &Errors, out: &mut Errors);
}

impl Filtered for u8 {
    #[inline(always)]
    fn across(levels: &Levels<Self>, ramp: &Ramp<'_>, kernel: &Kernel, inside: &Errors, out: &mut Errors) {
        // errors lie on a straight line too: levels of either side are added as integers
        let (at_zero, slope) = ramp.line();
        let weights = [kernel[0] * slope, kernel[1] * slope, kernel[2] * slope, kernel[3] * slope * 0.5];
        for ((out, inside), window) in out.iter_mut().zip(inside).zip(levels.windows(2 * HALF + 1)) {
            let mut sum = 0.;
            for (k, weight) in weights.iter().enumerate() {
                sum = weight.mul_add(f64::from(i32::from(window[k]) + i32::from(window[2 * HALF - k])), sum);
            }
            *out = (1. - at_zero) * inside - sum;
        }
    }
}

impl Filtered for u32 {
    #[inline(always)]
    fn across(levels: &Levels<Self>, ramp: &Ramp<'_>, kernel: &Kernel, inside: &Errors, out: &mut Errors) {
        let (mut values, mut lowest) = ([0.; STRIP + 2 * HALF], [0.]);
        u32::values(levels, ramp, &mut values);
        u32::values(&[0], ramp, &mut lowest);
        // beyond the image there is the first level
        values.iter_mut().for_each(|value| *value -= lowest[0]);
        for ((out, inside), window) in out.iter_mut().zip(inside).zip(values.windows(2 * HALF + 1)) {
            *out = (1. - lowest[0]) * inside - weigh(kernel, window);
        }
    }
}
