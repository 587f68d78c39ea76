//! Gradients of f32 attention in tiles.
//!
//! The forward pass leaves each row's logarithm of the sum of exponentials, so probabilities come back block by block (96 queries by 256 keys) from the
//! scores. With `P` the probabilities, `G` the output's gradient and `D` the rows' sums of `G · y`: `dS = P ∘ (G vᵀ - D)`, `dq = scale · dS k`,
//! `dk = scale · dSᵀ q`, `dv = Pᵀ G`. A task takes a stretch of the queries against all keys and has gradients of keys and values of its own; where a
//! group is cut into several stretches, by its sizes alone, they are added up in order.
#![allow(unsafe_code)]

use super::dense::part;
use super::flash::{KEYS, LOG2_E, QUERIES, Rows, Sizes, power_of_two};
use super::softmax::dot;
use super::tile::{Panel, arch, last_width, load, pack_columns, pack_rows, packed, store, width, with_scratch};
use super::{simd, written};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Tasks that keep a machine busy.
const ENOUGH: usize = 8;

/// What the forward pass knows: outputs, and `log₂ Σ 2^score` of each query, group after group.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub y: &'a [f32],
    pub logs: &'a [f32],
    /// The gradient of the outputs.
    pub g: &'a [f32],
}

/// Gradients of queries, keys and values of all groups: `[groups, n, d]`, `[groups, m, d]` and `[groups, m, dv]`.
pub(super) fn backward(t: &Sizes, rows: &impl Rows, known: Known<'_>) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let stretch = part(t.n, t.n.div_ceil(ENOUGH.div_ceil(t.groups)).max(2 * QUERIES), 12);
    let stretches = t.n.div_ceil(stretch);
    let (size_k, size_v) = (t.m * t.d, t.m * t.dv);
    let (mut dk, mut dv) = (Vec::new(), Vec::new());
    let dq = |dq: &mut [f32]| {
        // each group has `stretches` pieces, the last of them shorter
        let pieces: Vec<&mut [f32]> =
            dq.chunks_exact_mut(t.n * t.d).flat_map(|q| q.chunks_mut(stretch * t.d)).collect();
        let both = |dk_all: &mut [f32]| {
            let write = |dv_all: &mut [f32]| {
                let keys = dk_all.par_chunks_exact_mut(size_k).zip(dv_all.par_chunks_exact_mut(size_v));
                pieces.into_par_iter().zip(keys).enumerate().for_each(|(task, (dq, (dk, dv)))| {
                    let (group, from) = (task / stretches, task % stretches * stretch);
                    group_backward(t, rows, group, from..t.n.min(from + stretch), known, dq, dk, dv);
                });
            };
            // SAFETY: `group_backward` writes all of its piece, and there is one for each.
            dv = unsafe { written(t.groups * stretches * size_v, write) };
        };
        // SAFETY: as above.
        dk = unsafe { written(t.groups * stretches * size_k, both) };
    };
    // SAFETY: as above.
    let dq = unsafe { written(t.groups * t.n * t.d, dq) };
    (dq, join(dk, size_k, stretches), join(dv, size_v, stretches))
}

/// The sums of every `count` pieces of `size` elements.
fn join(pieces: Vec<f32>, size: usize, count: usize) -> Vec<f32> {
    if count == 1 {
        return pieces;
    }
    const CHUNK: usize = 4096;
    let add = |sums: &mut [f32]| {
        sums.par_chunks_mut(size).zip(pieces.par_chunks(size * count)).for_each(|(sums, pieces)| {
            sums.par_chunks_mut(CHUNK).enumerate().for_each(|(i, sums)| {
                sums.copy_from_slice(&pieces[i * CHUNK..][..sums.len()]);
                for piece in 1..count {
                    for (s, &x) in sums.iter_mut().zip(&pieces[piece * size + i * CHUNK..]) {
                        *s += x;
                    }
                }
            });
        });
    };
    // SAFETY: every element is copied to before it is added to.
    unsafe { written(pieces.len() / count, add) }
}

