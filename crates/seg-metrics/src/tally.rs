//! Counting levels: what all pixel statistics are computed from.

use rayon::prelude::*;

use crate::plane::bands;
use crate::prepare::{Foreground, Level, Prepared, with_pixels};
use crate::wide::{Wide, mask, widest};

/// Pixels below which an image is counted by one thread.
const PARALLEL: usize = 1 << 18;
/// Pixels that are looked at together.
const PIECE: usize = 32;

/// How many pixels have each level, inside and outside the foreground.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) fg: Vec<u64>,
    pub(crate) bg: Vec<u64>,
}

impl Tally {
    fn new(levels: usize) -> Self {
        Self { fg: vec![0; levels], bg: vec![0; levels] }
    }

    fn add(&mut self, other: &Self) {
        self.fg.iter_mut().zip(&other.fg).for_each(|(a, b)| *a += b);
        self.bg.iter_mut().zip(&other.bg).for_each(|(a, b)| *a += b);
    }

    /// Pixels of the foreground.
    pub(crate) fn foreground(&self) -> u64 {
        self.fg.iter().sum()
    }

    /// Pixels of the background.
    pub(crate) fn background(&self) -> u64 {
        self.bg.iter().sum()
    }

    /// Pixels.
    pub(crate) fn pixels(&self) -> u64 {
        self.foreground() + self.background()
    }

    /// Pixels of each level.
    pub(crate) fn both(&self) -> impl Iterator<Item = u64> + '_ {
        self.fg.iter().zip(&self.bg).map(|(a, b)| a + b)
    }
}

/// The counts of an image, whole and cut into four at a point.
#[derive(Clone, Debug)]
pub(crate) struct Tallies {
    pub(crate) whole: Tally,
    /// Upper left, upper right, lower left, lower right.
    pub(crate) parts: [Tally; 4],
    /// Rows above and columns left of the cut.
    pub(crate) cut: (usize, usize),
}

impl Tallies {
    /// Counts a pair, cut behind the rounded centroid of its foreground; without foreground, in the middle.
    pub(crate) fn new(pair: &Prepared<'_>) -> Self {
        let cut = centroid(pair.gt).unwrap_or((pair.height().div_ceil(2), pair.width().div_ceil(2)));
        let parts = match &pair.pixels {
            crate::prepare::Pixels::Bytes(bytes) => count_bytes(bytes, pair.gt, cut),
            crate::prepare::Pixels::Words(words) => count_words(words, pair, cut),
        };
        let mut whole = Tally::new(pair.values.len());
        parts.iter().for_each(|part| whole.add(part));
        Self { whole, parts, cut }
    }
}

/// Rows and columns up to and with the foreground's rounded centroid.
fn centroid(gt: Foreground<'_>) -> Option<(usize, usize)> {
    let first = gt.first()?;
    let (plane, width) = (gt.plane(), gt.plane().width());
    let row_sums = |y: usize| {
        let (count, columns) = widest(RowSums { truth: plane.row(y), first });
        (count, count * y as u64, columns)
    };
    let add = |a: (u64, u64, u64), b: (u64, u64, u64)| (a.0 + b.0, a.1 + b.1, a.2 + b.2);
    let rows = 0..plane.height();
    let (count, rows, columns) = if plane.len() < PARALLEL {
        rows.map(row_sums).fold((0, 0, 0), add)
    } else {
        rows.into_par_iter().with_min_len(PARALLEL / width + 1).map(row_sums).reduce(|| (0, 0, 0), add)
    };
    let mean = |sum: u64| (sum as f64 / count as f64).round_ties_even() as usize + 1;
    (count > 0).then(|| (mean(rows), mean(columns)))
}

/// Counts a row's foreground, and sums its columns.
struct RowSums<'a> {
    truth: &'a [u8],
    first: u8,
}

impl Wide for RowSums<'_> {
    type Output = (u64, u64);

    #[inline(always)]
    fn run(self) -> (u64, u64) {
        const COLUMNS: [u8; 256] = {
            let (mut columns, mut x) = ([0; 256], 0);
            while x < 256 {
                columns[x] = x as u8;
                x += 1;
            }
            columns
        };
        let (mut count, mut columns) = (0, 0);
        for (c, piece) in self.truth.chunks(256).enumerate() {
            // sums of bytes of such a piece stay in 16 bits
            let (mut n, mut sum) = (0u16, 0u16);
            for (truth, column) in piece.iter().zip(&COLUMNS) {
                let inside = *truth >= self.first;
                n += u16::from(inside);
                sum += if inside { u16::from(*column) } else { 0 };
            }
            count += u64::from(n);
            columns += u64::from(sum) + u64::from(n) * (c as u64 * 256);
        }
        (count, columns)
    }
}

/// Counters of one half of a row: level, then 256 for the foreground. Neighbouring pixels often have the same level, so
/// they count in different tables.
type Bins = [[u32; 512]; 4];

/// Counts of the left and the right half of the upper or lower rows.
struct Halves([Bins; 2]);

