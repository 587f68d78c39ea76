//! Context measure: Wang et al., "Context-measure: Contextualizing Metric for Camouflage", arXiv 2512.07076.

use std::ops::Range;

use rayon::prelude::*;

use crate::plane::bands;
use crate::prepare::{Foreground, Level, Prepared, Ramp, with_pixels};
use crate::protocol::{ContextRule, EPS};
use crate::wide::{Wide, widest};

/// Standard deviations of the kernel, both axes together.
const SPREAD: f64 = 6.;
/// Rows that are filtered together, and columns.
const BAND: usize = 32;
const BLOCK: usize = 32;
/// Weights below this share of the largest are left out: all of them together are under 1e-9.
const NEGLIGIBLE: f64 = 1e-13;
/// From so many weights on OpenCV filters single precision by a Fourier transform, in double precision (on x86).
const BY_TRANSFORM: usize = 130;

/// The context measure of one pair, both directions weighted alike.
pub(crate) fn context_measure(pair: &Prepared<'_>, rule: ContextRule) -> f64 {
    with_pixels!(pair, pixels => measure(pixels, pair, rule))
}

fn measure<L: Level>(pixels: &[L], pair: &Prepared<'_>, rule: ContextRule) -> f64 {
    let (gt, ramp) = (pair.gt, Ramp::new(&pair.values));
    let (kernel, truth) = (Kernel::new(gt), gt.plane().data());
    let single = (rule == ContextRule::Single).then(|| kernel.single());
    let round = |near: f64| if single.is_some() { f64::from(near as f32) } else { near };
    let inside = |levels: &[u8], out: &mut [f64]| {
        out.iter_mut().zip(levels).for_each(|(out, &level)| *out = f64::from(u8::from(gt.holds(level))));
    };
    let predicted = |levels: &[L], out: &mut [f64]| L::values(levels, &ramp, out);
    let least = ramp.above_zero::<L>();
    let (hit, sum) = Grid::new(truth, pair, single.as_ref().unwrap_or(&kernel)).sums(
        inside,
        |i| least.is_some_and(|least| pixels[i] >= least),
        |i, near| {
            let p = pair.values[pixels[i].index()];
            (p * round(near), p)
        },
    );
    let (covered, all) =
        Grid::new(pixels, pair, &kernel).sums(predicted, |i| gt.holds(truth[i]), |_, near| (1. - (-near).exp(), 1.));
    let e = std::f64::consts::E;
    let (mf, wr) = (hit / (sum + EPS), e / (e - 1.) * covered / (all + EPS));
    2. * mf * wr / (mf + wr + EPS)
}

/// The Gaussian whose axes are those of the foreground, of sum 1.
#[derive(Clone)]
struct Kernel {
    /// Rows and columns to either side.
    half: (usize, usize),
    /// What a window of ones gives.
    total: f64,
    /// Whether the products are summed in single precision.
    sums_single: bool,
    /// The sum of the weights that were left out.
    left_out: f64,
    /// Of each row from the top: the first column with a weight that counts, and the weights from there on.
    rows: Vec<(usize, Vec<f64>)>,
}

impl Kernel {
    fn new(gt: Foreground<'_>) -> Self {
        let ([a, b, c], half) = shape(gt);
        // a foreground on one oblique line has no inverse: it is given a little width
        let widen = if a * c - b * b <= 1e-12 * a * c { 1e-6 * (a + c) } else { 0. };
        let (a, c) = (a + widen, c + widen);
        let det = a * c - b * b;
        let weight = |row: usize, column: usize| {
            let (r, s) = (row as f64 - half.0 as f64, column as f64 - half.1 as f64);
            (-0.5 * (r * r * c / det - 2. * r * s * b / det + s * s * a / det)).exp()
        };
        let mut rows: Vec<(usize, Vec<f64>)> =
            (0..=2 * half.0).map(|row| (0, (0..=2 * half.1).map(|column| weight(row, column)).collect())).collect();
        let all = || rows.iter().flat_map(|row| &row.1);
        let (sum, largest) = (all().sum::<f64>(), all().copied().fold(0., f64::max));
        for (first, weights) in &mut rows {
            let counts = |weight: &f64| *weight > largest * NEGLIGIBLE;
            weights.truncate(weights.iter().rposition(counts).map_or(0, |last| last + 1));
            *first = weights.iter().position(counts).unwrap_or(0);
            weights.drain(..*first);
            weights.iter_mut().for_each(|weight| *weight /= sum);
        }
        let left_out = 1. - rows.iter().flat_map(|row| &row.1).sum::<f64>();
        Self { half, total: 1., sums_single: false, left_out, rows }
    }

