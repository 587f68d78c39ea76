//! Squared distances along a row, many columns at a time.

use std::sync::OnceLock;

use crate::wide::{Wide, widest};

/// Columns that are done together.
const PIECE: usize = 32;
/// Columns beside the row, all infinitely far from a feature: more than the farthest that matters, and a piece.
const SIDE: usize = 256 + PIECE;
/// Where the table of squares has the square of 0.
const CENTER: usize = 2 * SIDE;
/// How far a feature may be for [`Squares::close`].
const CLOSE: usize = 4;

/// The row pass of a distance transform that caps squared distances at 65535.
///
/// A column's squared distance is the smallest, over the columns `k` away, of `k^2` and the square of their own
/// distance to the feature in the same column. The column that gives it does not move to the left as one goes to the right, so
/// those that matter for a piece lie between those of its ends: on the average there are as many as the piece has columns.
pub(crate) struct Squares {
    /// The square of each column's own distance, with `SIDE` columns at either end.
    columns: Vec<u16>,
    /// The smallest squared distance at the end of each piece in the row above; 65535 where it is not known.
    above: Vec<u16>,
    /// The row above.
    last: Option<i32>,
}

impl Squares {
    /// For rows of `width` columns.
    pub(crate) fn new(width: usize) -> Self {
        let pieces = width.div_ceil(PIECE);
        Self { columns: vec![u16::MAX; pieces * PIECE + 2 * SIDE], above: vec![u16::MAX; pieces], last: None }
    }

    /// Fills the pieces of `out` in which something is wanted: row `y`, from the row of the nearest feature in each column.
    pub(crate) fn row(&mut self, near: &[i32], y: i32, wanted: &[bool], out: &mut [u16]) {
        if self.last.replace(y) != Some(y - 1) {
            self.above.fill(u16::MAX);
        }
        widest(Row { squares: self, near, y, wanted, out, table: table() });
    }

    /// Calls `visit` for each marked column with the nearest one that is the first to give its squared distance, which must be the
    /// row's last and at most 18.
    pub(crate) fn close(&self, marks: &[bool], squares: &[u16], mut visit: impl FnMut(usize, usize)) {
        for (i, (marks, squares)) in marks.chunks(PIECE).zip(squares.chunks(PIECE)).enumerate() {
            if any(marks) {
                let offsets = widest(Close { columns: &self.columns[SIDE + i * PIECE - CLOSE..], squares });
                let mut left = marks.iter().rev().fold(0u32, |bits, &mark| bits << 1 | u32::from(mark));
                while left != 0 {
                    let k = left.trailing_zeros() as usize;
                    left &= left - 1;
                    visit(i * PIECE + k, i * PIECE + k + usize::from(offsets[k]) - CLOSE);
                }
            }
        }
    }
}

#[inline(always)]
fn any(marks: &[bool]) -> bool {
    marks.iter().fold(false, |a, &b| a | b)
}

/// Squares of the distances from `CENTER`, capped.
fn table() -> &'static [u16; 2 * CENTER + 1] {
    static TABLE: OnceLock<[u16; 2 * CENTER + 1]> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = [u16::MAX; 2 * CENTER + 1];
        for (i, square) in table.iter_mut().enumerate() {
            *square = i.abs_diff(CENTER).pow(2).min(usize::from(u16::MAX)) as u16;
        }
        table
    })
}

struct Row<'a> {
    squares: &'a mut Squares,
    near: &'a [i32],
    y: i32,
    wanted: &'a [bool],
    out: &'a mut [u16],
    table: &'a [u16; 2 * CENTER + 1],
}

impl Wide for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { squares: Squares { columns, above, .. }, near, y, wanted, out, table } = self;
        for (column, row) in columns[SIDE..].iter_mut().zip(near) {
            let rows = row.abs_diff(y).min(256);
            *column = (rows * rows).min(u32::from(u16::MAX)) as u16;
        }
        let mut start = None;
        for (i, ((wanted, out), above)) in wanted.chunks(PIECE).zip(out.chunks_mut(PIECE)).zip(above).enumerate() {
            if !any(wanted) {
                (start, *above) = (None, u16::MAX);
                continue;
            }
            let at = SIDE + i * PIECE;
            let from = start.unwrap_or_else(|| Best::find(columns, table, at, 0, 256));
            let reach = root(*above).saturating_add(1).min(root(from.squared) + PIECE);
            let to = Best::find(columns, table, at + PIECE, from.first, reach);
            let found = lowest(columns, table, at, from.first.max(at - 255), to.last.min(at + PIECE + 255));
            out.copy_from_slice(&found[..out.len()]);
            (start, *above) = (Some(to), to.squared);
        }
    }
}

