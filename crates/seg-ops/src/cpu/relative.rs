//! SAM's decomposed relative positions as a part of attention's scores: `q · height[y - y' + S - 1] + q · width[x - x' + S - 1]`.
//!
//! Of a block of queries the products with the rows and with the columns of the grid are taken, `S` numbers each; a score is the sum of two of them.
//! The tables are transposed and reversed, so that what a query needs of them is one stretch of columns.
#![allow(unsafe_code)]

use super::flash::LOG2_E;
use super::relative_backward::Reversed;
use super::tile::{Panel, WHOLE};
use super::vector::{load, store};
use pulp::Simd;
use std::ops::Range;

/// Elements of the widest vector: rows are filled up to a multiple of it.
pub(super) const VECTOR: usize = 16;

/// The tables of a grid, in units of the power of two.
pub(super) struct Relative {
    pub grid: (usize, usize),
    pub d: usize,
    /// Both tables for the gradients.
    pub reversed: Option<(Reversed, Reversed)>,
    height: Table,
    width: Table,
    /// 1 for each column of the grid, then 0.
    pub inside: Vec<f32>,
}

struct Table {
    /// d × `step`; column `j` is row `2 S - 2 - j` of the table.
    data: Vec<f32>,
    step: usize,
}

impl Table {
    fn new(table: &[f32], size: usize, d: usize) -> Self {
        let rows = 2 * size - 1;
        // two vectors may be read from the last column that a query's stretch begins at
        let step = rows + 2 * VECTOR;
        let mut data = vec![0.; d * step];
        for (i, row) in table.chunks_exact(d).take(rows).enumerate() {
            for (c, &x) in row.iter().enumerate() {
                data[c * step + rows - 1 - i] = x * LOG2_E;
            }
        }
        Self { data, step }
    }
}

impl Relative {
    /// Tables `[2 grid.0 - 1, d]` and `[2 grid.1 - 1, d]`.
    pub fn new(height: &[f32], width: &[f32], grid: (usize, usize), d: usize) -> Self {
        let mut inside = vec![1.; grid.1];
        inside.resize(grid.1.next_multiple_of(VECTOR), 0.);
        Self {
            grid,
            d,
            reversed: None,
            height: Table::new(height, grid.0, d),
            width: Table::new(width, grid.1, d),
            inside,
        }
    }

    /// The same, ready for gradients.
    pub fn with_gradients(height: &[f32], width: &[f32], grid: (usize, usize), d: usize) -> Self {
        let reversed = Some((Reversed::new(height, grid.0, d), Reversed::new(width, grid.1, d)));
        Self { reversed, ..Self::new(height, width, grid, d) }
    }

    /// Elements that a query's products take: those with the columns of the grid, filled up with zeros, then those with its rows.
    pub fn columns(&self) -> usize {
        self.inside.len() + self.grid.0
    }

    /// The products of `queries`, of which `q` holds `d` elements each, unscaled.
    #[inline(always)]
    pub fn prepare<S: Simd>(&self, s: S, queries: Range<usize>, q: &[f32], to: &mut [f32]) {
        let (n, columns, padded) = (queries.len(), self.columns(), self.inside.len());
        for row in to.chunks_exact_mut(columns).take(n) {
            row[self.grid.1..padded].fill(0.);
        }
        // the queries of one row of the grid follow each other
        let mut i = 0;
        while i < n {
            let y = (queries.start + i) / self.grid.1;
            let count = ((y + 1) * self.grid.1 - queries.start).min(n) - i;
            let rows = Some((i, count, 1));
            self.products(s, &self.height, self.grid.0, y, q, rows, &mut to[padded..]);
            i += count;
        }
        for x in 0..self.grid.1 {
            let first = (x + self.grid.1 - queries.start % self.grid.1) % self.grid.1;
            let rows = (first < n).then(|| (first, (n - first).div_ceil(self.grid.1), self.grid.1));
            self.products(s, &self.width, self.grid.1, x, q, rows, to);
        }
    }

    /// Those of `rows` (the first, how many, how far apart) that stand at `place`, with a table.
    #[inline(always)]
    fn products<S: Simd>(
        &self,
        s: S,
        table: &Table,
        size: usize,
        place: usize,
        q: &[f32],
        rows: Option<(usize, usize, usize)>,
        to: &mut [f32],
    ) {
        let Some((first, m, apart)) = rows else { return };
        let width = 2 * S::F32_LANES;
        let (d, columns, last) = (self.d, self.columns(), first + (m - 1) * apart);
        assert!((last + 1) * d <= q.len() && last * columns + size <= to.len());
        for column in (0..size).step_by(width) {
            // SAFETY: the rows are there, as asserted; of the table two vectors are, wherever a query's stretch begins.
            unsafe {
                Panel {
                    m,
                    k: d,
                    a: q.as_ptr().add(first * d),
                    rows: apart * d,
                    columns: 1,
                    runs: WHOLE,
                    b: table.data.as_ptr().add(size - 1 - place + column),
                    step: table.step,
                    c: to.as_mut_ptr().add(first * columns + column),
                    stride: apart * columns,
                    n: width.min(size - column),
                    sum: false,
                }
                .run(s);
            }
        }
    }

    /// Adds what [`Relative::prepare`] left in `from` to `n` rows of scores with `keys`, `stride` apart. Up to a vector behind the last key may change.
    #[inline(always)]
    pub fn add<S: Simd>(
        &self,
        s: S,
        from: &[f32],
        scores: &mut [f32],
        (n, stride): (usize, usize),
        keys: Range<usize>,
    ) {
        let (w, padded, columns) = (self.grid.1, self.inside.len(), self.columns());
        assert!(keys.len() + VECTOR <= stride);
        for (products, scores) in from.chunks_exact(columns).zip(scores.chunks_exact_mut(stride)).take(n) {
            let (across, down) = products.split_at(padded);
            let mut key = keys.start;
            while key < keys.end {
                let (y, x) = (key / w, key % w);
                let count = (w - x).min(keys.end - key);
                let scores = &mut scores[key - keys.start..];
                if count == w {
                    for c in (0..w).step_by(S::F32_LANES) {
                        // SAFETY: the row ends a vector behind the last key; the others are filled up to whole vectors.
                        unsafe {
                            let across = load(s, across.as_ptr().add(c));
                            let inside = load(s, self.inside.as_ptr().add(c));
                            let sum = s.mul_add_f32s(s.splat_f32s(down[y]), inside, across);
                            let to = scores.as_mut_ptr().add(c);
                            store(s, to, s.add_f32s(load(s, to), sum));
                        }
                    }
                } else {
                    for (score, across) in scores[..count].iter_mut().zip(&across[x..]) {
                        *score += across + down[y];
                    }
                }
                key += count;
            }
        }
    }
}
