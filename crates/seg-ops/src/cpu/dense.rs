//! Products of large f32 matrices on the tiles of [`super::tile`].
//!
//! A task has at most 512 rows of the result. Over stretches of at most 384 of the inner dimension, the right-hand matrix (the weight), packed into
//! panels, is taken by 288 columns, which stay in the second-level cache; strips of 8 rows (6 with AVX2), which stay in the first-level one, meet these
//! panels in turn, and what follows the product (bias, activation, ...) is applied to each strip when its sums are complete. Where many tasks share
//! columns, all threads pack the matrix once beforehand; where few do, each packs its own part, and no thread waits for another. Where rows of the
//! left-hand matrix must be copied, a task has all columns, so that it copies each row once. The stretches depend on the inner dimension alone, so an
//! element's sum does not depend on the number of threads.
#![allow(unsafe_code)]

use super::matrix::{Mat, Shared};
use super::panels::{copy, packed};
use super::processor::arch;
use super::scratch::{with_packed, with_scratch};
use super::tail::TailData;
use super::tile::{Panel, WHOLE, available, width};
use super::turn::turn_eight;
use super::written;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Rows of a task at most.
const ROWS: usize = 512;
/// Rows that share the packing of a panel at the least, if there are so many.
const FEW_ROWS: usize = 200;
/// Rows that are copied together.
const GROUP: usize = 96;
/// Columns that are multiplied with the same rows in turn: a whole number of panels of any width.
const COLUMNS: usize = 288;
/// Terms of a sum that are added up in registers.
const DEPTH: usize = 384;
/// Tasks that keep many threads busy.
const TASKS: usize = 16;

/// `n` in equal parts of at most `most`, each but the last a multiple of `unit`.
pub(super) fn part(n: usize, most: usize, unit: usize) -> usize {
    n.div_ceil(n.div_ceil(most).max(1)).next_multiple_of(unit).max(unit)
}

/// How a product is cut.
#[derive(Clone, Copy)]
struct Cut {
    /// Rows and columns of a task.
    rows: usize,
    columns: usize,
    depth: usize,
    /// Columns of a panel: three vectors with AVX-512, two with AVX2.
    panel: usize,
    /// Rows that are multiplied with all panels in turn: as many as a tile has.
    strip: usize,
    /// Whether all columns are packed before.
    before: bool,
}

impl Cut {
    fn new((m, n, k): (usize, usize, usize), a: Mat<'_, f32>) -> Self {
        let (panel, strip) = if width() == 32 { (48, 8) } else { (width(), 6) };
        let depth = part(k, DEPTH, 8);
        if m >= MANY_ROWS && copies(a, depth, k) {
            let rows = part(m, ROWS.min(m.div_ceil(TASKS)), strip);
            return Self { rows, columns: n, depth, panel, strip, before: true };
        }
        let (mut rows, mut columns) = (part(m, ROWS, strip), part(n, COLUMNS, panel));
        while m.div_ceil(rows) * n.div_ceil(columns) < TASKS {
            if rows > FEW_ROWS {
                rows = part(m, rows / 2, strip);
            } else if columns > panel {
                columns = part(n, columns / 2, panel);
            } else {
                break;
            }
        }
        Self { rows, columns, depth, panel, strip, before: m.div_ceil(rows) >= SHARED }
    }
}

