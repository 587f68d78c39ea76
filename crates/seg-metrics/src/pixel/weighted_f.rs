//! Weighted F-measure: Margolin et al., "How to Evaluate Foreground Maps?", CVPR 2014.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use crate::distance::{RowFeatures, nearest_features};
use crate::prepare::{Level, Prepared, Ramp, with_pixels};
use crate::protocol::WeightedFRule;
use crate::tally::Tally;
use crate::wide::{Wide, widest};

/// Half the width of the 7x7 Gaussian.
const HALF: usize = 3;
/// Its sigma.
const SIGMA: f64 = 5.;
/// Rows and columns whose errors are looked up together, and columns that are filtered together.
const BAND: usize = 64;
const STRIP: usize = 512;
const BLOCK: usize = 64;
/// `HALF` columns on either side of a block, up to a whole vector.
const SIDES: usize = 8;
/// Pixels of the background that are weighted together.
const PIECE: usize = 32;

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
    let ramp = Ramp::new(&pair.values);
    let sums: Vec<AtomicU64> = (0..pair.height()).map(|_| AtomicU64::new(0)).collect();
    nearest_features(
        gt.plane().data(),
        width,
        move |&t| t >= first,
        carried,
        || Scratch::new(width),
        |Scratch { close, near, wanted, squares }, y, features, carried| {
            let (pred, truth) = (&pixels[y * width..][..width], gt.plane().row(y));
            widest(Marks { features, pred, truth, first, lowest, close, near, wanted });
            squares.fill(0);
            features.capped_squares(wanted, squares);
            // what a window around a foreground pixel holds is at most the root of 18 away from it
            features.visit_close(near, squares, |x, nearest| carried[x] = pixels[nearest.index(width)]);
            // each row is written once; the sums are added in order below
            let sum = widest(Weighted { pred, ramp: &ramp, squares });
            sums[y].store(sum.to_bits(), Ordering::Relaxed);
        },
    );
    sums.iter().map(|bits| f64::from_bits(bits.load(Ordering::Relaxed))).sum()
}

/// Of one row.
struct Scratch {
    /// Which columns have foreground in the rows around, with `HALF` columns on either side.
    close: Vec<bool>,
    near: Vec<bool>,
    wanted: Vec<bool>,
    squares: Vec<u16>,
}

impl Scratch {
    fn new(width: usize) -> Self {
        Self {
            close: vec![false; width + 2 * HALF],
            near: vec![false; width],
            wanted: vec![false; width],
            squares: vec![0; width],
        }
    }
}

/// Marks in a row of the background which pixels carry, and which need their distance for that or for their error.
struct Marks<'a, L> {
    features: &'a RowFeatures<'a>,
    pred: &'a [L],
    truth: &'a [u8],
    /// Where the foreground begins.
    first: u8,
    /// The lowest level that is an error.
    lowest: L,
    close: &'a mut [bool],
    near: &'a mut [bool],
    wanted: &'a mut [bool],
}

impl<L: Level> Wide for Marks<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { features, pred, truth, first, lowest, close, near, wanted } = self;
        close[HALF..].iter_mut().zip(features.rows_away()).for_each(|(close, rows)| *close = rows <= HALF as u32);
        // a window around some foreground pixel holds it
        near.fill(false);
        for side in 0..=2 * HALF {
            near.iter_mut().zip(&close[side..]).for_each(|(near, close)| *near |= close);
        }
        for ((wanted, near), (p, t)) in wanted.iter_mut().zip(near).zip(pred.iter().zip(truth)) {
            *near &= *t < first;
            *wanted = *near | ((*p >= lowest) & (*t < first));
        }
    }
}

/// Sums a row's values, each weighted by its squared distance, in eight parts that do not wait for each other.
struct Weighted<'a, L> {
    pred: &'a [L],
    ramp: &'a Ramp<'a>,
    squares: &'a [u16],
}

impl<L: Level> Wide for Weighted<'_, L> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let (mut values, mut by, mut sums) = ([0.; PIECE], [0.; PIECE], [0.; 8]);
        for (pred, squares) in self.pred.chunks(PIECE).zip(self.squares.chunks(PIECE)) {
            if squares.iter().fold(0, |a, b| a | b) == 0 {
                continue;
            }
            L::values(pred, self.ramp, &mut values);
            look_up(squares, &mut by);
            let whole = pred.len() == PIECE;
            let pairs = values.chunks(8).zip(by.chunks(8));
            for (values, by) in pairs.take(if whole { PIECE / 8 } else { 0 }) {
                sums.iter_mut().zip(values.iter().zip(by)).for_each(|(sum, (v, by))| *sum += v * by);
            }
            if !whole {
                sums[0] += values.iter().zip(&by).take(pred.len()).map(|(v, by)| v * by).sum::<f64>();
            }
        }
        sums.iter().sum()
    }
}

/// Looks up weights; never as a part of code for wide vectors, which would gather them, and that is slower.
#[inline(never)]
fn look_up(squares: &[u16], out: &mut [f64; PIECE]) {
    let weights = weights();
    out.iter_mut().zip(squares).for_each(|(out, squared)| *out = weights[usize::from(*squared)]);
}

