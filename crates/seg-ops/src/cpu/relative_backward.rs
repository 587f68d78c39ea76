//! Gradients of SAM's decomposed relative positions (see `relative.rs`).
//!
//! A score's gradient is also that of the two products that were added to it: a query's product with a row of the grid gets the sum over that row's keys,
//! its product with a column the sum over the column's. These sums, as few as the products, are taken block by block of keys; then the queries' gradients
//! get their products with the tables, and the tables those with the queries.
#![allow(unsafe_code)]

use super::panels::{last_width, pack_rows, packed};
use super::relative::{Relative, VECTOR};
use super::tile::{Panel, WHOLE, width};
use super::vector::{load, store};
use pulp::Simd;
use std::ops::Range;

/// A table's rows in reverse order, packed as the rows of panels.
pub(super) struct Reversed {
    data: Vec<f32>,
    width: usize,
    size: usize,
}

impl Reversed {
    /// A table `[2 size - 1, d]`.
    pub fn new(table: &[f32], size: usize, d: usize) -> Self {
        let (rows, width) = (2 * size - 1, width());
        assert!(table.len() == rows * d);
        let mut data = vec![0.; packed(d, rows, width)];
        // SAFETY: rows of `d` elements, room for the packed ones.
        unsafe { pack_rows(width, d, 0..rows, rows, |i| table[(rows - 1 - i) * d..].as_ptr(), data.as_mut_ptr()) };
        Self { data, width, size }
    }
}

impl Relative {
    /// Elements of both tables.
    pub fn elements(&self) -> usize {
        (2 * self.grid.0 - 1 + 2 * self.grid.1 - 1) * self.d
    }

    /// Gradients of `n` rows of scores, `stride` apart, added up for the products that [`Relative::prepare`] made. Behind the last key there are zeros.
    #[inline(always)]
    pub fn gather<S: Simd>(&self, s: S, ds: &[f32], (n, stride): (usize, usize), keys: Range<usize>, to: &mut [f32]) {
        let (w, padded) = (self.grid.1, self.inside.len());
        assert!(keys.len() + VECTOR <= stride);
        for (sums, ds) in to.chunks_exact_mut(self.columns()).zip(ds.chunks_exact(stride)).take(n) {
            let (across, down) = sums.split_at_mut(padded);
            let mut key = keys.start;
            while key < keys.end {
                let (y, x) = (key / w, key % w);
                let count = (w - x).min(keys.end - key);
                let ds = &ds[key - keys.start..];
                if count == w {
                    let mut total = s.splat_f32s(0.);
                    for c in (0..w).step_by(S::F32_LANES) {
                        // SAFETY: the row ends a vector behind the last key; the others are filled up to whole vectors.
                        unsafe {
                            let inside = load(s, self.inside.as_ptr().add(c));
                            let ds = s.mul_f32s(load(s, ds.as_ptr().add(c)), inside);
                            let to = across.as_mut_ptr().add(c);
                            store(s, to, s.add_f32s(load(s, to), ds));
                            total = s.add_f32s(total, ds);
                        }
                    }
                    down[y] += s.reduce_sum_f32s(total);
                } else {
                    for (sum, &ds) in across[x..].iter_mut().zip(&ds[..count]) {
                        *sum += ds;
                        down[y] += ds;
                    }
                }
                key += count;
            }
        }
    }

    /// Adds to the gradients of `queries` and of the tables what [`Relative::gather`] left in `from`. `q` is the queries, unscaled, as the rows of panels.
    /// The tables' gradients have their rows in reverse order: see [`Relative::unreversed`].
    #[inline(always)]
    pub fn spread<S: Simd>(
        &self,
        s: S,
        queries: Range<usize>,
        from: &[f32],
        q: &[f32],
        dq: &mut [f32],
        tables: &mut [f32],
    ) {
        let Some((height, width)) = &self.reversed else { return };
        let (n, w) = (queries.len(), self.grid.1);
        let (down, across) = tables.split_at_mut((2 * self.grid.0 - 1) * self.d);
        let mut i = 0;
        while i < n {
            let y = (queries.start + i) / w;
            let count = ((y + 1) * w - queries.start).min(n) - i;
            self.turn(s, height, y, (i, count, 1, n), &from[self.inside.len()..], q, dq, down);
            i += count;
        }
        for x in 0..w {
            let first = (x + w - queries.start % w) % w;
            if first < n {
                self.turn(s, width, x, (first, (n - first).div_ceil(w), w, n), from, q, dq, across);
            }
        }
    }

    /// Those of the queries that stand at `place`: the first, how many, how far apart, and how many queries there are in all.
    #[inline(always)]
    fn turn<S: Simd>(
        &self,
        s: S,
        table: &Reversed,
        place: usize,
        (first, m, apart, n): (usize, usize, usize, usize),
        from: &[f32],
        q: &[f32],
        dq: &mut [f32],
        dtable: &mut [f32],
    ) {
        let (d, columns, size, width) = (self.d, self.columns(), table.size, table.width);
        let (rows, start, last) = (2 * size - 1, size - 1 - place, first + (m - 1) * apart);
        assert!(last < n && last * columns + size <= from.len() && n * d <= dq.len());
        assert!(packed(d, n, width) <= q.len() && rows * d <= dtable.len());
        for column in (0..d).step_by(width) {
            let step = last_width(width, d - column);
            let these = Panel {
                m,
                k: size,
                a: from[first * columns..].as_ptr(),
                rows: apart * columns,
                columns: 1,
                runs: WHOLE,
                b: table.data[column * rows + start * step..].as_ptr(),
                step,
                // SAFETY: inside, as asserted.
                c: unsafe { dq.as_mut_ptr().add(first * d + column) },
                stride: apart * d,
                n: width.min(d - column),
                sum: true,
            };
            let positions = Panel {
                m: size,
                k: m,
                rows: 1,
                columns: apart * columns,
                b: q[column * n + first * step..].as_ptr(),
                step: apart * step,
                // SAFETY: inside, as asserted.
                c: unsafe { dtable.as_mut_ptr().add(start * d + column) },
                stride: d,
                ..these
            };
            // SAFETY: rows of the packed table and queries, which are whole vectors; the others are inside, as asserted.
            unsafe {
                these.run(s);
                positions.run(s);
            }
        }
    }

    /// Both tables' gradients with their rows in the tables' order.
    pub fn unreversed(&self, tables: &[f32]) -> [Vec<f32>; 2] {
        let (down, across) = tables.split_at((2 * self.grid.0 - 1) * self.d);
        [down, across].map(|t| t.rchunks_exact(self.d).flatten().copied().collect())
    }
}
