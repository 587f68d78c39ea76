//! Context measure: Wang et al., "Context-measure: Contextualizing Metric for Camouflage", arXiv 2512.07076.

use rayon::prelude::*;

use crate::prepare::{Level, Prepared, with_pixels};
use crate::protocol::EPS;

/// Standard deviations of the kernel, both axes together.
const SPREAD: f64 = 6.;
/// Weights below this share of the largest are left out: all of them together are under 1e-9.
const NEGLIGIBLE: f64 = 1e-13;

/// The context measure of one pair, both directions weighted alike.
pub(crate) fn context_measure(pair: &Prepared<'_>) -> f64 {
    let gt = pair.gt;
    let truth: Vec<f32> = gt.plane().data().iter().map(|&t| f32::from(u8::from(gt.holds(t)))).collect();
    let pred: Vec<f64> = with_pixels!(pair, pixels => pixels.iter().map(|p| pair.values[p.index()]).collect());
    let (width, height) = (pair.width(), pair.height());
    let kernel = Kernel::new(&truth, width);
    let grid = Grid { width, height };
    let forward = |y: usize| -> (f64, f64) {
        let row = &pred[y * width..][..width];
        let near = grid.filter(&truth, y, &kernel, |x| row[x] > 0.);
        row.iter().zip(near).fold((0., 0.), |(hit, all), (p, n)| (hit + p * f64::from(n as f32), all + p))
    };
    let reverse = |y: usize| -> (f64, f64) {
        let row = &truth[y * width..][..width];
        let near = grid.filter(&pred, y, &kernel, |x| row[x] > 0.);
        let inside = row.iter().zip(near).filter(|(t, _)| **t > 0.);
        inside.fold((0., 0.), |(sum, n), (_, near)| (sum + (1. - (-near).exp()), n + 1.))
    };
    let total = |f: &(dyn Fn(usize) -> (f64, f64) + Sync)| -> (f64, f64) {
        let rows: Vec<(f64, f64)> = (0..height).into_par_iter().map(f).collect();
        rows.iter().fold((0., 0.), |a, b| (a.0 + b.0, a.1 + b.1))
    };
    let (hit, predicted) = total(&forward);
    let (covered, inside) = total(&reverse);
    let e = std::f64::consts::E;
    let (mf, wr) = (hit / (predicted + EPS), e / (e - 1.) * covered / (inside + EPS));
    2. * mf * wr / (mf + wr + EPS)
}

/// The Gaussian whose axes are those of the foreground, of sum 1.
struct Kernel {
    /// Rows and columns to either side.
    half: (usize, usize),
    /// Row offset, column offset and weight.
    taps: Vec<(isize, isize, f64)>,
}

impl Kernel {
    fn new(truth: &[f32], width: usize) -> Self {
        let ([a, b, c], half) = shape(truth, width);
        // a foreground on one oblique line has no inverse: it is given a little width
        let widen = if a * c - b * b <= 1e-12 * a * c { 1e-6 * (a + c) } else { 0. };
        let (a, c) = (a + widen, c + widen);
        let det = a * c - b * b;
        let (rows, columns) = (half.0 as isize, half.1 as isize);
        let weight = |r: isize, s: isize| {
            let (r, s) = (r as f64, s as f64);
            (-0.5 * (r * r * c / det - 2. * r * s * b / det + s * s * a / det)).exp()
        };
        let mut taps: Vec<_> = (-rows..=rows)
            .flat_map(|r| (-columns..=columns).map(move |s| (r, s)))
            .map(|(r, s)| (r, s, weight(r, s)))
            .collect();
        let sum: f64 = taps.iter().map(|tap| tap.2).sum();
        taps.iter_mut().for_each(|tap| tap.2 /= sum);
        let largest = taps.iter().map(|tap| tap.2).fold(0., f64::max);
        taps.retain(|tap| tap.2 > largest * NEGLIGIBLE);
        Self { half, taps }
    }
}

/// Covariance of rows and columns (row-row, row-column, column-column), scaled to the kernel's spread, and the kernel's
/// half sizes.
fn shape(truth: &[f32], width: usize) -> ([f64; 3], (usize, usize)) {
    let (mut n, mut r, mut c, mut rr, mut rc, mut cc) = (0i128, 0i128, 0i128, 0i128, 0i128, 0i128);
    for (y, row) in truth.chunks_exact(width).enumerate() {
        let (mut count, mut sum, mut squares) = (0i128, 0i128, 0i128);
        for x in (0..width).filter(|&x| row[x] > 0.) {
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

struct Grid {
    width: usize,
    height: usize,
}

impl Grid {
    /// Correlation with the kernel of the wanted pixels of row `y`, 0 at the others; beyond the border the image is
    /// mirrored at its outermost pixels.
    fn filter<T: Copy + PartialEq + Into<f64> + Sync>(
        &self,
        image: &[T],
        y: usize,
        kernel: &Kernel,
        wanted: impl Fn(usize) -> bool,
    ) -> Vec<f64> {
        let (rows, columns) = kernel.half;
        let mut out = vec![0.; self.width];
        let mut known = None;
        let mut filtered = vec![false; self.width];
        // runs of pixels to filter, close ones together
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for x in (0..self.width).filter(|&x| wanted(x)) {
            if let Some(value) = self.flat(image, (y, x), (rows, columns), &mut known) {
                out[x] = value.into();
                continue;
            }
            filtered[x] = true;
            match runs.last_mut() {
                Some((_, to)) if x - *to < 8 => *to = x + 1,
                _ => runs.push((x, x + 1)),
            }
        }
        for (from, to) in runs {
            let mut sums = vec![0.; to - from];
            let mut mirrored: Vec<f64> = Vec::with_capacity(to - from + 2 * columns);
            let mut held = isize::MIN;
            for &(r, s, weight) in &kernel.taps {
                if held != r {
                    held = r;
                    let row = &image[mirror(y as isize + r, self.height) * self.width..][..self.width];
                    let span = from as isize - columns as isize..(to + columns) as isize;
                    mirrored.clear();
                    mirrored.extend(span.map(|x| -> f64 { row[mirror(x, self.width)].into() }));
                }
                let at = (columns as isize + s) as usize;
                for (sum, v) in sums.iter_mut().zip(&mirrored[at..]) {
                    *sum += weight * v;
                }
            }
            for (x, sum) in (from..to).zip(sums) {
                if filtered[x] {
                    out[x] = sum;
                }
            }
        }
        out
    }

    /// The value of the whole window around `x`, if it has only one. `known` are columns, from one to before another, that
    /// hold one value in all rows of the window.
    fn flat<T: Copy + PartialEq>(
        &self,
        image: &[T],
        (y, x): (usize, usize),
        (rows, columns): (usize, usize),
        known: &mut Option<(usize, usize, T)>,
    ) -> Option<T> {
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
        Some(value)
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