/// Gradients from `queries` of a group: all elements of `dq` (theirs), `dk` and `dv` (of all keys) are written.
pub(super) fn group_backward(
    t: &Sizes,
    rows: &impl Rows,
    group: usize,
    queries: Range<usize>,
    known: Known<'_>,
    dq: &mut [f32],
    dk: &mut [f32],
    dv: &mut [f32],
) {
    assert!(dq.len() == queries.len() * t.d && dk.len() == t.m * t.d && dv.len() == t.m * t.dv);
    let width = width();
    let (block, keys) = (part(queries.len(), QUERIES, 12), part(t.m, KEYS, width));
    let sizes = [
        packed(t.m, t.d, width),
        packed(t.d, t.m, width),
        packed(t.m, t.dv, width),
        block * t.d,
        packed(t.d, block, width),
        block * t.dv,
        packed(t.dv, block, width),
        block * keys,
        block * keys,
        block,
    ];
    with_scratch(sizes.iter().sum(), |mut scratch| {
        let [k_columns, k_rows, v_columns, q, q_rows, g, g_rows, p, ds, sums] = sizes.map(|n| {
            let (piece, rest) = std::mem::take(&mut scratch).split_at_mut(n);
            scratch = rest;
            piece
        });
        let (key, value) = (|j| rows.key(group, j)[..t.d].as_ptr(), |j| rows.value(group, j)[..t.dv].as_ptr());
        // SAFETY: rows of `d` and `dv` elements; room for the packed ones.
        unsafe {
            pack_columns(width, t.m, t.d, key, k_columns.as_mut_ptr());
            pack_rows(width, t.d, 0..t.m, t.m, key, k_rows.as_mut_ptr());
            pack_columns(width, t.m, t.dv, value, v_columns.as_mut_ptr());
        }
        for from in queries.clone().step_by(block) {
            let these = from..queries.end.min(from + block);
            let n = these.len();
            for (i, query) in these.clone().enumerate() {
                let (q, g) = (&mut q[i * t.d..][..t.d], &mut g[i * t.dv..][..t.dv]);
                rows.query(group, query, q);
                for q in q {
                    *q *= t.scale * LOG2_E;
                }
                sums[i] = 0.;
                match rows.output(group, query) {
                    Some(at) => {
                        g.copy_from_slice(&known.g[at..][..t.dv]);
                        let y = &known.y[at..][..t.dv];
                        sums[i] = simd(
                            #[inline(always)]
                            || dot(g, y),
                        );
                    }
                    None => g.fill(0.),
                }
            }
            // SAFETY: `n` rows of `d` and `dv` elements; room for the packed ones.
            unsafe {
                pack_rows(width, t.d, 0..n, n, |i| q[i * t.d..].as_ptr(), q_rows.as_mut_ptr());
                pack_rows(width, t.dv, 0..n, n, |i| g[i * t.dv..].as_ptr(), g_rows.as_mut_ptr());
            }
            arch().dispatch(Step {
                t,
                width,
                keys,
                n,
                first: from == queries.start,
                bias: rows.bias(group).map(|b| &b[these.start * t.m..these.end * t.m]),
                logs: &known.logs[group * t.n + these.start..][..n],
                sums,
                k_columns,
                k_rows,
                v_columns,
                q,
                q_rows,
                g,
                g_rows,
                p,
                ds,
                dq: &mut dq[(from - queries.start) * t.d..][..n * t.d],
                dk,
                dv,
            });
        }
        // the scores' gradients were taken with the scaled queries and the unscaled keys
        for (all, factor) in [(dq, t.scale), (dk, 1. / LOG2_E)] {
            for x in all {
                *x *= factor;
            }
        }
    });
}

/// A block of `n` queries against all keys.
struct Step<'a> {
    t: &'a Sizes,
    width: usize,
    /// Keys in a block.
    keys: usize,
    n: usize,
    /// Whether the gradients of keys and values begin here.
    first: bool,
    bias: Option<&'a [f32]>,
    logs: &'a [f32],
    sums: &'a [f32],
    k_columns: &'a [f32],
    k_rows: &'a [f32],
    v_columns: &'a [f32],
    q: &'a [f32],
    q_rows: &'a [f32],
    g: &'a [f32],
    g_rows: &'a [f32],
    p: &'a mut [f32],
    ds: &'a mut [f32],
    dq: &'a mut [f32],
    dk: &'a mut [f32],
    dv: &'a mut [f32],
}

impl WithSimd for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        let (t, stride) = (self.t, self.keys);
        for from in (0..t.m).step_by(self.keys) {
            let count = self.keys.min(t.m - from);
            scores(s, self.q, t.d, &self.k_columns[from * t.d..], (self.n, count, self.width), self.p, stride);
            scores(s, self.g, t.dv, &self.v_columns[from * t.dv..], (self.n, count, self.width), self.ds, stride);
            self.softmax(s, from, count);
            let right = |b: &'_ [f32], n: usize, height: usize, row: usize| (b.as_ptr(), n, height, row);
            // dq += dS k
            let k = right(self.k_rows, t.d, t.m, from);
            gradient(s, (self.n, count), self.ds, (stride, 1), k, self.dq, self.width, from > 0);
            // dk += dSᵀ q, dv += Pᵀ G
            let (q, g) = (right(self.q_rows, t.d, self.n, 0), right(self.g_rows, t.dv, self.n, 0));
            let sum = !self.first;
            gradient(s, (count, self.n), self.ds, (1, stride), q, &mut self.dk[from * t.d..], self.width, sum);
            gradient(s, (count, self.n), self.p, (1, stride), g, &mut self.dv[from * t.dv..], self.width, sum);
        }
    }
}

impl Step<'_> {
    /// Scores in `p` become probabilities, products with the values in `ds` the scores' gradients.
    #[inline(always)]
    fn softmax<S: Simd>(&mut self, s: S, from: usize, count: usize) {
        let end = count.next_multiple_of(S::F32_LANES);
        for i in 0..self.n {
            let p = &mut self.p[i * self.keys..][..end];
            let ds = &mut self.ds[i * self.keys..][..end];
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