/// `a b` (m × n) and what follows; `a` is m × k, `b` k × n, each with contiguous rows or contiguous columns, none of the sizes 0. For processors with the
/// tiles only.
pub(super) fn product(
    (m, n, k): (usize, usize, usize),
    a: Mat<'_, f32>,
    b: Mat<'_, f32>,
    tail: Option<&TailData<'_, f32>>,
) -> Vec<f32> {
    assert!(m * n * k > 0 && a.holds(m, k) && b.holds(k, n) && available());
    assert!((a.columns == 1 || a.rows == 1) && (b.columns == 1 || b.rows == 1));
    let cut = Cut::new((m, n, k), a);
    let (down, across) = (m.div_ceil(cut.rows), n.div_ceil(cut.columns));
    let multiply = |y: &mut [f32], packed_before: Option<&[MaybeUninit<f32>]>| {
        let y = Shared::new(y);
        (0..down * across).into_par_iter().with_max_len(1).for_each(|task| {
            let (row, column) = (task / across * cut.rows, task % across * cut.columns);
            let (rows, columns) = (row..m.min(row + cut.rows), column..n.min(column + cut.columns));
            let own = if packed_before.is_some() { 0 } else { packed(cut.columns, cut.depth, cut.panel) };
            let task = Task { a, b, y, k, n, rows, columns, cut, packed_before, tail };
            with_scratch(own + GROUP * cut.depth + LINE, |scratch| {
                let (panels, left) = lines(scratch).split_at_mut(own);
                arch().dispatch(Run { task: &task, panels, left });
            });
        });
    };
    let write = |y: &mut [f32]| {
        if !cut.before {
            return multiply(y, None);
        }
        with_packed(packed(n, k, cut.panel) + LINE, |panels| {
            let panels = lines(panels);
            let room = Shared::new(&mut *panels);
            (0..n.div_ceil(cut.panel)).into_par_iter().for_each(|i| {
                let columns = i * cut.panel..n.min((i + 1) * cut.panel);
                // SAFETY: panels do not overlap.
                let panels = unsafe { room.part(i * cut.panel * k, cut.panel * k) }.as_mut_ptr().cast();
                // SAFETY: there is room, as just checked, and the tiles are made for this processor, as asserted.
                unsafe { pack(b, columns, 0..k, cut.panel, panels) };
            });
            multiply(y, Some(panels));
        });
    };
    // SAFETY: the tasks cover all of it, and the tiles write each element before anybody reads it.
    unsafe { written(m * n, write) }
}

/// Whether rows of `a` are copied for stretches of `k` of `all`: columns, and rows so far apart that they would share few sets of the cache.
#[inline(always)]
fn copies(a: Mat<'_, f32>, k: usize, all: usize) -> bool {
    a.columns != 1 || (k < all && a.rows.is_multiple_of(512))
}

/// From the first whole line of the cache on, less than [`LINE`] elements later.
fn lines<T>(room: &mut [T]) -> &mut [T] {
    let from = room.as_ptr().align_offset(LINE * size_of::<T>()).min(LINE);
    &mut room[from..]
}

/// Rows from which on a task has all columns, if rows are copied.
const MANY_ROWS: usize = 640;
/// Tasks that share columns, from which on the columns are packed once for all of them.
const SHARED: usize = 3;
/// Terms that are packed together.
const PIECE: usize = 64;
/// Elements of a line of the cache.
const LINE: usize = 16;

struct Task<'a> {
    a: Mat<'a, f32>,
    b: Mat<'a, f32>,
    y: Shared<'a, f32>,
    k: usize,
    n: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    cut: Cut,
    /// All panels, unless each task packs its own.
    packed_before: Option<&'a [MaybeUninit<f32>]>,
    tail: Option<&'a TailData<'a, f32>>,
}

struct Run<'a> {
    task: &'a Task<'a>,
    panels: &'a mut [f32],
    left: &'a mut [f32],
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { task: t, panels, left } = self;
        let Cut { depth, panel, strip, .. } = t.cut;
        for from in (0..t.k).step_by(depth) {
            let k = depth.min(t.k - from);
            // the first panel, and the step from one to the next
            let (panels, height) = if let Some(all) = t.packed_before {
                (all[t.columns.start * t.k + from * panel..].as_ptr().cast::<f32>(), t.k)
            } else {
                assert!(panels.len() >= packed(t.columns.len(), k, panel));
                // SAFETY: there is room, as asserted.
                unsafe { pack(t.b, t.columns.clone(), from..from + k, panel, panels.as_mut_ptr()) };
                (panels.as_ptr(), k)
            };
            let groups = if copies(t.a, k, t.k) { GROUP / strip * strip } else { t.rows.len() };
            for group in t.rows.clone().step_by(groups) {
                let rows = group..t.rows.end.min(group + groups);
                let (a, a_rows) = t.left(rows.clone(), from, k, left);
                for first in t.columns.clone().step_by(COLUMNS) {
                    let columns = first..t.columns.end.min(first + COLUMNS);
                    for row in rows.clone().step_by(strip) {
                        let m = strip.min(rows.end - row);
                        for column in columns.clone().step_by(panel) {
                            let n = panel.min(columns.end - column);
                            // SAFETY: the block belongs to this task alone and lies inside `y`, as asserted in `product`; `a` and the panel hold `k` terms.
                            unsafe {
                                let a = a.add((row - group) * a_rows);
                                let b = panels.add((column - t.columns.start) * height);
                                let c = t.y.start().add(row * t.n + column);
                                let sum = from > 0;
                                Panel {
                                    m,
                                    k,
                                    a,
                                    rows: a_rows,
                                    columns: 1,
                                    runs: WHOLE,
                                    b,
                                    step: panel,
                                    c,
                                    stride: t.n,
                                    n,
                                    sum,
                                }
                                .run(s);
                            }
                        }
                        if from + k == t.k {
                            t.finish(s, row..row + m, columns.clone());
                        }
                    }
                }
            }
        }
    }
}

