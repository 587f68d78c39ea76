//! Errors of the background, and what the foreground lends to it.

use std::ops::Range;
use std::sync::OnceLock;

use super::columns::{Next, Outside};
use super::squares::{CLOSE, Reach, Squares};
use super::{BAND, HALF, Map, PIECE};
use crate::prepare::{Level, Ramp};
use crate::wide::{Wide, any, mask, widest};

/// What is used for one band after the other.
pub(super) struct Scratch<L> {
    /// How far the nearest foreground at or below each pixel is.
    below: Vec<u8>,
    /// Each pixel as it is; near the foreground, the background as the nearest foreground pixel is.
    carried: Vec<L>,
    row: Row<L>,
}

/// Of one row.
struct Row<L> {
    /// How many rows away the nearest foreground is.
    away: Vec<u8>,
    /// Whether it is close enough for a window, with `HALF` columns on either side.
    close: Vec<u8>,
    /// Background in the window of some foreground pixel.
    near: Vec<u8>,
    /// Background that is not predicted as such.
    wrong: Vec<u8>,
    reach: Vec<Reach>,
    /// What the nearest foreground pixel in each column has, with `CLOSE` columns on either side.
    lent: Vec<L>,
    squares: Squares,
    squared: Vec<[u16; PIECE]>,
}

impl<L: Level> Scratch<L> {
    pub(super) fn new(width: usize) -> Self {
        let pieces = width.div_ceil(PIECE);
        let row = Row {
            away: vec![0; width],
            close: vec![0; pieces * PIECE + 2 * HALF],
            near: vec![0; pieces * PIECE],
            wrong: vec![0; pieces * PIECE],
            reach: vec![Reach::None; pieces],
            lent: vec![L::of(0); pieces * PIECE + 2 * CLOSE],
            squares: Squares::new(width),
            squared: vec![[0; PIECE]; pieces],
        };
        let most = (BAND + 2 * HALF) * width;
        Self { below: Vec::with_capacity(most), carried: Vec::with_capacity(most), row }
    }

    /// The rows around `band`, the last one.
    pub(super) fn carried(&self, map: &Map<'_, L>, band: &Range<usize>) -> Carried<'_, L> {
        Carried { rows: &self.carried, from: map.around(band).start, width: map.truth.width() }
    }
}

/// The rows around a band: each pixel as it is, and near the foreground the background as the foreground is.
pub(super) struct Carried<'a, L> {
    rows: &'a [L],
    /// Which row of the image is the first.
    from: usize,
    width: usize,
}

impl<L> Carried<'_, L> {
    pub(super) fn row(&self, y: usize) -> &[L] {
        &self.rows[(y - self.from) * self.width..][..self.width]
    }
}

/// Carries the foreground's levels as far into the background as the Gaussian looks, in the rows around a band, and sums the
/// background's errors in the band, weighted by their distance to the foreground.
pub(super) fn errors<L: Level>(
    map: &Map<'_, L>,
    band: &Range<usize>,
    outside: Outside,
    scratch: &mut Scratch<L>,
) -> f64 {
    let (around, width) = (map.around(band), map.truth.width());
    let Outside { mut above, below: mut away } = outside;
    let Scratch { below, carried, row } = scratch;
    below.resize(around.len() * width, 0);
    for y in around.clone().rev() {
        widest(Next { truth: map.truth.row(y), first: map.first, away: &mut away });
        below[(y - around.start) * width..][..width].copy_from_slice(&away);
    }
    carried.clear();
    let mut sum = 0.;
    for y in around.clone() {
        let below = &below[(y - around.start) * width..][..width];
        widest(Next { truth: map.truth.row(y), first: map.first, away: &mut above });
        widest(Marks { map, y, above: &above, below, lowest: map.lowest.filter(|_| band.contains(&y)), row });
        let at = carried.len();
        carried.extend_from_slice(map.row(y));
        let Row { away, reach, squares, squared, .. } = row;
        if reach.iter().any(|reach| *reach != Reach::None) {
            squares.row(y, away, reach, squared);
            widest(Carry { map, y, above: &above, below, row, carried: &mut carried[at..] });
            sum += widest(Weighted { pred: map.row(y), ramp: &map.ramp, reach: &row.reach, squared: &row.squared });
        }
    }
    sum
}

/// A piece of a row, filled up where the row ends.
#[inline(always)]
fn piece<T: Copy>(row: &[T], i: usize, fill: T) -> [T; PIECE] {
    let row = &row[i * PIECE..];
    row.first_chunk().copied().unwrap_or_else(|| {
        let mut piece = [fill; PIECE];
        piece.iter_mut().zip(row).for_each(|(to, from)| *to = *from);
        piece
    })
}

/// Marks in a row of the background which pixels the foreground lends to, and in which pieces a distance is needed for
/// that or for an error.
struct Marks<'a, L> {
    map: &'a Map<'a, L>,
    y: usize,
    above: &'a [u8],
    below: &'a [u8],
    /// The lowest level that is an error, where errors are asked for.
    lowest: Option<L>,
    row: &'a mut Row<L>,
}

