//! A block of queries on its way through the keys: unfinished outputs, maxima and sums (see `flash.rs`), and how parts of it are put together.
#![allow(unsafe_code)]

use super::dense::part;
use super::flash::{KEYS, Layout, Packs, Rows, Sizes};
use super::flash_block::{Blocks, Start};
use super::matrix::Shared;
use super::processor::arch;
use std::ops::Range;

/// A block of queries and what is known of its outputs so far.
pub(super) struct State<'a> {
    pub t: &'a Sizes,
    pub layout: Layout,
    pub queries: Range<usize>,
    /// Whether there are outputs yet.
    pub begun: bool,
    pub q: &'a mut [f32],
    /// Scores of one block of keys, `columns` a row.
    pub scores: &'a mut [f32],
    pub columns: usize,
    /// Relative positions' parts of the scores.
    pub relative: &'a mut [f32],
    /// Unfinished outputs, whole vectors a row; maxima and sums.
    pub outputs: &'a mut [f32],
    pub wide: usize,
    pub maxima: &'a mut [f32],
    pub sums: &'a mut [f32],
}

/// Columns that the scores of a block of keys take, at most.
fn columns(t: &Sizes, layout: Layout) -> usize {
    // 16 more: relative positions are added in whole vectors
    part(t.m, KEYS, layout.width) + 16
}

impl<'a> State<'a> {
    pub fn size(t: &Sizes, layout: Layout, block: usize) -> usize {
        block * (t.d + columns(t, layout) + t.relative) + Self::kept(t, layout, block)
    }

    /// Elements of outputs, maxima and sums.
    pub fn kept(t: &Sizes, layout: Layout, block: usize) -> usize {
        block * (t.dv.next_multiple_of(layout.width / 2) + 2)
    }

    pub fn new(t: &'a Sizes, layout: Layout, queries: Range<usize>, scratch: &'a mut [f32]) -> Self {
        let (n, columns, wide) = (queries.len(), columns(t, layout), t.dv.next_multiple_of(layout.width / 2));
        let (q, rest) = scratch.split_at_mut(n * t.d);
        let (scores, rest) = rest.split_at_mut(n * columns);
        let (relative, rest) = rest.split_at_mut(n * t.relative);
        let (outputs, rest) = rest.split_at_mut(n * wide);
        let (maxima, rest) = rest.split_at_mut(n);
        let sums = &mut rest[..n];
        Self { t, layout, queries, begun: false, q, scores, columns, relative, outputs, wide, maxima, sums }
    }

    /// Reads the queries.
    pub fn start(&mut self, rows: &impl Rows, group: usize) {
        for (i, q) in self.queries.clone().zip(self.q.chunks_exact_mut(self.t.d)) {
            rows.query(group, i, q);
        }
        arch().dispatch(Start { state: self, relative: rows.relative() });
    }

    /// Goes through `keys`, which begin at a panel's start.
    pub fn run(&mut self, rows: &impl Rows, group: usize, packs: Packs, keys: Range<usize>) {
        let bias = rows.bias(group).map(|b| &b[self.queries.start * self.t.m..self.queries.end * self.t.m]);
        arch().dispatch(Blocks { state: self, bias, relative: rows.relative(), packs, keys });
    }

    /// The outputs to where they belong.
    ///
    /// # Safety
    /// Nobody else touches the outputs of these queries.
    pub unsafe fn finish(&mut self, rows: &impl Rows, group: usize, y: Shared<'_, f32>, logs: Option<Shared<'_, f32>>) {
        if let Some(logs) = logs {
            // SAFETY: each query has a place of its own.
            let logs = unsafe { logs.part(group * self.t.n + self.queries.start, self.queries.len()) };
            for (log, (max, sum)) in logs.iter_mut().zip(self.maxima.iter().zip(self.sums.iter())) {
                *log = max + sum.log2();
            }
        }
        for (i, (row, &sum)) in self.outputs.chunks_exact(self.wide.max(1)).zip(self.sums.iter()).enumerate() {
            if let Some(at) = rows.output(group, self.queries.start + i) {
                let inverse = 1. / sum;
                // SAFETY: as the caller promises.
                for (y, &o) in unsafe { y.part(at, self.t.dv) }.iter_mut().zip(row) {
                    *y = o * inverse;
                }
            }
        }
    }

    pub fn save(&self, to: &mut [f32]) {
        let (outputs, rest) = to.split_at_mut(self.outputs.len());
        outputs.copy_from_slice(self.outputs);
        let (maxima, sums) = rest.split_at_mut(self.maxima.len());
        maxima.copy_from_slice(self.maxima);
        sums[..self.sums.len()].copy_from_slice(self.sums);
        sums[self.sums.len()..].fill(0.);
    }

    pub fn merge<'b>(&mut self, parts: impl Iterator<Item = &'b [f32]>) {
        self.outputs.fill(0.);
        self.maxima.fill(f32::NEG_INFINITY);
        self.sums.fill(0.);
        for part in parts {
            let (outputs, rest) = part.split_at(self.outputs.len());
            let (maxima, sums) = rest.split_at(self.maxima.len());
            for (i, (&max, &sum)) in maxima.iter().zip(sums).enumerate() {
                let top = if max > self.maxima[i] || max.is_nan() { max } else { self.maxima[i] };
                let shift = if top == f32::NEG_INFINITY { 0. } else { top };
                let (old, new) = ((self.maxima[i] - shift).exp2(), (max - shift).exp2());
                self.maxima[i] = top;
                self.sums[i] = self.sums[i] * old + sum * new;
                let row = i * self.wide..(i + 1) * self.wide;
                for (o, &p) in self.outputs[row.clone()].iter_mut().zip(&outputs[row]) {
                    *o = *o * old + p * new;
                }
            }
        }
    }
}