fn count_bytes(pixels: &[u8], gt: Foreground<'_>, (above, left): (usize, usize)) -> [Tally; 4] {
    let (plane, width) = (gt.plane(), gt.plane().width());
    let first = gt.first().map_or(256, u16::from);
    let band = (PARALLEL / width).max(1);
    let count_rows = |rows: std::ops::Range<usize>| {
        let mut halves = Box::new(Halves([[[0; 512]; 4]; 2]));
        for y in rows {
            let (pred, truth) = (&pixels[y * width..][..width], plane.row(y));
            let at = left.min(width);
            for (bins, range) in halves.0.iter_mut().zip([0..at, at..width]) {
                widest(Run { bins, pred: &pred[range.clone()], truth: &truth[range], first });
            }
        }
        halves
    };
    let mut parts: [Tally; 4] = std::array::from_fn(|_| Tally::new(256));
    for (half, rows) in
        [0..above.min(plane.height()), above.min(plane.height())..plane.height()].into_iter().enumerate()
    {
        let bands = bands(rows, band);
        let counted: Vec<_> = if plane.len() < PARALLEL {
            bands.into_iter().map(count_rows).collect()
        } else {
            bands.into_par_iter().map(count_rows).collect()
        };
        for halves in counted {
            for (side, bins) in halves.0.iter().enumerate() {
                let part = &mut parts[half * 2 + side];
                for level in 0..256 {
                    part.bg[level] += bins.iter().map(|b| u64::from(b[level])).sum::<u64>();
                    part.fg[level] += bins.iter().map(|b| u64::from(b[level + 256])).sum::<u64>();
                }
            }
        }
    }
    parts
}

/// Counts the pixels of a part of a row.
struct Run<'a> {
    bins: &'a mut Bins,
    pred: &'a [u8],
    truth: &'a [u8],
    first: u16,
}

impl Wide for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { bins, pred, truth, first } = self;
        let ((preds, pred), (truths, truth)) = (pred.as_chunks::<PIECE>(), truth.as_chunks::<PIECE>());
        for (pred, truth) in preds.iter().zip(truths) {
            let mut inside = [0; PIECE];
            inside.iter_mut().zip(truth).for_each(|(inside, truth)| *inside = mask(u16::from(*truth) >= first));
            if inside == [inside[0]; PIECE] {
                let side = usize::from(inside[0] & 1) << 8;
                // large areas are all one
                if *pred == [pred[0]; PIECE] {
                    bins[0][side + usize::from(pred[0])] += PIECE as u32;
                } else {
                    one_side(bins, pred, side);
                }
            } else {
                both_sides(bins, pred, truth, first);
            }
        }
        both_sides(bins, pred, truth, first);
    }
}

#[inline(never)]
fn one_side(bins: &mut Bins, pred: &[u8; PIECE], side: usize) {
    let mut sides = bins.each_mut().map(|bins| &mut bins[side..side + 256]);
    for levels in pred.as_chunks::<4>().0 {
        for (bins, level) in sides.iter_mut().zip(levels) {
            bins[usize::from(*level)] += 1;
        }
    }
}

#[inline(never)]
fn both_sides(bins: &mut Bins, pred: &[u8], truth: &[u8], first: u16) {
    for (i, (pred, truth)) in pred.iter().zip(truth).enumerate() {
        bins[i % 4][usize::from(*pred) | usize::from(u16::from(*truth) >= first) << 8] += 1;
    }
}

fn count_words(pixels: &[u32], pair: &Prepared<'_>, (above, left): (usize, usize)) -> [Tally; 4] {
    let mut parts: [Tally; 4] = std::array::from_fn(|_| Tally::new(pair.values.len()));
    let width = pair.width();
    for (y, (pred, truth)) in pixels.chunks_exact(width).zip(pair.gt.plane().rows()).enumerate() {
        for (x, (p, &t)) in pred.iter().zip(truth).enumerate() {
            let part = &mut parts[usize::from(y >= above) * 2 + usize::from(x >= left)];
            let side = if pair.gt.holds(t) { &mut part.fg } else { &mut part.bg };
            side[p.index()] += 1;
        }
    }
    parts
}

/// Counts the pixels of a rectangle given by the first column and row and those behind the last.
pub(crate) fn count_box(pair: &Prepared<'_>, [x0, y0, x1, y1]: [usize; 4]) -> Tally {
    fn count<L: Level>(pixels: &[L], pair: &Prepared<'_>, [x0, y0, x1, y1]: [usize; 4]) -> Tally {
        let mut tally = Tally::new(pair.values.len());
        for y in y0..y1 {
            let pred = &pixels[y * pair.width()..][x0..x1];
            for (p, &t) in pred.iter().zip(&pair.gt.plane().row(y)[x0..x1]) {
                let side = if pair.gt.holds(t) { &mut tally.fg } else { &mut tally.bg };
                side[p.index()] += 1;
            }
        }
        tally
    }
    with_pixels!(pair, pixels => count(pixels, pair, [x0, y0, x1, y1]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Plane, Protocol};

    #[test]
    fn quadrants_add_up_whatever_the_bands() {
        let (w, h) = (701, 530);
        let pred: Vec<u8> = (0..w * h).map(|i| if i / w % 3 == 0 { 9 } else { (i * 7919 % 256) as u8 }).collect();
        let gt: Vec<u8> = (0..w * h).map(|i| if i % w < 200 && i / w > 17 { 255 } else { 0 }).collect();
        let (pred, gt) = (Plane::new(&pred, w, h).unwrap(), Plane::new(&gt, w, h).unwrap());
        let pair = Prepared::new(pred, gt, &Protocol::default()).unwrap();
        let tallies = Tallies::new(&pair);
        assert_eq!(tallies.cut, (275, 101)); // rows 18..530, mean 273.5 to even; columns 0..200, mean 99.5 to even
        let words = pred.data().iter().map(|&v| u32::from(v)).collect::<Vec<_>>();
        let slow = count_words(&words, &pair, tallies.cut);
        assert_eq!(tallies.parts, slow);
        assert_eq!(tallies.whole, count_box(&pair, [0, 0, w, h]));
        assert_eq!(tallies.whole.foreground(), 200 * 512);
    }
}
