//! Weighted F-measure: Margolin et al., "How to Evaluate Foreground Maps?", CVPR 2014.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::distance::{RowFeatures, nearest_features};
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
const BAND: usize = 64;
/// Pixels between two runs below which they are done as one.
const GAP: usize = 8;

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
fn weighted_errors<L: Level>(pixels: &[L], pair: &Prepared<'_>, tally: &Tally) -> (f64, f64) {
    // each pixel as it is; near the foreground, the background as the nearest foreground pixel is
    let mut carried = pixels.to_vec();
    let outside = if tally.background() == 0 { 0. } else { carry(pixels, pair, &mut carried) };
    (inside_errors(pixels, &carried, pair), outside)
}

/// Carries the foreground's levels as far into the background as the Gaussian looks, and sums the background's errors,
/// weighted by their distance to the foreground.
fn carry<L: Level>(pixels: &[L], pair: &Prepared<'_>, carried: &mut [L]) -> f64 {
    let (width, gt) = (pair.width(), pair.gt);
    let (first, _) = gt.limit();
    // values do not fall, so the levels below are no errors
    let lowest = L::of(pair.values.iter().position(|&v| v > 0.).unwrap_or(0));
    let weights = weights();
    let sums: Vec<AtomicU64> = (0..pair.height()).map(|_| AtomicU64::new(0)).collect();
    nearest_features(
        gt.plane().data(),
        width,
        move |&t| t >= first,
        carried,
        |y, features, carried| {
            let (pred, truth) = (&pixels[y * width..][..width], gt.plane().row(y));
            let mut wanted = vec![false; width];
            reached(features, &mut wanted);
            // copies that no store can change: the loop is vectorised
            let (first, lowest) = (first, lowest);
            for ((wanted, p), t) in wanted.iter_mut().zip(pred).zip(truth) {
                *wanted = (*wanted | (*p >= lowest)) & (*t < first);
            }
            let mut sum = 0.;
            for run in runs(&wanted) {
                features.visit(run, |span, nearest| {
                    let (rows, col) = ((nearest.row as usize).abs_diff(y), nearest.col as usize);
                    if rows == 0 && col == span.start {
                        return; // foreground between two runs
                    }
                    let level = pixels[nearest.index(width)];
                    for ((x, p), out) in span.clone().zip(&pred[span.clone()]).zip(&mut carried[span]) {
                        let columns = x.wrapping_sub(col);
                        let squared = columns.wrapping_mul(columns).wrapping_add(rows * rows);
                        sum += pair.values[p.index()] * weights.get(squared).copied().unwrap_or(2.);
                        *out = level;
                    }
                });
            }
            // each row is written once; the sums are added in order below
            sums[y].store(sum.to_bits(), Ordering::Relaxed);
        },
    );
    sums.iter().map(|bits| f64::from_bits(bits.load(Ordering::Relaxed))).sum()
}

/// Marks the pixels of a row that a window around some foreground pixel holds.
fn reached(features: &RowFeatures<'_>, marks: &mut [bool]) {
    let width = marks.len();
    let mut close = vec![false; width + 2 * HALF];
    close[HALF..].iter_mut().zip(features.rows_away()).for_each(|(close, rows)| *close = rows <= HALF as u32);
    for side in 0..=2 * HALF {
        marks.iter_mut().zip(&close[side..]).for_each(|(mark, close)| *mark |= close);
    }
}

/// The runs of marks; those with little between them are one.
fn runs(marks: &[bool]) -> impl Iterator<Item = Range<usize>> {
    let next = |from: usize| {
        let skipped = marks[from..].chunks(16).take_while(|piece| !piece.iter().fold(false, |a, b| a | b)).count();
        let from = (from + 16 * skipped).min(marks.len());
        marks[from..].iter().position(|&mark| mark).map(|n| from + n)
    };
    let end = |from: usize| marks[from..].iter().position(|&mark| !mark).map_or(marks.len(), |n| from + n);
    let mut start = next(0);
    std::iter::from_fn(move || {
        let run = start?;
        let mut to = end(run);
        loop {
            start = next(to);
            match start {
                Some(other) if other - to <= GAP => to = end(other),
                _ => return Some(run..to),
            }
        }
    })
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

/// The Gaussian along one axis, of sum 1, up to its middle.
fn kernel() -> [f64; HALF + 1] {
    let raw: [f64; HALF + 1] = std::array::from_fn(|i| {
        let d = HALF as f64 - i as f64;
        (-d * d / (2. * SIGMA * SIGMA)).exp()
    });
    let sum = 2. * raw[..HALF].iter().sum::<f64>() + raw[HALF];
    raw.map(|v| v / sum)
}

/// Sums the foreground's errors, each the smaller of itself and its neighbourhood's.
fn inside_errors<L: Level>(pixels: &[L], carried: &[L], pair: &Prepared<'_>) -> f64 {
    let errors: Vec<f64> = pair.values.iter().map(|v| (v - 1.).abs()).collect();
    // values do not fall, so the levels above are right
    let Some(highest) = errors.iter().rposition(|&error| error > 0.).map(L::of) else { return 0. };
    let starts: Vec<usize> = (0..pair.height()).step_by(BAND).collect();
    let sums: Vec<f64> = starts
        .into_par_iter()
        .map(|start| {
            let mut filter = Filter::new(carried, &errors, highest, pair);
            (start..(start + BAND).min(pair.height())).map(|y| filter.row(y, pixels)).sum()
        })
        .collect();
    sums.iter().sum()
}

/// Filters the rows of a band from the top.
struct Filter<'a, L> {
    carried: &'a [L],
    errors: &'a [f64],
    /// The highest level that is an error.
    highest: L,
    pair: &'a Prepared<'a>,
    kernel: [f64; HALF + 1],
    /// Errors of the last rows, row `y` at `y % 8`, and which row each is; with `HALF` zeros at either end.
    rows: [(usize, Vec<f64>); 8],
    /// A row outside the image.
    zeros: Vec<f64>,
    marks: Vec<bool>,
    /// Of one run: the sums down the columns, with `HALF` columns at either end; the filtered errors; the errors.
    down: Vec<f64>,
    near: Vec<f64>,
    own: Vec<f64>,
}