impl<L: Level> Wide for Marks<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { map, y, above, below, lowest, row: Row { away, close, near, wrong, reach, .. } } = self;
        for ((away, close), (above, below)) in away.iter_mut().zip(&mut close[HALF..]).zip(above.iter().zip(below)) {
            *away = *above.min(below);
            *close = mask(*away <= HALF as u8);
        }
        let truth = map.truth.row(y);
        // a window around some foreground pixel holds it
        for ((near, window), truth) in near.iter_mut().zip(close.windows(2 * HALF + 1)).zip(truth) {
            *near = window.iter().fold(0, |any, close| any | close) & mask(*truth < map.first);
        }
        if let Some(lowest) = lowest {
            for (wrong, (pred, truth)) in wrong.iter_mut().zip(map.row(y).iter().zip(truth)) {
                *wrong = mask(*pred >= lowest) & mask(*truth < map.first);
            }
        } else {
            wrong.fill(0);
        }
        let ((near, _), (wrong, _)) = (near.as_chunks::<PIECE>(), wrong.as_chunks::<PIECE>());
        for ((near, wrong), reach) in near.iter().zip(wrong).zip(reach) {
            *reach = match (any(wrong), any(near)) {
                (true, _) => Reach::All,
                (false, true) => Reach::Close,
                (false, false) => Reach::None,
            };
        }
    }
}

/// Lends what the nearest foreground pixels have.
struct Carry<'a, L> {
    map: &'a Map<'a, L>,
    y: usize,
    above: &'a [u8],
    below: &'a [u8],
    row: &'a mut Row<L>,
    carried: &'a mut [L],
}

impl<L: Level> Wide for Carry<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { map, y, above, below, row: Row { near, lent, squares, squared, .. }, carried } = self;
        // what a window around a foreground pixel holds is at most the root of 18 away from it: no more than `CLOSE` columns
        let (mut ready, (near, _)) = (0, near.as_chunks::<PIECE>());
        for (i, carried) in carried.chunks_mut(PIECE).enumerate() {
            if !any(&near[i]) {
                continue;
            }
            for k in ready.max(i.saturating_sub(1))..(i + 2).min(near.len()) {
                let lent = &mut lent[CLOSE + k * PIECE..][..PIECE];
                lent.copy_from_slice(&in_columns(map, y, &piece(above, k, u8::MAX), &piece(below, k, u8::MAX), k));
                ready = k + 1;
            }
            let (squared, mut found) = (&squared[i], [L::of(0); PIECE]);
            // the first column that gives the distance
            for offset in (0..=2 * CLOSE).rev() {
                let (at, square) = (i * PIECE + offset, offset.abs_diff(CLOSE).pow(2) as u16);
                let sides = (squares.columns()[at..].first_chunk::<PIECE>(), lent[at..].first_chunk::<PIECE>());
                let (Some(columns), Some(lent)) = sides else { continue };
                for k in 0..PIECE {
                    found[k] = L::pick(mask(columns[k].saturating_add(square) == squared[k]), lent[k], found[k]);
                }
            }
            for ((carried, found), near) in carried.iter_mut().zip(&found).zip(&near[i]) {
                *carried = L::pick(*near, *found, *carried);
            }
        }
    }
}

/// What the nearest foreground pixel in each column of a piece has, where it is close; the upper one of two.
#[inline(always)]
fn in_columns<L: Level>(map: &Map<'_, L>, y: usize, above: &[u8; PIECE], below: &[u8; PIECE], i: usize) -> [L; PIECE] {
    let mut lent = piece(map.row(y), i, L::of(0));
    for k in 1..=CLOSE {
        if let Some(up) = y.checked_sub(k) {
            let row = piece(map.row(up), i, L::of(0));
            for ((lent, row), (above, below)) in lent.iter_mut().zip(&row).zip(above.iter().zip(below)) {
                *lent = L::pick(mask((*above == k as u8) & (above <= below)), *row, *lent);
            }
        }
        if y + k < map.truth.height() {
            let row = piece(map.row(y + k), i, L::of(0));
            for ((lent, row), (above, below)) in lent.iter_mut().zip(&row).zip(above.iter().zip(below)) {
                *lent = L::pick(mask((*below == k as u8) & (below < above)), *row, *lent);
            }
        }
    }
    lent
}

/// Sums a row's values, each weighted by its squared distance, in eight parts that do not wait for each other.
struct Weighted<'a, L> {
    pred: &'a [L],
    ramp: &'a Ramp<'a>,
    reach: &'a [Reach],
    squared: &'a [[u16; PIECE]],
}

impl<L: Level> Wide for Weighted<'_, L> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let (mut values, mut by, mut sums) = ([0.; PIECE], [0.; PIECE], [0.; 8]);
        for ((pred, reach), squared) in self.pred.chunks(PIECE).zip(self.reach).zip(self.squared) {
            if *reach != Reach::All {
                continue;
            }
            L::values(pred, self.ramp, &mut values);
            look_up(squared, &mut by);
            // beyond the row's end there is nothing
            values[pred.len()..].fill(0.);
            for (values, by) in values.chunks(8).zip(by.chunks(8)) {
                sums.iter_mut().zip(values.iter().zip(by)).for_each(|(sum, (v, by))| *sum += v * by);
            }
        }
        sums.iter().sum()
    }
}

/// Looks up weights; never as a part of code for wide vectors, which would gather them, and that is slower.
#[inline(never)]
fn look_up(squares: &[u16; PIECE], out: &mut [f64; PIECE]) {
    let weights = weights();
    out.iter_mut().zip(squares).for_each(|(out, squared)| *out = weights[usize::from(*squared)]);
}

/// The weight of a pixel by its squared distance from the foreground: none inside it, 1 at it, half of the way to 2
/// every five pixels. From 255 pixels on, where squared distances are not told apart, it lacks less than 5e-16.
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
