//! Squared distances along a row, many columns at a time.

use std::sync::OnceLock;

use super::PIECE;
use super::columns::FAR;
use crate::wide::{Wide, widest};

/// Columns beside the row, all infinitely far from a feature: more than the farthest that matters, and two pieces.
const SIDE: usize = 256 + 2 * PIECE;

/// More than any distance that matters.
const UNKNOWN: u16 = 256;

/// How far to look for a piece's features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nothing is wanted.
    None,
    /// Distances up to [`CLOSE`] columns are wanted.
    Close,
    /// All are.
    All,
}

/// How many columns away a close feature may be.
pub(super) const CLOSE: usize = 4;

/// The row pass of a distance transform that has 65535 for the square of distances of 255 and more.
///
/// A column's squared distance is the smallest, over the columns `k` away, of `k^2` and the square of their own
/// distance to the feature in the same column. The column that gives it does not move to the left as one goes to the right, so
/// those that matter for a piece lie between those of its ends: on the average there are as many as the piece has columns.
pub(super) struct Squares {
    /// The square of each column's own distance, with `SIDE` columns at either end.
    columns: Vec<u16>,
    /// How far the nearest feature is from the end of each piece in the row above, rounded up; `UNKNOWN` where it is not known.
    above: Vec<u16>,
    /// The row above.
    last: Option<usize>,
}

impl Squares {
    /// For rows of `width` columns.
    pub(super) fn new(width: usize) -> Self {
        let pieces = width.div_ceil(PIECE);
        Self { columns: vec![u16::MAX; pieces * PIECE + 2 * SIDE], above: vec![UNKNOWN; pieces], last: None }
    }

    /// Fills the pieces of `out` in which something is wanted: row `y`, from how far each column's nearest feature is away. In
    /// the next row it is one row farther at most.
    pub(super) fn row(&mut self, y: usize, away: &[u8], reach: &[Reach], out: &mut [[u16; PIECE]]) {
        if self.last.replace(y).is_none_or(|last| last + 1 != y) {
            self.above.fill(UNKNOWN);
        }
        widest(Row { squares: self, away, reach, out, table: table() });
    }

    /// The squares of the last row's columns, from `CLOSE` columns before the first one on.
    #[inline(always)]
    pub(super) fn columns(&self) -> &[u16] {
        &self.columns[SIDE - CLOSE..]
    }
}

/// Squares of the distances of a piece's columns from one column.
#[repr(align(64))]
struct Lane([u16; PIECE]);

type Table = [Lane; 2 * SIDE];

/// The squares of `i - SIDE` and what follows, at `i`: aligned, so that a vector of them is one read.
fn table() -> &'static Table {
    static TABLE: OnceLock<Box<Table>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let square = |i: usize| i.abs_diff(SIDE).pow(2).min(usize::from(u16::MAX)) as u16;
        Box::new(std::array::from_fn(|i| Lane(std::array::from_fn(|lane| square(i + lane)))))
    })
}

struct Row<'a> {
    squares: &'a mut Squares,
    away: &'a [u8],
    reach: &'a [Reach],
    out: &'a mut [[u16; PIECE]],
    table: &'a Table,
}

impl Wide for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { squares: Squares { columns, above, .. }, away, reach, out, table } = self;
        for (column, &away) in columns[SIDE..].iter_mut().zip(away) {
            *column = if away == FAR { u16::MAX } else { u16::from(away) * u16::from(away) };
        }
        let own = |x: usize| away.get(x).map_or(UNKNOWN, |&away| u16::from(away));
        let mut start = None;
        for (i, ((reach, out), above)) in reach.iter().zip(out).zip(above).enumerate() {
            let (x, at) = (i * PIECE, SIDE + i * PIECE);
            if *reach != Reach::All {
                if *reach == Reach::Close {
                    *out = lowest(columns, table, at, at - CLOSE, at + PIECE + CLOSE - 1);
                }
                (start, *above) = (None, UNKNOWN);
                continue;
            }
            let from = start.unwrap_or_else(|| Best::find(columns, table, at, 0, own(x)));
            // a row or some columns farther it is so much farther at most
            let reach = own(x + PIECE).min(*above + 1).min(from.away + PIECE as u16);
            let to = Best::find(columns, table, at + PIECE, from.first, reach);
            *out = lowest(columns, table, at, from.first.max(at - 255), to.last.min(at + PIECE + 255));
            (start, *above) = (Some(to), to.away);
        }
    }
}

/// A column that gives the smallest squared distance at some place.
#[derive(Clone, Copy)]
struct Best {
    /// How far that is, rounded up.
    away: u16,
    /// It lies between these two: it is both, unless the distance is capped.
    first: usize,
    last: usize,
}

impl Best {
    /// Looks for it at `at`, from the column `first` on, no farther than `reach`.
    #[inline(always)]
    fn find(columns: &[u16], table: &Table, at: usize, first: usize, reach: u16) -> Self {
        let reach = usize::from(reach.min(255));
        let from = first.max(at - reach);
        // of each lane the smallest, and in which piece it was
        let (mut least, mut pieces) = ([u16::MAX; PIECE], [0; PIECE]);
        // what lies beyond the last one is no smaller; the sides are wide enough
        for (i, start) in (from..=at + reach).step_by(PIECE).enumerate() {
            let squares = &table[SIDE + start - at].0;
            let sums = columns[start..][..PIECE].iter().zip(squares);
            for ((least, piece), (column, square)) in least.iter_mut().zip(&mut pieces).zip(sums) {
                let sum = column.saturating_add(*square);
                *piece = if sum < *least { i as u16 } else { *piece };
                *least = sum.min(*least);
            }
        }
        let squared = least.iter().fold(u16::MAX, |a, &b| a.min(b));
        if squared == u16::MAX {
            return Self { away: UNKNOWN, first, last: usize::MAX };
        }
        let mut place = u16::MAX;
        for (lane, (least, piece)) in least.iter().zip(&pieces).enumerate() {
            place = place.min(if *least == squared { *piece * PIECE as u16 + lane as u16 } else { u16::MAX });
        }
        let place = from + usize::from(place);
        // one more where it is a square: that does no harm
        Self { away: f32::from(squared).sqrt() as u16 + 1, first: place, last: place }
    }
}

/// The smallest squared distances of the piece at `at`, of the columns `first..=last`.
#[inline(always)]
fn lowest(columns: &[u16], table: &Table, at: usize, first: usize, last: usize) -> [u16; PIECE] {
    let mut found = [u16::MAX; PIECE];
    // some beyond the last do no harm
    let many = (last - first) / 4 * 4 + 4;
    let (columns, _) = columns[first..first + many].as_chunks::<4>();
    let (squares, _) = table[SIDE + at - first + 1 - many..][..many].as_chunks::<4>();
    for ([a, b, c, d], [l, k, j, i]) in columns.iter().zip(squares.iter().rev()) {
        for (found, (((i, j), k), l)) in found.iter_mut().zip(i.0.iter().zip(&j.0).zip(&k.0).zip(&l.0)) {
            let (a, b) = (a.saturating_add(*i), b.saturating_add(*j));
            let (c, d) = (c.saturating_add(*k), d.saturating_add(*l));
            *found = (*found).min(a.min(b).min(c.min(d)));
        }
    }
    found
}
