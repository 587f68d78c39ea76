//! Products of large f32 matrices on the tiles of [`super::tile`].
//!
//! The right-hand matrix (the weight) is packed once, by all threads. Then blocks of at most 96 rows by 256 columns are tasks of their own: over
//! stretches of at most 256 of the inner dimension, the block's rows are copied together, and each panel is multiplied while its stretch is in the
//! first-level cache; the block itself stays in the second-level one until its epilogue is done. The stretches depend on the inner dimension alone,
//! so an element's sum does not depend on the number of threads.
#![allow(unsafe_code)]

use super::matrix::{Mat, Shared};
use super::tile::{
    Panel, arch, available, last_width, pack_columns, pack_rows, packed, width, with_packed, with_scratch,
};
use super::written;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Rows of a block.
const ROWS: usize = 96;
/// Columns of a block.
const COLUMNS: usize = 256;
/// Terms of a sum that are added up in registers.
const DEPTH: usize = 256;

/// `n` in equal parts of at most `most`, each but the last a multiple of `unit`.
pub(super) fn part(n: usize, most: usize, unit: usize) -> usize {
    n.div_ceil(n.div_ceil(most).max(1)).next_multiple_of(unit).max(unit)
}

/// A matrix in panels.
struct Packed<'a> {
    /// The unused half of a last narrow panel is never written nor read.
    data: &'a [MaybeUninit<f32>],
    width: usize,
    by_columns: bool,
    n: usize,
    k: usize,
}

impl<'a> Packed<'a> {
    /// `b` is k × n, with contiguous rows or contiguous columns.
    fn new(b: Mat<'_, f32>, n: usize, k: usize, data: &'a mut [MaybeUninit<f32>]) -> Self {
        let width = width();
        assert!(data.len() >= packed(n, k, width));
        let by_columns = b.columns != 1;
        assert!(b.holds(k, n));
        let shared = Shared::new(data);
        if by_columns {
            let panels = n.div_ceil(width);
            (0..panels).into_par_iter().with_min_len(panels.div_ceil(64)).for_each(|panel| {
                let from = panel * width;
                let row = |i: usize| b.data[(from + i) * b.columns..].as_ptr();
                let n = width.min(n - from);
                // SAFETY: panels do not overlap; columns of `b` have `k` contiguous elements, as asserted.
                unsafe { pack_columns(width, n, k, row, shared.part(from * k, width * k).as_mut_ptr().cast()) };
            });
        } else {
            const PIECE: usize = 64;
            (0..k.div_ceil(PIECE)).into_par_iter().for_each(|piece| {
                let rows = piece * PIECE..k.min((piece + 1) * PIECE);
                // SAFETY: each piece writes rows of its own in every panel; rows of `b` have `n` elements, as asserted.
                unsafe { pack_rows(width, n, rows, k, |p| b.data[p * b.rows..].as_ptr(), shared.start().cast()) };
            });
        }
        Self { data, width, by_columns, n, k }
    }

    /// The panel of column `from` from row `p` on, and the step between its rows.
    fn panel(&self, from: usize, p: usize) -> (*const f32, usize) {
        let step = if self.by_columns { self.width } else { last_width(self.width, self.n - from) };
        (self.data[from * self.k + p * step..].as_ptr().cast(), step)
    }
}

/// `a b` (m × n), with `tail(y, rows, columns)` called for each finished block; `a` is m × k, `b` k × n, each with contiguous rows or contiguous
/// columns, none of the sizes 0. For processors with the tiles only.
pub(super) fn product(
    (m, n, k): (usize, usize, usize),
    a: Mat<'_, f32>,
    b: Mat<'_, f32>,
    tail: impl Fn(Shared<'_, f32>, Range<usize>, Range<usize>) + Sync,
) -> Vec<f32> {
    assert!(m * n * k > 0 && a.holds(m, k) && (a.columns == 1 || a.rows == 1) && available());
    let rows = part(m, ROWS, 12);
    let depth = part(k, DEPTH, 8);
    let across = n.div_ceil(COLUMNS);
    let write = |y: &mut [f32]| {
        let y = Shared::new(y);
        with_packed(packed(n, k, width()), |data| {
            let b = &Packed::new(b, n, k, data);
            (0..m.div_ceil(rows) * across).into_par_iter().for_each(|task| {
                let (row, column) = (task / across * rows, task % across * COLUMNS);
                let (rows, columns) = (row..m.min(row + rows), column..n.min(column + COLUMNS));
                let block = Block { a, b, y, k, n, rows, columns, depth };
                with_scratch(ROWS * depth, |scratch| arch().dispatch(Run(&block, scratch)));
                tail(y, block.rows, block.columns);
            });
        });
    };
    // SAFETY: the blocks cover all of it, and the tiles write each element before anybody reads it.
    unsafe { written(m * n, write) }
}

struct Block<'a> {
    a: Mat<'a, f32>,
    b: &'a Packed<'a>,
    y: Shared<'a, f32>,
    k: usize,
    n: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    depth: usize,
}

struct Run<'a>(&'a Block<'a>, &'a mut [f32]);

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self(t, scratch) = self;
        let m = t.rows.len();
        for from in (0..t.k).step_by(t.depth) {
            let k = t.depth.min(t.k - from);
            let (a, rows, columns) = t.left(from, k, scratch);
            for column in t.columns.clone().step_by(t.b.width) {
                let (b, step) = t.b.panel(column, from);
                let n = t.b.width.min(t.columns.end - column);
                // SAFETY: the block belongs to this task alone and lies inside `y`, as asserted in `product`; `a` and the panel hold `k` terms.
                unsafe {
                    let c = t.y.start().add(t.rows.start * t.n + column);
                    Panel { m, k, a, rows, columns, b, step, c, stride: t.n, n, sum: from > 0 }.run(s);
                }
            }
        }
    }
}

impl Block<'_> {
    /// The block's rows of `a` over a stretch, close together.
    #[inline(always)]
    fn left(&self, from: usize, k: usize, scratch: &mut [f32]) -> (*const f32, usize, usize) {
        let (m, a) = (self.rows.len(), self.a);
        let start = self.rows.start * a.rows + from * a.columns;
        if a.columns == 1 {
            if self.k == k {
                return (a.data[start..].as_ptr(), a.rows, 1);
            }
            for (i, to) in scratch.chunks_exact_mut(k).take(m).enumerate() {
                to.copy_from_slice(&a.data[start + i * a.rows..][..k]);
            }
            return (scratch.as_ptr(), k, 1);
        }
        for (p, to) in scratch.chunks_exact_mut(m).take(k).enumerate() {
            to.copy_from_slice(&a.data[start + p * a.columns..][..m]);
        }
        (scratch.as_ptr(), 1, m)
    }
}
