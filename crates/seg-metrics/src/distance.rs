//! The exact Euclidean distance transform with the index of the nearest feature pixel, in linear time.
//!
//! Two passes after Meijster, Roerdink and Hesselink ("A General Algorithm for Computing Distance Transforms in Linear
//! Time", 2000): the nearest feature in each column, then the lower envelope of parabolas along each row. Of several
//! equally near features the one with the smallest column wins, and of these the one with the smallest row: the rule of
//! `scipy.ndimage.distance_transform_edt(return_indices=True)`.
//!
//! Rows are done in bands, in parallel; no intermediate image is kept.

use std::ops::Range;

use rayon::prelude::*;

use crate::wide::{Wide, widest};

/// Rows of a band: each holds this many rows of column distances.
const BAND: usize = 32;
/// A column without a feature above.
const NONE_ABOVE: i32 = i32::MIN / 2;
/// A column without a feature below.
const NONE_BELOW: i32 = i32::MAX / 2;

/// The feature pixel nearest to some pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Nearest {
    /// Its row.
    pub row: u32,
    /// Its column.
    pub col: u32,
}

impl Nearest {
    /// Row-major index in an image of this width.
    pub fn index(self, width: usize) -> usize {
        self.row as usize * width + self.col as usize
    }

    /// Squared Euclidean distance from the pixel at `(row, col)`.
    pub fn squared_distance(self, row: usize, col: usize) -> u64 {
        let (dy, dx) = ((self.row as usize).abs_diff(row) as u64, (self.col as usize).abs_diff(col) as u64);
        dy * dy + dx * dx
    }
}