/// The weight of a pixel by its squared distance from the foreground: none inside it, 1 at it, half of the way to 2
/// every five pixels. From 256 pixels on, where squared distances are not told apart, it lacks less than 4e-16.
fn weights() -> &'static [f64; 1 << 16] {
    static TABLE: OnceLock<Box<[f64; 1 << 16]>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let decay = 0.5f64.ln() / 5.;
        let mut table = Box::new([0.; 1 << 16]);
        for (squared, weight) in table.iter_mut().enumerate().skip(1) {
            *weight = 2. - (decay * (squared as f64).sqrt()).exp();
        }
        table
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
    let ramp = Ramp::new(&pair.values);
    // values do not fall, so the levels above are right
    let Some(highest) = pair.values.iter().rposition(|&v| v < 1.).map(L::of) else { return 0. };
    let tiles: Vec<(usize, usize)> =
        (0..pair.height()).step_by(BAND).flat_map(|y| (0..pair.width()).step_by(STRIP).map(move |x| (x, y))).collect();
    let sums: Vec<f64> = tiles
        .into_par_iter()
        .map(|(x, y)| widest(Tile { pixels, carried, ramp: &ramp, highest, pair, kernel: kernel(), x, y }))
        .collect();
    sums.iter().sum()
}

/// Sums the errors of the foreground in `STRIP` columns from `x` on of the `BAND` rows from `y` on.
struct Tile<'a, L> {
    pixels: &'a [L],
    carried: &'a [L],
    ramp: &'a Ramp<'a>,
    /// The highest level that is an error.
    highest: L,
    pair: &'a Prepared<'a>,
    kernel: [f64; HALF + 1],
    x: usize,
    y: usize,
}

/// Errors of a row of a tile, with `HALF` columns on either side, and up to a whole vector.
type Errors = [f64; STRIP + SIDES];

impl<L: Level> Wide for Tile<'_, L> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let (width, height) = (self.pair.width(), self.pair.height());
        let (first, any) = self.pair.gt.limit();
        let columns = self.x..(self.x + STRIP).min(width);
        // errors of the last rows, row `y` at `y % 8`, and which row each is
        let (mut rows, mut kept) = ([[0.; STRIP + SIDES]; 8], [usize::MAX; 8]);
        let mut sums = [0.; 8];
        for y in self.y..(self.y + BAND).min(height) {
            let (pred, truth) =
                (&self.pixels[y * width..][columns.clone()], &self.pair.gt.plane().row(y)[columns.clone()]);
            let mut marks = [false; STRIP];
            for ((mark, p), t) in marks.iter_mut().zip(pred).zip(truth) {
                *mark = any & (*t >= first) & (*p <= self.highest);
            }
            if !marks.iter().fold(false, |a, &b| a | b) {
                continue;
            }
            for at in y.saturating_sub(HALF)..(y + HALF + 1).min(height) {
                if kept[at % 8] != at {
                    kept[at % 8] = at;
                    self.convert(at, &mut rows[at % 8]);
                }
            }
            for (i, marks) in marks.chunks_exact(BLOCK).enumerate() {
                if !marks.iter().fold(false, |a, &b| a | b) {
                    continue;
                }
                let near = self.filter(y, &rows, i * BLOCK);
                // the foreground carries its own errors
                let own = &rows[y % 8][HALF + i * BLOCK..][..BLOCK];
                for ((own, near), marks) in own.chunks(8).zip(near.chunks(8)).zip(marks.chunks(8)) {
                    for (sum, ((own, near), mark)) in sums.iter_mut().zip(own.iter().zip(near).zip(marks)) {
                        let smaller = if near < own { *near } else { *own };
                        *sum += if *mark { smaller } else { 0. };
                    }
                }
            }
        }
        sums.iter().sum()
    }
}

impl<L: Level> Tile<'_, L> {
    /// Looks up the errors of row `y`; beyond the image there are none.
    #[inline(always)]
    fn convert(&self, y: usize, out: &mut Errors) {
        let width = self.pair.width();
        let before = HALF.min(self.x);
        let levels = &self.carried[y * width..][self.x - before..(self.x + STRIP + HALF).min(width)];
        out.fill(0.);
        let out = &mut out[HALF - before..][..levels.len()];
        L::values(levels, self.ramp, out);
        out.iter_mut().for_each(|error| *error = 1. - *error);
    }

    /// The filtered errors of a block of row `y`, by its first column; there are none in the rows beyond the image.
    #[inline(always)]
    fn filter(&self, y: usize, rows: &[Errors; 8], column: usize) -> [f64; BLOCK] {
        let zeros = [0.; BLOCK + SIDES];
        let mut around = [&zeros; 2 * HALF + 1];
        for (k, row) in around.iter_mut().enumerate() {
            let inside = (y + k).checked_sub(HALF).filter(|&at| at < self.pair.height());
            if let Some(errors) = inside.and_then(|at| rows[at % 8][column..].first_chunk()) {
                *row = errors;
            }
        }
        let mut down = [0.; BLOCK + SIDES];
        for (i, down) in down.iter_mut().enumerate() {
            let mut column = [0.; 2 * HALF + 1];
            column.iter_mut().zip(&around).for_each(|(error, row)| *error = row[i]);
            *down = weigh(&self.kernel, &column);
        }
        let mut near = [0.; BLOCK];
        for (near, across) in near.iter_mut().zip(down.windows(2 * HALF + 1)) {
            *near = weigh(&self.kernel, across);
        }
        near
    }
}

/// The weighted sum of seven numbers, symmetric about the middle one.
#[inline(always)]
fn weigh(kernel: &[f64; HALF + 1], v: &[f64]) -> f64 {
    kernel[0] * (v[0] + v[6]) + kernel[1] * (v[1] + v[5]) + kernel[2] * (v[2] + v[4]) + kernel[3] * v[3]
}
