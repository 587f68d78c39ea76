//! Gradients of f32 attention in tiles.
//!
//! The forward pass leaves each row's logarithm of the sum of exponentials, so probabilities come back block by block (96 queries by 256 keys) from the
//! scores. With `P` the probabilities, `G` the output's gradient and `D` the rows' sums of `G · y`: `dS = P ∘ (G vᵀ - D)`, `dq = scale · dS k`,
//! `dk = scale · dSᵀ q`, `dv = Pᵀ G`; a bias gets `dS` itself, relative positions its sums (`relative_backward.rs`). A task takes a stretch of the queries
//! against all keys and has gradients of keys and values of its own; where a group is cut into several stretches, by its sizes alone, they are added up
//! in order. Groups that share a trained bias are taken by one task after the other, so that the bias's gradient is in memory once.
#![allow(unsafe_code)]

use super::dense::part;
use super::flash::{KEYS, QUERIES, Rows, Sizes};
use super::flash_backward_block::Step;
use super::matrix::Shared;
use super::panels::{copy, pack_columns, pack_rows, packed};
use super::processor::arch;
use super::relative::Relative;
use super::scratch::with_scratch;
use super::softmax::dot;
use super::tile::width;
use super::{simd, written};
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
pub(super) struct Gradients {
    pub dq: Vec<f32>,
    pub dk: Vec<f32>,
    pub dv: Vec<f32>,
    /// `[biases, n, m]`.
    pub bias: Vec<f32>,
    /// Those of the relative positions' tables.
    pub tables: Vec<f32>,
}

/// Where the gradients from a stretch of a group's queries go.
pub(super) struct Targets<'a> {
    /// Written: of these queries, and of all keys.
    pub dq: &'a mut [f32],
    pub dk: &'a mut [f32],
    pub dv: &'a mut [f32],
    /// Added to: `m` elements a query.
    pub bias: Option<&'a mut [f32]>,
    /// Added to, [`Relative::elements`].
    pub tables: Option<&'a mut [f32]>,
}

/// The gradients; of the bias only if it is known how many there are.
pub(super) fn backward(t: &Sizes, rows: &impl Rows, known: Known<'_>, biases: Option<usize>) -> Gradients {
    let holders = biases.unwrap_or(t.groups);
    let stretch = part(t.n, t.n.div_ceil(ENOUGH.div_ceil(holders)).max(2 * QUERIES), 12);
    let stretches = t.n.div_ceil(stretch);
    let (size_k, size_v) = (t.m * t.d, t.m * t.dv);
    let size_tables = rows.relative().map_or(0, Relative::elements);
    let mut bias = vec![0.; biases.map_or(0, |biases| biases * t.n * t.m)];
    let mut tables = vec![0.; holders * stretches * size_tables];
    let (all_bias, all_tables) = (Shared::new(&mut bias), Shared::new(&mut tables));
    let run = |dq: Shared<'_, f32>, dk: Shared<'_, f32>, dv: Shared<'_, f32>| {
        (0..holders * stretches).into_par_iter().for_each(|task| {
            let (holder, from) = (task / stretches, task % stretches * stretch);
            let queries = from..t.n.min(from + stretch);
            let groups = if biases.is_some() { 0..t.groups } else { holder..holder + 1 };
            for group in groups.filter(|&group| biases.is_none() || rows.holder(group) == holder) {
                let piece = group * stretches + task % stretches;
                // SAFETY: each stretch of a group's queries is one task's, and so is a stretch of a bias.
                let targets = unsafe {
                    Targets {
                        dq: dq.part((group * t.n + from) * t.d, queries.len() * t.d),
                        dk: dk.part(piece * size_k, size_k),
                        dv: dv.part(piece * size_v, size_v),
                        bias: biases.map(|_| all_bias.part((holder * t.n + from) * t.m, queries.len() * t.m)),
                        tables: (size_tables > 0).then(|| all_tables.part(task * size_tables, size_tables)),
                    }
                };
                group_backward(t, rows, group, queries.clone(), known, targets);
            }
        });
    };
    let (mut dk, mut dv) = (Vec::new(), Vec::new());
    let (count_k, count_v) = (t.groups * stretches * size_k, t.groups * stretches * size_v);
    let dq = |dq: &mut [f32]| {
        let both = |dk: &mut [f32]| {
            let write = |dv: &mut [f32]| run(Shared::new(dq), Shared::new(dk), Shared::new(dv));
            // SAFETY: `group_backward` writes all of its pieces; each group is some task's, each of its stretches too.
            dv = unsafe { written(count_v, write) };
        };
        // SAFETY: as above.
        dk = unsafe { written(count_k, both) };
    };
    // SAFETY: as above.
    let dq = unsafe { written(t.groups * t.n * t.d, dq) };
    let (dk, dv) = (join(dk, size_k, stretches), join(dv, size_v, stretches));
    Gradients { dq, dk, dv, bias, tables: join(tables, size_tables, holders * stretches) }
}

/// The sums of every `count` pieces of `size` elements.
fn join(pieces: Vec<f32>, size: usize, count: usize) -> Vec<f32> {
    if count == 1 || pieces.is_empty() {
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

/// Gradients from `queries` of a group.
pub(super) fn group_backward(
    t: &Sizes,
    rows: &impl Rows,
    group: usize,
    queries: Range<usize>,
    known: Known<'_>,
    mut to: Targets<'_>,
) {
    assert!(to.dq.len() == queries.len() * t.d && to.dk.len() == t.m * t.d && to.dv.len() == t.m * t.dv);
    let width = width();
    let (block, keys) = (part(queries.len(), QUERIES, 12), part(t.m, KEYS, width));
    // 16 more: relative positions go through the keys in whole vectors
    let stride = keys + 16;
    let sizes = [
        packed(t.m, t.d, width),
        packed(t.d, t.m, width),
        packed(t.m, t.dv, width),
        block * t.d,
        packed(t.d, block, width),
        block * t.dv,
        packed(t.dv, block, width),
        block * stride,
        block * stride,
        block,
        block * t.relative,
        block * t.relative,
    ];
    with_scratch(sizes.iter().sum(), |mut scratch| {
        let [k_columns, k_rows, v_columns, q, q_rows, g, g_rows, p, ds, sums, products, steps] = sizes.map(|n| {
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
                rows.query(group, query, &mut q[i * t.d..][..t.d]);
                let g = &mut g[i * t.dv..][..t.dv];
                sums[i] = 0.;
                match rows.output(group, query) {
                    Some(at) => {
                        copy(g, &known.g[at..]);
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
            let offset = from - queries.start;
            arch().dispatch(Step {
                t,
                width,
                keys,
                stride,
                queries: these.clone(),
                first: from == queries.start,
                bias: rows.bias(group).map(|b| &b[these.start * t.m..these.end * t.m]),
                relative: rows.relative(),
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
                products,
                steps,
                to: Targets {
                    dq: &mut to.dq[offset * t.d..][..n * t.d],
                    dk: to.dk,
                    dv: to.dv,
                    bias: to.bias.as_deref_mut().map(|b| &mut b[offset * t.m..][..n * t.m]),
                    tables: to.tables.as_deref_mut(),
                },
            });
        }
        // dSᵀ was taken with the unscaled queries
        for x in to.dk {
            *x *= t.scale;
        }
    });
}