/// Visits the rows of an image, `visit(y, row, out)` each once, with what tells the nearest features of its pixels and
/// the row's part of `out`, which has one element a pixel. What is not asked for is not computed.
///
/// Returns `false`, and visits nothing, when there is no feature at all.
///
/// # Panics
/// When `pixels` and `out` differ in length, or their length is not a multiple of `width`, or a side exceeds 2^29.
pub fn nearest_features<T, O>(
    pixels: &[T],
    width: usize,
    is_feature: impl Fn(&T) -> bool + Copy + Send + Sync,
    out: &mut [O],
    visit: impl Fn(usize, &mut RowFeatures<'_>, &mut [O]) + Sync,
) -> bool
where
    T: Sync,
    O: Send,
{
    assert_eq!(pixels.len(), out.len(), "pixels and out differ in length");
    if width == 0 || pixels.is_empty() {
        return false;
    }
    assert_eq!(pixels.len() % width, 0, "the length is not a multiple of the width");
    assert!(width < 1 << 29 && pixels.len() / width < 1 << 29, "a side exceeds 2^29");
    let Some(edges) = band_edges(pixels, width, is_feature) else { return false };
    let band = BAND * width;
    pixels.par_chunks(band).zip(out.par_chunks_mut(band)).zip(edges).enumerate().for_each(
        |(b, ((pixels, out), edges))| {
            do_band(b * BAND, pixels, width, is_feature, edges, |y, row| {
                let at = (y - b * BAND) * width;
                visit(y, row, &mut out[at..at + width]);
            });
        },
    );
    true
}

/// Distance of every pixel to its nearest feature; infinity when there is none.
///
/// # Panics
/// As [`nearest_features`].
pub fn distances<T: Sync>(
    pixels: &[T],
    width: usize,
    is_feature: impl Fn(&T) -> bool + Copy + Send + Sync,
) -> Vec<f64> {
    let mut out = vec![f64::INFINITY; pixels.len()];
    nearest_features(pixels, width, is_feature, &mut out, |y, features, row| {
        features.visit(0..width, |span, nearest| {
            for x in span {
                row[x] = (nearest.squared_distance(y, x) as f64).sqrt();
            }
        });
    });
    out
}

/// For each column, the nearest feature's row outside a band, on either side.
struct Edges {
    above: Vec<i32>,
    below: Vec<i32>,
}

/// What lies above and below each band, from the first and last feature in every band's columns. `None` when there is
/// no feature.
fn band_edges<T: Sync>(
    pixels: &[T],
    width: usize,
    is_feature: impl Fn(&T) -> bool + Copy + Send + Sync,
) -> Option<Vec<Edges>> {
    let mut edges: Vec<Edges> = pixels
        .par_chunks(BAND * width)
        .enumerate()
        .map(move |(b, band)| {
            // here: the band's own last and first feature
            let (mut last, mut first) = (vec![NONE_ABOVE; width], vec![NONE_BELOW; width]);
            for (y, row) in band.chunks_exact(width).enumerate() {
                let y = (b * BAND + y) as i32;
                widest(Ends { y, row, is_feature, last: &mut last, first: &mut first });
            }
            Edges { above: last, below: first }
        })
        .collect();
    let mut above = vec![NONE_ABOVE; width];
    for e in &mut edges {
        let own = std::mem::replace(&mut e.above, above.clone());
        above.iter_mut().zip(own).for_each(|(a, own)| *a = own.max(*a));
    }
    if above.iter().all(|&a| a == NONE_ABOVE) {
        return None;
    }
    let mut below = vec![NONE_BELOW; width];
    for e in edges.iter_mut().rev() {
        let own = std::mem::replace(&mut e.below, below.clone());
        below.iter_mut().zip(own).for_each(|(b, own)| *b = own.min(*b));
    }
    Some(edges)
}

/// The rows `y0..` of one band.
fn do_band<T>(
    y0: usize,
    pixels: &[T],
    width: usize,
    is_feature: impl Fn(&T) -> bool + Copy,
    edges: Edges,
    mut visit: impl FnMut(usize, &mut RowFeatures<'_>),
) {
    let rows = pixels.len() / width;
    let Edges { mut above, below } = edges;
    // the nearest feature at or below, bottom up
    let mut lower = vec![NONE_BELOW; pixels.len()];
    let mut next = below;
    for y in (0..rows).rev() {
        let at = y * width..(y + 1) * width;
        let row = &pixels[at.clone()];
        widest(Lower { y: (y0 + y) as i32, row, is_feature, next: &mut next, lower: &mut lower[at] });
    }
    let mut near = vec![0i32; width];
    let mut envelope = Envelope::new();
    for y in 0..rows {
        let at = y * width..(y + 1) * width;
        let (row, lower) = (&pixels[at.clone()], &lower[at]);
        let y = (y0 + y) as i32;
        widest(Nearer { y, row, is_feature, above: &mut above, lower, near: &mut near });
        visit(y as usize, &mut RowFeatures { y, near: &near, envelope: &mut envelope });
    }
}

/// Takes a row into account, the rows coming from the top: of each column, the last and the first feature.
struct Ends<'a, T, F> {
    y: i32,
    row: &'a [T],
    is_feature: F,
    last: &'a mut [i32],
    first: &'a mut [i32],
}

impl<T, F: Fn(&T) -> bool> Wide for Ends<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { y, row, is_feature, last, first } = self;
        for ((last, first), p) in last.iter_mut().zip(first).zip(row) {
            let inside = is_feature(p);
            (*last, *first) = (if inside { y } else { *last }, if inside { y.min(*first) } else { *first });
        }
    }
}

/// The nearest feature at or below, the rows coming from the bottom.
struct Lower<'a, T, F> {
    y: i32,
    row: &'a [T],
    is_feature: F,
    next: &'a mut [i32],
    lower: &'a mut [i32],
}

impl<T, F: Fn(&T) -> bool> Wide for Lower<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { y, row, is_feature, next, lower } = self;
        for ((lower, next), p) in lower.iter_mut().zip(next).zip(row) {
            *next = if is_feature(p) { y } else { *next };
            *lower = *next;
        }
    }
}

/// The nearest feature of each column, the rows coming from the top.
struct Nearer<'a, T, F> {
    y: i32,
    row: &'a [T],
    is_feature: F,
    above: &'a mut [i32],
    lower: &'a [i32],
    near: &'a mut [i32],
}

impl<T, F: Fn(&T) -> bool> Wide for Nearer<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { y, row, is_feature, above, lower, near } = self;
        for (((near, above), &lower), p) in near.iter_mut().zip(above).zip(lower).zip(row) {
            *above = if is_feature(p) { y } else { *above };
            // the upper one on ties
            *near = if y - *above <= lower - y { *above } else { lower };
        }
    }
}

/// The nearest features of the pixels of one row.
pub struct RowFeatures<'a> {
    y: i32,
    /// Row of the nearest feature in each column.
    near: &'a [i32],
    envelope: &'a mut Envelope,
}