    /// The weights in single precision. Their sum is no longer 1.
    fn single(&self) -> Self {
        let mut kernel = self.clone();
        let (rows, columns) = kernel.half;
        kernel.sums_single = (2 * rows + 1) * (2 * columns + 1) < BY_TRANSFORM;
        let weights = kernel.rows.iter_mut().flat_map(|(_, weights)| weights);
        weights.for_each(|weight| *weight = f64::from(*weight as f32));
        let all = kernel.rows.iter().flat_map(|(_, weights)| weights);
        kernel.total = match kernel.sums_single {
            true => f64::from(all.fold(0f32, |sum, &weight| sum + weight as f32)),
            false => all.sum::<f64>() + kernel.left_out,
        };
        kernel
    }
}

/// Covariance of rows and columns (row-row, row-column, column-column), scaled to the kernel's spread, and the kernel's
/// half sizes.
fn shape(gt: Foreground<'_>) -> ([f64; 3], (usize, usize)) {
    let (mut n, mut r, mut c, mut rr, mut rc, mut cc) = (0i128, 0i128, 0i128, 0i128, 0i128, 0i128);
    for (y, row) in gt.plane().rows().enumerate() {
        let (mut count, mut sum, mut squares) = (0i128, 0i128, 0i128);
        for (x, _) in row.iter().enumerate().filter(|(_, level)| gt.holds(**level)) {
            count += 1;
            sum += x as i128;
            squares += (x * x) as i128;
        }
        let y = y as i128;
        (n, r, c) = (n + count, r + y * count, c + sum);
        (rr, rc, cc) = (rr + y * y * count, rc + y * sum, cc + squares);
    }
    if n <= 1 {
        return ([0.25, 0., 0.25], (1, 1));
    }
    let covariance = |ab: i128, a: i128, b: i128| (n * ab - a * b) as f64 / (n * (n - 1)) as f64;
    let positive = |v: f64| if v == 0. { EPS } else { v };
    let (a, b, d) = (positive(covariance(rr, r, r)), covariance(rc, r, c), positive(covariance(cc, c, c)));
    let total = (a + d).sqrt();
    let half = |v: f64| (3. * (SPREAD * v.sqrt() / total)).round_ties_even() as usize;
    let scale = |v: f64| SPREAD * SPREAD * v / (total * total);
    ([scale(a), scale(b), scale(d)], (half(a), half(d)))
}

/// An image that is filtered.
struct Grid<'a, T> {
    image: &'a [T],
    width: usize,
    height: usize,
    kernel: &'a Kernel,
}

impl<'a, T: Copy + PartialEq + Sync> Grid<'a, T> {
    /// An image of the pair's size.
    fn new(image: &'a [T], pair: &Prepared<'_>, kernel: &'a Kernel) -> Self {
        Self { image, width: pair.width(), height: pair.height(), kernel }
    }

    /// Sums what `term` makes of the wanted pixels and their filtered values: the correlation of the image's values with the
    /// kernel. Beyond the border the image is mirrored at its outermost pixels.
    fn sums(
        &self,
        values: impl Fn(&[T], &mut [f64]) + Sync,
        wanted: impl Fn(usize) -> bool + Sync,
        term: impl Fn(usize, f64) -> (f64, f64) + Sync,
    ) -> (f64, f64) {
        let sums: Vec<(f64, f64)> = bands(0..self.height, BAND)
            .into_par_iter()
            .map_init(
                || Padded::new(self.width, self.kernel),
                |rows, band| {
                    rows.fill(self, &band, &values);
                    let (mut near, mut sum) = (vec![None; self.width], (0., 0.));
                    for y in band.clone() {
                        let row = y * self.width;
                        self.filter(y, y - band.start, rows, |x| wanted(row + x), &mut near);
                        for (x, near) in near.iter().enumerate() {
                            if let Some(near) = near {
                                let (a, b) = term(row + x, *near);
                                sum = (sum.0 + a, sum.1 + b);
                            }
                        }
                    }
                    sum
                },
            )
            .collect();
        sums.iter().fold((0., 0.), |a, b| (a.0 + b.0, a.1 + b.1))
    }