/// Some columns of `b` over a stretch, panel after panel.
///
/// # Safety
/// `panels` has room for [`packed`] elements that nobody else touches, and the tiles are [`available`].
#[inline(always)]
unsafe fn pack(b: Mat<'_, f32>, columns: Range<usize>, terms: Range<usize>, panel: usize, panels: *mut f32) {
    let k = terms.len();
    for first in columns.clone().step_by(panel) {
        let n = panel.min(columns.end - first);
        let to = panels.wrapping_add((first - columns.start) * k);
        if b.columns == 1 {
            for (i, p) in terms.clone().enumerate() {
                let row = &b.data[p * b.rows + first..][..n];
                // SAFETY: a row of a panel, as the caller promises.
                let to = unsafe { std::slice::from_raw_parts_mut(to.add(i * panel).cast::<MaybeUninit<f32>>(), panel) };
                // SAFETY: `MaybeUninit<f32>` is laid out as `f32`, and the elements are only written.
                let to = unsafe { &mut *(std::ptr::from_mut(to) as *mut [f32]) };
                copy(&mut to[..n], row);
                to[n..].fill(0.);
            }
            continue;
        }
        // in pieces that stay in the first-level cache until their lines are full
        for p in (0..k).step_by(PIECE) {
            let part = PIECE.min(k - p);
            for column in (0..n).step_by(8) {
                // columns beyond the last one repeat it
                let row = |i: usize| {
                    b.data[(first + (column + i).min(n - 1)) * b.columns + terms.start + p..][..part].as_ptr()
                };
                // SAFETY: the rows have so many elements, as just checked; there is room, as the caller promises (a panel's width is a multiple of 8).
                unsafe { turn_eight(std::array::from_fn(row), part, to.add(p * panel + column), panel) };
            }
        }
    }
}

impl Task<'_> {
    /// Some rows of `a` over a stretch, and the step from one to the next: where they stand, or copied close together.
    #[inline(always)]
    fn left(&self, rows: Range<usize>, from: usize, k: usize, room: &mut [f32]) -> (*const f32, usize) {
        let (a, step) = (self.a, k.next_multiple_of(8));
        let start = rows.start * a.rows + from * a.columns;
        if !copies(a, k, self.k) {
            return (a.data[start..].as_ptr(), a.rows);
        }
        assert!(room.len() >= rows.len() * step);
        if a.columns == 1 {
            for (i, to) in room.chunks_exact_mut(step).take(rows.len()).enumerate() {
                copy(&mut to[..k], &a.data[start + i * a.rows..][..k]);
            }
            return (room.as_ptr(), step);
        }
        for p in (0..k).step_by(8) {
            let term = |i: usize| a.data[start + (p + i).min(k - 1) * a.columns..][..rows.len()].as_ptr();
            // SAFETY: columns of `a` are contiguous, as asserted in `product`, and these have the rows, as just checked; so has the room.
            unsafe { turn_eight(std::array::from_fn(term), rows.len(), room[p..].as_mut_ptr(), step) };
        }
        (room.as_ptr(), step)
    }

    /// What follows the product, to rows whose sums are complete.
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, rows: Range<usize>, columns: Range<usize>) {
        let Some(tail) = self.tail else { return };
        for row in rows {
            let at = row * self.n + columns.start;
            // SAFETY: they belong to this task alone.
            let y = unsafe { self.y.part(at, columns.len()) };
            tail.row(s, y, columns.start, at);
        }
    }
}