impl RowFeatures<'_> {
    /// Calls `visit` with spans of columns that follow each other and fill `columns`, each with the feature that is the
    /// nearest of all its pixels. A feature's nearest feature is itself.
    ///
    /// # Panics
    /// When `columns` leave the row.
    pub fn visit(&mut self, columns: Range<usize>, mut visit: impl FnMut(Range<usize>, Nearest)) {
        let (near, y) = (self.near, self.y);
        let mut x = columns.start;
        // features in the row itself cut it into stretches that do not concern each other
        while x < columns.end {
            if near[x] == y {
                visit(x..x + 1, Nearest { row: y as u32, col: x as u32 });
                x += 1;
                continue;
            }
            let end = near[x..columns.end].iter().position(|&row| row == y).map_or(columns.end, |n| x + n);
            self.envelope.build(y, near, self.reach(x, end));
            self.envelope.visit(near, x..end, &mut visit);
            x = end;
        }
    }

    /// The columns that can have the nearest feature of one of `from..to`, none of which has one in this row: no farther
    /// to the left than the feature in the first one's own column is away, no farther to the right than in the last's.
    fn reach(&self, from: usize, to: usize) -> Range<usize> {
        let (near, y) = (self.near, self.y);
        let away = |x: usize| near[x].abs_diff(y) as usize;
        let (low, high) = (from.saturating_sub(away(from)), (to + away(to - 1)).min(near.len()));
        // beyond a feature in this row nothing is nearer
        let start = near[low..from].iter().rposition(|&row| row == y).map_or(low, |n| low + n);
        let end = near[to..high].iter().position(|&row| row == y).map_or(high, |n| to + n + 1);
        start..end
    }
}

/// The lower envelope of the parabolas `(x - col)^2 + distance^2` of a row's columns.
struct Envelope {
    parts: Vec<Part>,
    /// `1 / (2 n)`.
    reciprocals: [f64; 256],
}

#[derive(Clone, Copy)]
struct Part {
    /// The column whose parabola is lowest.
    col: i64,
    /// What its parabola has beside `x^2 - 2 col x`.
    rest: i64,
    /// Behind this place. It lies between columns, never on one.
    after: f64,
}

impl Envelope {
    fn new() -> Self {
        Self { parts: Vec::new(), reciprocals: std::array::from_fn(|n| 0.5 / n as f64) }
    }

    /// Where a parabola `apart` columns to the right of another becomes the lower one. Where both are as high is the
    /// numerator by `2 apart`; the left one has that place still, so it is moved towards the next column by less than
    /// what lies between such quotients. Divisions are what an envelope costs most, so most are products.
    fn meeting(&self, numerator: i64, apart: i64) -> f64 {
        match self.reciprocals.get(apart as usize) {
            Some(reciprocal) => (numerator as f64 + 0.5) * reciprocal,
            None => numerator.div_euclid(2 * apart) as f64 + 0.5,
        }
    }

    /// Builds it for row `y` from some columns.
    fn build(&mut self, y: i32, near: &[i32], columns: Range<usize>) {
        self.parts.clear();
        let (before, last) = (columns.start as f64 - 0.5, columns.end as f64 - 1.);
        for (col, &row) in columns.clone().zip(&near[columns]) {
            if row <= NONE_ABOVE || row >= NONE_BELOW {
                continue;
            }
            let (col, height) = (col as i64, i64::from(row) - i64::from(y));
            let rest = col * col + height * height;
            let after = loop {
                let Some(left) = self.parts.last() else { break before };
                let after = self.meeting(rest - left.rest, col - left.col);
                if after > left.after {
                    break after;
                }
                self.parts.pop();
            };
            if after < last {
                self.parts.push(Part { col, rest, after });
            }
        }
    }