/// The integer root, rounded up, or one more.
#[inline(always)]
fn root(squared: u16) -> usize {
    f32::from(squared).sqrt() as usize + 1
}

/// The column that gives the smallest squared distance at some place.
#[derive(Clone, Copy)]
struct Best {
    squared: u16,
    /// It lies between these two: it is both, unless the distance is capped.
    first: usize,
    last: usize,
}

impl Best {
    /// Looks for it at `at`, from the column `first` on, no farther than `reach`.
    #[inline(always)]
    fn find(columns: &[u16], table: &[u16; 2 * CENTER + 1], at: usize, first: usize, reach: usize) -> Self {
        let reach = reach.min(root(columns[at])).min(255);
        let (mut least, mut piece) = (u16::MAX, None);
        // what lies beyond the last one is no smaller; the sides are wide enough
        for start in (first.max(at - reach)..=at + reach).step_by(PIECE) {
            let lowest = sums(columns, table, at, start).iter().fold(u16::MAX, |a, &b| a.min(b));
            if lowest < least {
                (least, piece) = (lowest, Some(start));
            }
        }
        let Some(start) = piece else { return Self { squared: least, first, last: usize::MAX } };
        // the first lane that has it, without a branch
        let mut lane = PIECE as u16;
        for (i, sum) in sums(columns, table, at, start).iter().enumerate() {
            lane = lane.min(if *sum == least { i as u16 } else { PIECE as u16 });
        }
        let place = start + usize::from(lane);
        Self { squared: least, first: place, last: place }
    }
}

/// The squared distances at one place that a piece of columns gives.
#[inline(always)]
fn sums(columns: &[u16], table: &[u16; 2 * CENTER + 1], at: usize, start: usize) -> [u16; PIECE] {
    let squares = &table[CENTER + start - at..][..PIECE];
    let mut sums = [0; PIECE];
    for (sum, (column, square)) in sums.iter_mut().zip(columns[start..][..PIECE].iter().zip(squares)) {
        *sum = column.saturating_add(*square);
    }
    sums
}

/// The smallest squared distances of the piece at `at`, of the columns `first..=last`.
#[inline(always)]
fn lowest(columns: &[u16], table: &[u16; 2 * CENTER + 1], at: usize, first: usize, last: usize) -> [u16; PIECE] {
    let mut found = [u16::MAX; PIECE];
    for first in (first..=last).step_by(4) {
        // some beyond the last do no harm
        let [a, b, c, d] = [columns[first], columns[first + 1], columns[first + 2], columns[first + 3]];
        if a.min(b).min(c.min(d)) == u16::MAX {
            continue;
        }
        let squares = &table[CENTER + at - first - 3..][..PIECE + 3];
        for (i, found) in found.iter_mut().enumerate() {
            let (a, b) = (a.saturating_add(squares[i + 3]), b.saturating_add(squares[i + 2]));
            let (c, d) = (c.saturating_add(squares[i + 1]), d.saturating_add(squares[i]));
            *found = (*found).min(a.min(b).min(c.min(d)));
        }
    }
    found
}

/// Looks for the first column that gives each squared distance of a piece, `CLOSE` to either side.
struct Close<'a> {
    /// From `CLOSE` columns before the piece on.
    columns: &'a [u16],
    squares: &'a [u16],
}

impl Wide for Close<'_> {
    type Output = [u8; PIECE];

    #[inline(always)]
    fn run(self) -> [u8; PIECE] {
        let (mut offsets, mut squares) = ([0; PIECE], [0; PIECE]);
        squares[..self.squares.len()].copy_from_slice(self.squares);
        let columns = &self.columns[..PIECE + 2 * CLOSE];
        for offset in (0..=2 * CLOSE).rev() {
            let square = offset.abs_diff(CLOSE).pow(2) as u16;
            for ((found, squared), column) in offsets.iter_mut().zip(&squares).zip(&columns[offset..]) {
                *found = if column.saturating_add(square) == *squared { offset as u8 } else { *found };
            }
        }
        offsets
    }
}