    /// The filtered values of the wanted pixels of row `y`, which is row `at` of the band.
    fn filter(&self, y: usize, at: usize, rows: &Padded, wanted: impl Fn(usize) -> bool, out: &mut [Option<f64>]) {
        let mut known = None;
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let (from, mut left) = (block * BLOCK, [false; BLOCK]);
            for (i, (out, left)) in out.iter_mut().zip(&mut left).enumerate() {
                *out = None;
                if wanted(from + i) {
                    match self.flat((y, from + i), &mut known) {
                        Some(x) => *out = Some(rows.at(at, x) * self.kernel.total),
                        None => *left = true,
                    }
                }
            }
            if left.contains(&true) {
                let weigh = Weigh { rows, kernel: self.kernel, at, from };
                let sums = if self.kernel.sums_single { widest(Single(weigh)) } else { widest(weigh) };
                for (out, (sum, _)) in out.iter_mut().zip(sums.iter().zip(left)).filter(|(_, (_, left))| *left) {
                    *out = Some(*sum);
                }
            }
        }
    }

    /// Whether the whole window around `x` has one value: then a column that has it. `known` are columns, from one to before
    /// another, that hold one value in all rows of the window.
    fn flat(&self, (y, x): (usize, usize), known: &mut Option<(usize, usize, T)>) -> Option<usize> {
        let ((rows, columns), image) = (self.kernel.half, self.image);
        let (top, bottom) = (y.saturating_sub(rows), (y + rows + 1).min(self.height));
        let (left, right) = (x.saturating_sub(columns), (x + columns + 1).min(self.width));
        let value = image[y * self.width + x];
        let corner = |r: usize, c: usize| image[r * self.width + c] == value;
        let corners = [(top, left), (top, right - 1), (bottom - 1, left), (bottom - 1, right - 1)];
        let (first, unknown) = match *known {
            Some((first, end, v)) if v == value && first <= left && left <= end => (first, end),
            _ => (left, left),
        };
        let column = |c: usize| (top..bottom).all(|r| image[r * self.width + c] == value);
        if !corners.into_iter().all(|(r, c)| corner(r, c)) || !(unknown..right).all(column) {
            *known = None;
            return None;
        }
        *known = Some((first, right, value));
        Some(x)
    }
}

/// The values of a band's rows and those around, with the columns beside them.
struct Padded {
    /// Columns of a row, up to whole blocks.
    stride: usize,
    half: (usize, usize),
    values: Vec<f64>,
}

impl Padded {
    fn new(width: usize, kernel: &Kernel) -> Self {
        let stride = width.next_multiple_of(BLOCK) + 2 * kernel.half.1;
        Self { stride, half: kernel.half, values: vec![0.; (BAND + 2 * kernel.half.0) * stride] }
    }

    fn fill<T>(&mut self, grid: &Grid<'_, T>, band: &Range<usize>, values: impl Fn(&[T], &mut [f64])) {
        let (half, width) = (self.half, grid.width);
        for (i, row) in self.values.chunks_exact_mut(self.stride).take(band.len() + 2 * half.0).enumerate() {
            let y = mirror((band.start + i) as isize - half.0 as isize, grid.height);
            values(&grid.image[y * width..][..width], &mut row[half.1..][..width]);
            for side in (0..half.1).chain(half.1 + width..width + 2 * half.1) {
                row[side] = row[half.1 + mirror(side as isize - half.1 as isize, width)];
            }
        }
    }

    /// The value of a pixel of the band.
    fn at(&self, y: usize, x: usize) -> f64 {
        self.values[(y + self.half.0) * self.stride + self.half.1 + x]
    }
}

/// Filters a block of row `at` of a band, from column `from` on.
struct Weigh<'a> {
    rows: &'a Padded,
    kernel: &'a Kernel,
    at: usize,
    from: usize,
}

impl Wide for Weigh<'_> {
    type Output = [f64; BLOCK];

    #[inline(always)]
    fn run(self) -> [f64; BLOCK] {
        let mut sums = [0.; BLOCK];
        self.each(|weight, values| {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum = weight.mul_add(*value, *sum);
            }
        });
        sums
    }
}

impl Weigh<'_> {
    /// Each weight, row by row, with the values that it meets.
    #[inline(always)]
    fn each(&self, mut take: impl FnMut(f64, &[f64])) {
        let rows = self.rows.values[self.at * self.rows.stride..].chunks_exact(self.rows.stride);
        for (row, (first, weights)) in rows.zip(&self.kernel.rows) {
            for (weight, values) in weights.iter().zip(row[self.from + first..].windows(BLOCK)) {
                take(*weight, values);
            }
        }
    }
}

/// The same, summed in single precision: one weight after the other.
struct Single<'a>(Weigh<'a>);

impl Wide for Single<'_> {
    type Output = [f64; BLOCK];

    #[inline(always)]
    fn run(self) -> [f64; BLOCK] {
        let mut sums = [0f32; BLOCK];
        self.0.each(|weight, values| {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += (weight * value) as f32;
            }
        });
        sums.map(f64::from)
    }
}

/// The position of a mirrored one: -1 is 1, `n` is `n - 2`.
fn mirror(mut at: isize, n: usize) -> usize {
    let n = n as isize;
    if n == 1 {
        return 0;
    }
    while at < 0 || at >= n {
        at = if at < 0 { -at } else { 2 * (n - 1) - at };
    }
    at as usize
}
