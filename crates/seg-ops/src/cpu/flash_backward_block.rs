//! Gradients of one block of queries against all keys, by vectors (see `flash_backward.rs`).
#![allow(unsafe_code)]

use super::flash::{LOG2_E, Sizes};
use super::flash_backward::Targets;
use super::flash_block::power_of_two;
use super::panels::last_width;
use super::relative::Relative;
use super::tile::{Panel, WHOLE};
use super::vector::{load, store};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// A block of queries against all keys.
pub(super) struct Step<'a> {
    pub t: &'a Sizes,
    pub width: usize,
    /// Keys in a block, and elements from one row of scores to the next.
    pub keys: usize,
    pub stride: usize,
    pub queries: Range<usize>,
    /// Whether the gradients of keys and values begin here.
    pub first: bool,
    pub bias: Option<&'a [f32]>,
    pub relative: Option<&'a Relative>,
    pub logs: &'a [f32],
    pub sums: &'a [f32],
    pub k_columns: &'a [f32],
    pub k_rows: &'a [f32],
    pub v_columns: &'a [f32],
    /// As they are; they become scaled.
    pub q: &'a mut [f32],
    pub q_rows: &'a [f32],
    pub g: &'a [f32],
    pub g_rows: &'a [f32],
    pub p: &'a mut [f32],
    pub ds: &'a mut [f32],
    /// The queries' products with the relative positions, and the gradients of these.
    pub products: &'a mut [f32],
    pub steps: &'a mut [f32],
    pub to: Targets<'a>,
}

impl WithSimd for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        let (t, stride, n) = (self.t, self.stride, self.queries.len());
        if let Some(relative) = self.relative {
            relative.prepare(s, self.queries.clone(), self.q, self.products);
            self.steps.fill(0.);
        }
        for q in self.q.iter_mut() {
            *q *= t.scale * LOG2_E;
        }
        for from in (0..t.m).step_by(self.keys) {
            let count = self.keys.min(t.m - from);
            scores(s, self.q, t.d, &self.k_columns[from * t.d..], (n, count, self.width), self.p, stride);
            scores(s, self.g, t.dv, &self.v_columns[from * t.dv..], (n, count, self.width), self.ds, stride);
            if let Some(relative) = self.relative {
                relative.add(s, self.products, self.p, (n, stride), from..from + count);
            }
            self.softmax(s, from, count);
            if let Some(relative) = self.relative {
                relative.gather(s, self.ds, (n, stride), from..from + count, self.steps);
            }
            let right = |b: &'_ [f32], n: usize, height: usize, row: usize| (b.as_ptr(), n, height, row);
            // dq += dS k
            let k = right(self.k_rows, t.d, t.m, from);
            gradient(s, (n, count), self.ds, (stride, 1), k, self.to.dq, self.width, from > 0);
            // dk += dSᵀ q, dv += Pᵀ G
            let (q, g) = (right(self.q_rows, t.d, n, 0), right(self.g_rows, t.dv, n, 0));
            let sum = !self.first;
            gradient(s, (count, n), self.ds, (1, stride), q, &mut self.to.dk[from * t.d..], self.width, sum);
            gradient(s, (count, n), self.p, (1, stride), g, &mut self.to.dv[from * t.dv..], self.width, sum);
        }
        // dS was taken with the unscaled keys
        for x in self.to.dq.iter_mut() {
            *x *= t.scale;
        }
        if let (Some(relative), Some(tables)) = (self.relative, self.to.tables) {
            relative.spread(s, self.queries, self.steps, self.q_rows, self.to.dq, tables);
        }
    }
}

impl Step<'_> {
    /// Scores in `p` become probabilities, products with the values in `ds` the scores' gradients.
    #[inline(always)]
    fn softmax<S: Simd>(&mut self, s: S, from: usize, count: usize) {
        let end = count.next_multiple_of(S::F32_LANES);
        for i in 0..self.queries.len() {
            let p = &mut self.p[i * self.stride..][..end];
            let ds = &mut self.ds[i * self.stride..][..self.stride];
            if let Some(bias) = self.bias {
                for (x, &b) in p.iter_mut().zip(&bias[i * self.t.m + from..][..count]) {
                    *x += b * LOG2_E;
                }
            }
            let (log, sum) = (s.splat_f32s(self.logs[i]), s.splat_f32s(self.sums[i]));
            for j in (0..end).step_by(S::F32_LANES) {
                // SAFETY: whole vectors of both rows.
                unsafe {
                    let (p, ds) = (p.as_mut_ptr().add(j), ds.as_mut_ptr().add(j));
                    let power = power_of_two(s, s.sub_f32s(load(s, p), log));
                    store(s, p, power);
                    store(s, ds, s.mul_f32s(power, s.sub_f32s(load(s, ds), sum)));
                }
            }
            if self.relative.is_some() {
                // what is read in whole vectors
                ds[count..].fill(0.);
            }
            if let Some(bias) = &mut self.to.bias {
                for (b, &ds) in bias[i * self.t.m + from..][..count].iter_mut().zip(&*ds) {
                    *b += ds;
                }
            }
        }
    }
}

/// `a b` for `n` rows of `k` and the first `count` columns of packed ones, filled up to whole vectors.
#[inline(always)]
fn scores<S: Simd>(
    s: S,
    a: &[f32],
    k: usize,
    b: &[f32],
    (n, count, width): (usize, usize, usize),
    to: &mut [f32],
    stride: usize,
) {
    assert!(n * k <= a.len() && count.next_multiple_of(width) <= stride && n * stride <= to.len());
    for column in (0..count).step_by(width) {
        // SAFETY: inside the slices, as asserted; the panels are whole.
        unsafe {
            Panel {
                m: n,
                k,
                a: a.as_ptr(),
                rows: k,
                columns: 1,
                runs: WHOLE,
                b: b[column * k..].as_ptr(),
                step: width,
                c: to.as_mut_ptr().add(column),
                stride,
                n: (count - column).next_multiple_of(width / 2).min(width),
                sum: false,
            }
            .run(s);
        }
    }
}

/// `to (+)= a b`: `a` is m × k with the given steps, `b` the rows from `row` on of panels of `n` columns and `height` rows, `to` has rows of `n`.
#[inline(always)]
fn gradient<S: Simd>(
    s: S,
    (m, k): (usize, usize),
    a: &[f32],
    (rows, columns): (usize, usize),
    (b, n, height, row): (*const f32, usize, usize, usize),
    to: &mut [f32],
    width: usize,
    sum: bool,
) {
    assert!(m * n <= to.len() && (m - 1) * rows + (k - 1) * columns < a.len() && row + k <= height);
    for column in (0..n).step_by(width) {
        let step = last_width(width, n - column);
        // SAFETY: inside the slices, as asserted; `b` comes from a slice of such panels.
        unsafe {
            Panel {
                m,
                k,
                a: a.as_ptr(),
                rows,
                columns,
                runs: WHOLE,
                b: b.add(column * height + row * step),
                step,
                c: to.as_mut_ptr().add(column),
                stride: n,
                n: (n - column).min(width),
                sum,
            }
            .run(s);
        }
    }
}