    /// Visits the parts that lie in some columns.
    fn visit(&self, near: &[i32], columns: Range<usize>, visit: &mut impl FnMut(Range<usize>, Nearest)) {
        let first = self.parts.partition_point(|part| part.after < columns.start as f64).saturating_sub(1);
        let parts = &self.parts[first..];
        let ends = parts.iter().skip(1).map(|next| next.after as i32 as usize + 1).chain([columns.end]);
        let mut start = columns.start;
        for (part, end) in parts.iter().zip(ends) {
            let end = end.min(columns.end);
            if start < end {
                visit(start..end, Nearest { row: near[part.col as usize] as u32, col: part.col as u32 });
                start = end;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transform(mask: &[bool], width: usize) -> Vec<Nearest> {
        let mut out = vec![Nearest::default(); mask.len()];
        assert!(nearest_features(
            mask,
            width,
            |&m| m,
            &mut out,
            |_, features, row| {
                features.visit(0..width, |span, nearest| row[span].fill(nearest));
            }
        ));
        out
    }

    /// Every feature is looked at, in the order of the tie rule.
    fn by_search(mask: &[bool], width: usize) -> Vec<Nearest> {
        let height = mask.len() / width;
        let features: Vec<Nearest> = (0..width)
            .flat_map(|col| (0..height).map(move |row| Nearest { row: row as u32, col: col as u32 }))
            .filter(|n| mask[n.index(width)])
            .collect();
        (0..mask.len())
            .map(|i| *features.iter().min_by_key(|n| n.squared_distance(i / width, i % width)).unwrap())
            .collect()
    }

    fn random(len: usize, one_in: u64, seed: u64) -> Vec<bool> {
        let mut s = seed;
        let mut mask: Vec<bool> = (0..len)
            .map(|_| {
                s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (s >> 33).is_multiple_of(one_in)
            })
            .collect();
        mask[seed as usize % len] = true;
        mask
    }

    #[test]
    fn equals_search() {
        for (seed, &(width, height)) in [(1, 1), (1, 90), (97, 1), (33, 70), (64, 31), (20, 129)].iter().enumerate() {
            for one_in in [2, 9, 80, 1 << 40] {
                let mask = random(width * height, one_in, 7 * seed as u64 + one_in);
                assert_eq!(transform(&mask, width), by_search(&mask, width), "{width}x{height}, one in {one_in}");
            }
        }
    }

    /// Values of SciPy 1.17.1 for `distance_transform_edt(mask == 0, return_indices=True)`.
    #[test]
    fn equals_scipy() {
        #[rustfmt::skip]
        let mask = [
            0, 0, 1, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 1,
            1, 0, 0, 0, 1, 0, 0,
            0, 0, 0, 0, 0, 0, 0,
            0, 0, 1, 0, 0, 0, 1,
        ].map(|v| v == 1);
        #[rustfmt::skip]
        let rows = [
            2, 0, 0, 0, 0, 1, 1,
            2, 2, 0, 0, 2, 1, 1,
            2, 2, 2, 2, 2, 2, 1,
            2, 2, 4, 4, 2, 2, 4,
            2, 4, 4, 4, 4, 4, 4,
        ];
        #[rustfmt::skip]
        let cols = [
            0, 2, 2, 2, 2, 6, 6,
            0, 0, 2, 2, 4, 6, 6,
            0, 0, 0, 4, 4, 4, 6,
            0, 0, 2, 2, 4, 4, 6,
            0, 2, 2, 2, 2, 6, 6,
        ];
        #[rustfmt::skip]
        let squared = [
            4, 1, 0, 1, 4, 2, 1,
            1, 2, 1, 2, 1, 1, 0,
            0, 1, 4, 1, 0, 1, 1,
            1, 2, 1, 2, 1, 2, 1,
            4, 1, 0, 1, 4, 1, 0,
        ];
        let expected: Vec<Nearest> = rows.iter().zip(cols).map(|(&row, col)| Nearest { row, col }).collect();
        assert_eq!(transform(&mask, 7), expected);
        let distances: Vec<u64> = distances(&mask, 7, |&m| m).iter().map(|d| (d * d).round() as u64).collect();
        assert_eq!(distances, squared);
    }

    #[test]
    fn without_features() {
        let mut out = [5u8; 6];
        assert!(!nearest_features(&[false; 6], 3, |&m| m, &mut out, |_, _, row| row.fill(0)));
        assert_eq!(out, [5; 6]);
        assert!(distances(&[false; 6], 3, |&m| m).iter().all(|d| d.is_infinite()));
    }

    #[test]
    fn threads_do_not_matter() {
        let mask = random(200 * 300, 50, 3);
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(|| transform(&mask, 200));
        let three = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap().install(|| transform(&mask, 200));
        assert_eq!(alone, three);
    }
}