impl<'a, L: Level> Filter<'a, L> {
    fn new(carried: &'a [L], errors: &'a [f64], highest: L, pair: &'a Prepared<'a>) -> Self {
        let zeros = vec![0.; pair.width() + 2 * HALF];
        Self {
            carried,
            errors,
            highest,
            pair,
            kernel: kernel(),
            rows: std::array::from_fn(|_| (usize::MAX, zeros.clone())),
            marks: vec![false; pair.width()],
            down: zeros.clone(),
            near: zeros.clone(),
            own: zeros.clone(),
            zeros,
        }
    }

    /// The sum of row `y`.
    fn row(&mut self, y: usize, pixels: &[L]) -> f64 {
        let (width, gt) = (self.pair.width(), self.pair.gt);
        let (pred, truth) = (&pixels[y * width..][..width], gt.plane().row(y));
        let ((first, any), highest) = (gt.limit(), self.highest);
        if !any {
            return 0.;
        }
        for ((mark, p), t) in self.marks.iter_mut().zip(pred).zip(truth) {
            *mark = (*t >= first) & (*p <= highest);
        }
        let marks = std::mem::take(&mut self.marks);
        let mut sum = 0.;
        for run in runs(&marks) {
            self.convert(y);
            self.filter(y, run.clone());
            let own = &mut self.own[..run.len()];
            for ((own, p), mark) in own.iter_mut().zip(&pred[run.clone()]).zip(&marks[run.clone()]) {
                *own = if *mark { self.errors[p.index()] } else { 0. };
            }
            sum += sum_of_minima(own, &self.near[..run.len()]);
        }
        self.marks = marks;
        sum
    }

    /// Looks up the errors around row `y`, where that is not done yet.
    fn convert(&mut self, y: usize) {
        let (width, height) = (self.pair.width(), self.pair.height());
        for at in y.saturating_sub(HALF)..(y + HALF + 1).min(height) {
            let (kept, row) = &mut self.rows[at % 8];
            if *kept != at {
                *kept = at;
                let levels = &self.carried[at * width..][..width];
                row[HALF..].iter_mut().zip(levels).for_each(|(error, level)| *error = self.errors[level.index()]);
            }
        }
    }

    /// Fills `near` with the filtered errors of some columns of row `y`; beyond the image there are zeros.
    fn filter(&mut self, y: usize, columns: Range<usize>) {
        let with_sides = columns.start..columns.end + 2 * HALF;
        let height = self.pair.height();
        let around: [&[f64]; 2 * HALF + 1] = std::array::from_fn(|k| {
            let at = (y + k).checked_sub(HALF).filter(|&at| at < height);
            &at.map_or(&self.zeros, |at| &self.rows[at % 8].1)[with_sides.clone()]
        });
        let down = &mut self.down[..with_sides.len()];
        weigh(&self.kernel, around, down);
        let near = &mut self.near[..columns.len()];
        weigh(&self.kernel, std::array::from_fn(|k| &down[k..][..near.len()]), near);
    }
}

/// The weighted sum of seven slices, symmetric about the middle one.
fn weigh(kernel: &[f64; HALF + 1], slices: [&[f64]; 2 * HALF + 1], out: &mut [f64]) {
    let n = out.len();
    let [a, b, c, d, e, f, g] = slices.map(|slice| &slice[..n]);
    for i in 0..n {
        out[i] = kernel[0] * (a[i] + g[i]) + kernel[1] * (b[i] + f[i]) + kernel[2] * (c[i] + e[i]) + kernel[3] * d[i];
    }
}

/// The sum of the smaller of each two, in four parts that do not wait for each other.
fn sum_of_minima(a: &[f64], b: &[f64]) -> f64 {
    let smaller = |(a, b): (&f64, &f64)| if b < a { *b } else { *a };
    let mut sums = [0.; 4];
    for (a, b) in a.chunks(4).zip(b.chunks(4)) {
        sums.iter_mut().zip(a.iter().zip(b).map(smaller)).for_each(|(sum, v)| *sum += v);
    }
    sums.iter().sum()
}
