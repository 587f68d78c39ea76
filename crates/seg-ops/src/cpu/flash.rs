//! f32 attention in tiles with an online softmax (Dao et al. 2022, "FlashAttention"; Milakov and Gimelshein 2018).
//!
//! Keys are packed as the columns of panels, values as their rows. A block of at most 96 queries meets a block of at most 256 keys at a time: the
//! scores (96 KiB) stay in the second-level cache, the panels of the keys and values pass through the first-level one. Each row keeps its maximum, the
//! sum of its exponentials and its unfinished output, which are rescaled when the maximum grows. The queries carry `scale · log₂ e`, so that
//! the exponential is a power of two.
//!
//! Few keys are packed by the task that uses them, many once for all tasks of a head. Where there are fewer blocks of queries than could keep a machine
//! busy, the keys are split as well, into a number of parts that depends on the sizes alone, and the parts are merged in order.
#![allow(unsafe_code)]

use super::dense::part;
use super::matrix::Shared;
use super::relative::Relative;
use super::tile::{
    Panel, arch, available, last_width, load, pack_columns, pack_rows, packed, store, width, with_packed, with_scratch,
};
use super::written;
use candle_core::{DType, Tensor};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Queries in a block, and keys.
pub(super) const QUERIES: usize = 96;
pub(super) const KEYS: usize = 256;
/// Up to so many keys each task packs its own.
const OWN_KEYS: usize = 512;
/// Blocks of queries from which the keys are not split.
const ENOUGH: usize = 16;

pub(super) const LOG2_E: f32 = std::f32::consts::LOG2_E;

/// Whether this serves tensors like `q` with these dimensions.
pub(super) fn serves(q: &Tensor, dims: &[&[usize]]) -> bool {
    q.dtype() == DType::F32 && dims.iter().all(|d| !d.contains(&0)) && available()
}

/// Sizes of an attention: `groups` of `n` queries and `m` keys of `d`, and values of `dv`.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub groups: usize,
    pub n: usize,
    pub m: usize,
    pub d: usize,
    pub dv: usize,
    pub scale: f32,
    /// Scratch that relative positions take for a query.
    pub relative: usize,
}

/// Where the rows of a group (a head of an image, or of a window) are read, and its outputs written.
pub(super) trait Rows: Sync {
    /// Query `i` into `to`.
    fn query(&self, group: usize, i: usize, to: &mut [f32]);
    fn key(&self, group: usize, j: usize) -> &[f32];
    fn value(&self, group: usize, j: usize) -> &[f32];
    /// Elements from one value to the next, if that is the same for all of a group.
    fn value_step(&self) -> Option<usize> {
        None
    }
    /// n × m, added to the scores.
    fn bias(&self, group: usize) -> Option<&[f32]>;
    /// Relative positions, added to the scores.
    fn relative(&self) -> Option<&Relative> {
        None
    }
    /// Where the output of query `i` begins, `None` if nobody wants it.
    fn output(&self, group: usize, i: usize) -> Option<usize>;
}

/// Keys and values of a group, packed.
#[derive(Clone, Copy)]
struct Packs {
    k: *const f32,
    v: *const f32,
    /// The first key in them, and how many values a panel holds.
    origin: usize,
    height: usize,
    /// Elements from one row of the values to the next where they are read in place.
    step: Option<usize>,
}

/// Sizes of the packed parts.
#[derive(Clone, Copy)]
struct Layout {
    width: usize,
    k: usize,
    v: usize,
}

impl Layout {
    fn new(t: &Sizes) -> Self {
        let width = width();
        Self { width, k: packed(t.m, t.d, width), v: packed(t.dv, t.m, width) }
    }
}

/// Packs `keys` of a group, which begin at a panel's start; `k` and `v` begin at key `origin`, and a panel of `v` holds `height` of them.
///
/// # Safety
/// `k` and `v` have room for the panels; nobody else touches what belongs to these keys.
unsafe fn pack(
    t: &Sizes,
    rows: &impl Rows,
    group: usize,
    keys: Range<usize>,
    (origin, height): (usize, usize),
    k: *mut f32,
    v: Option<*mut f32>,
) {
    let width = width();
    let row = |j: usize| rows.key(group, keys.start + j)[..t.d].as_ptr();
    // SAFETY: rows of `d` and `dv` elements; room, as the caller promises.
    unsafe {
        pack_columns(width, keys.len(), t.d, row, k.add((keys.start - origin) * t.d));
        if let Some(v) = v {
            let row = |j: usize| rows.value(group, origin + j)[..t.dv].as_ptr();
            pack_rows(width, t.dv, keys.start - origin..keys.end - origin, height, row, v);
        }
    }
}

/// Attention of all groups into `y`, of which every element is some query's; `log₂ Σ 2^score` of each query, group after group, into `logs`.
///
/// # Safety
/// The outputs of different queries do not overlap, and the processor has the tiles.
pub(super) unsafe fn forward(t: &Sizes, rows: &impl Rows, y: Shared<'_, f32>, logs: Option<Shared<'_, f32>>) {
    let layout = Layout::new(t);
    let blocks = t.n.div_ceil(QUERIES);
    let block = part(t.n, QUERIES, 12);
    if t.m <= OWN_KEYS {
        // as many blocks a task as make packing the keys cheap
        let many = blocks.min((t.m / 16).max(t.n.div_ceil(8 * QUERIES)).max(1));
        let tasks = t.n.div_ceil(many * block);
        (0..t.groups * tasks).into_par_iter().for_each(|task| {
            let (group, from) = (task / tasks, task % tasks * many * block);
            with_scratch(layout.k + layout.v + State::size(t, layout, block), |scratch| {
                let (k, rest) = scratch.split_at_mut(layout.k);
                let (v, rest) = rest.split_at_mut(layout.v);
                // SAFETY: room for all keys.
                unsafe { pack(t, rows, group, 0..t.m, (0, t.m), k.as_mut_ptr(), Some(v.as_mut_ptr())) };
                let packs = Packs { k: k.as_ptr(), v: v.as_ptr(), origin: 0, height: t.m, step: None };
                for from in (from..t.n.min(from + many * block)).step_by(block) {
                    let queries = from..t.n.min(from + block);
                    let mut state = State::new(t, layout, queries, rest);
                    state.start(rows, group);
                    state.run(rows, group, packs, 0..t.m);
                    // SAFETY: as the caller promises.
                    unsafe { state.finish(rows, group, y, logs) };
                }
            });
        });
        return;
    }
    if blocks == 1 {
        // SAFETY: as the caller promises.
        return unsafe { forward_few(t, rows, layout, y, logs) };
    }
    with_packed(t.groups * (layout.k + layout.v), |all| {
        let (k, v) = all.split_at_mut(t.groups * layout.k);
        let (k, v) = (Shared::new(k), Shared::new(v));
        // keys a task packs
        let piece = (8 * layout.width).max(256);
        let pieces = t.m.div_ceil(piece);
        (0..t.groups * pieces).into_par_iter().for_each(|task| {
            let (group, from) = (task / pieces, task % pieces * piece);
            // SAFETY: each task writes the panels, or the rows of panels, of its own keys.
            unsafe {
                let (k, v) = (k.start().add(group * layout.k).cast(), v.start().add(group * layout.v).cast());
                pack(t, rows, group, from..t.m.min(from + piece), (0, t.m), k, Some(v));
            }
        });
        (0..t.groups * blocks).into_par_iter().for_each(|task| {
            let (group, from) = (task / blocks, task % blocks * block);
            // SAFETY: inside the packed keys and values.
            let (k, v) = unsafe { (k.start().add(group * layout.k), v.start().add(group * layout.v)) };
            let packs = Packs { k: k.cast(), v: v.cast(), origin: 0, height: t.m, step: None };
            with_scratch(State::size(t, layout, block), |scratch| {
                let mut state = State::new(t, layout, from.min(t.n)..t.n.min(from + block), scratch);
                state.start(rows, group);
                state.run(rows, group, packs, 0..t.m);
                // SAFETY: as the caller promises.
                unsafe { state.finish(rows, group, y, logs) };
            });
        });
    });
}

/// One block of queries a group: its keys are packed as it goes through them, in several parts at once.
///
/// # Safety
/// As for [`forward`].
unsafe fn forward_few(t: &Sizes, rows: &impl Rows, layout: Layout, y: Shared<'_, f32>, logs: Option<Shared<'_, f32>>) {
    let size = part(t.m, KEYS, layout.width);
    // each part is whole blocks of keys
    let blocks = t.m.div_ceil(size);
    let each = blocks.div_ceil(ENOUGH.div_ceil(t.groups).min(blocks));
    let parts = blocks.div_ceil(each);
    let kept = State::kept(t, layout, t.n);
    let (size_k, size_v) = (size * t.d, packed(t.dv, size, layout.width));
    let in_place = rows.value_step().filter(|_| t.dv.is_multiple_of(layout.width / 2));
    let run = |states: &mut [f32]| {
        states.par_chunks_exact_mut(kept).enumerate().for_each(|(task, kept)| {
            let (group, part) = (task / parts, task % parts);
            with_scratch(size_k + size_v + State::size(t, layout, t.n), |scratch| {
                let (k, rest) = scratch.split_at_mut(size_k);
                let (v, rest) = rest.split_at_mut(size_v);
                let mut state = State::new(t, layout, 0..t.n, rest);
                state.start(rows, group);
                for from in (part * each * size..t.m.min((part + 1) * each * size)).step_by(size) {
                    let keys = from..t.m.min(from + size);
                    let mut packs =
                        Packs { k: k.as_ptr(), v: v.as_ptr(), origin: from, height: keys.len(), step: in_place };
                    if in_place.is_some() {
                        packs.v = rows.value(group, from).as_ptr();
                    }
                    let v = in_place.is_none().then_some(v.as_mut_ptr());
                    // SAFETY: room for a block of keys.
                    unsafe { pack(t, rows, group, keys.clone(), (from, keys.len()), k.as_mut_ptr(), v) };
                    state.run(rows, group, packs, keys);
                }
                state.save(kept);
            });
        });
    };
    // SAFETY: `save` writes the whole piece.
    let states = unsafe { written(t.groups * parts * kept, run) };
    let join = |(group, states): (usize, &[f32])| {
        with_scratch(State::size(t, layout, t.n), |scratch| {
            let mut state = State::new(t, layout, 0..t.n, scratch);
            state.merge(states.chunks_exact(kept));
            // SAFETY: as the caller promises.
            unsafe { state.finish(rows, group, y, logs) };
        });
    };
    if states.len() < 1 << 16 {
        // waking the threads again would take longer
        states.chunks_exact(kept * parts).enumerate().for_each(join);
    } else {
        states.par_chunks_exact(kept * parts).enumerate().for_each(join);
    }
}

/// A block of queries and what is known of its outputs so far.
struct State<'a> {
    t: &'a Sizes,
    layout: Layout,
    queries: Range<usize>,
    /// Whether there are outputs yet.
    begun: bool,
    q: &'a mut [f32],
    /// Scores of one block of keys, `columns` a row.
    scores: &'a mut [f32],
    columns: usize,
    /// Relative positions' parts of the scores.
    relative: &'a mut [f32],
    /// Unfinished outputs, whole vectors a row; maxima and sums.
    outputs: &'a mut [f32],
    wide: usize,
    maxima: &'a mut [f32],
    sums: &'a mut [f32],
}

/// Columns that the scores of a block of keys take, at most.
fn columns(t: &Sizes, layout: Layout) -> usize {
    // 16 more: relative positions are added in whole vectors
    part(t.m, KEYS, layout.width) + 16
}

impl<'a> State<'a> {
    fn size(t: &Sizes, layout: Layout, block: usize) -> usize {
        block * (t.d + columns(t, layout) + t.relative) + Self::kept(t, layout, block)
    }

    /// Elements of outputs, maxima and sums.
    fn kept(t: &Sizes, layout: Layout, block: usize) -> usize {
        block * (t.dv.next_multiple_of(layout.width / 2) + 2)
    }

    fn new(t: &'a Sizes, layout: Layout, queries: Range<usize>, scratch: &'a mut [f32]) -> Self {
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
    fn start(&mut self, rows: &impl Rows, group: usize) {
        for (i, q) in self.queries.clone().zip(self.q.chunks_exact_mut(self.t.d)) {
            rows.query(group, i, q);
        }
        arch().dispatch(Start { state: self, relative: rows.relative() });
    }

    /// Goes through `keys`, which begin at a panel's start.
    fn run(&mut self, rows: &impl Rows, group: usize, packs: Packs, keys: Range<usize>) {
        let bias = rows.bias(group).map(|b| &b[self.queries.start * self.t.m..self.queries.end * self.t.m]);
        arch().dispatch(Blocks { state: self, bias, relative: rows.relative(), packs, keys });
    }

    /// The outputs to where they belong.
    ///
    /// # Safety
    /// Nobody else touches the outputs of these queries.
    unsafe fn finish(&mut self, rows: &impl Rows, group: usize, y: Shared<'_, f32>, logs: Option<Shared<'_, f32>>) {
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

    fn save(&self, to: &mut [f32]) {
        let (outputs, rest) = to.split_at_mut(self.outputs.len());
        outputs.copy_from_slice(self.outputs);
        let (maxima, sums) = rest.split_at_mut(self.maxima.len());
        maxima.copy_from_slice(self.maxima);
        sums[..self.sums.len()].copy_from_slice(self.sums);
        sums[self.sums.len()..].fill(0.);
    }

    fn merge<'b>(&mut self, parts: impl Iterator<Item = &'b [f32]>) {
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

struct Start<'a, 'b> {
    state: &'a mut State<'b>,
    relative: Option<&'a Relative>,
}

impl WithSimd for Start<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let state = self.state;
        if let Some(relative) = self.relative {
            relative.prepare(s, state.queries.clone(), state.q, state.relative);
        }
        let factor = state.t.scale * LOG2_E;
        for q in state.q.iter_mut() {
            *q *= factor;
        }
    }
}

struct Blocks<'a, 'b> {
    state: &'a mut State<'b>,
    bias: Option<&'a [f32]>,
    relative: Option<&'a Relative>,
    packs: Packs,
    keys: Range<usize>,
}

impl WithSimd for Blocks<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { state, bias, relative, packs, keys } = self;
        let (t, width) = (state.t, state.layout.width);
        let n = state.queries.len();
        // the blocks of all parts have the same size: that of the whole
        let size = part(t.m, KEYS, width);
        for from in keys.clone().step_by(size) {
            let count = size.min(keys.end - from);
            let first = !std::mem::replace(&mut state.begun, true);
            for column in (0..count).step_by(width) {
                // SAFETY: inside the packed keys and the scores; whole vectors of both, as their rows are panels wide.
                unsafe {
                    Panel {
                        m: n,
                        k: t.d,
                        a: state.q.as_ptr(),
                        rows: t.d,
                        columns: 1,
                        b: packs.k.add((from - packs.origin + column) * t.d),
                        step: width,
                        c: state.scores.as_mut_ptr().add(column),
                        stride: state.columns,
                        n: (count - column).next_multiple_of(width / 2).min(width),
                        sum: false,
                    }
                    .run(s);
                }
            }
            if let Some(relative) = relative {
                relative.add(s, state.relative, state.scores, (n, state.columns), from..from + count);
            }
            // what takes the columns behind the last key out
            let mut tail = [0.; 16];
            tail[..S::F32_LANES][(count - 1) % S::F32_LANES + 1..].fill(f32::NEG_INFINITY);
            for i in 0..n {
                let scores = &mut state.scores[i * state.columns..][..count.next_multiple_of(S::F32_LANES)];
                if let Some(bias) = bias {
                    for (x, &b) in scores.iter_mut().zip(&bias[i * t.m + from..][..count]) {
                        *x += b * LOG2_E;
                    }
                }
                let before = if first { f32::NEG_INFINITY } else { state.maxima[i] };
                let (max, sum) = powers(s, scores, &tail, before);
                state.maxima[i] = max;
                if first {
                    state.sums[i] = sum;
                } else if max == before || max == f32::NEG_INFINITY {
                    state.sums[i] += sum;
                } else {
                    let factor = (before - max).exp2();
                    state.sums[i] = state.sums[i] * factor + sum;
                    for o in &mut state.outputs[i * state.wide..(i + 1) * state.wide] {
                        *o *= factor;
                    }
                }
            }
            for column in (0..t.dv).step_by(width) {
                let n_columns = last_width(width, t.dv - column);
                let (step, panel) = match packs.step {
                    Some(step) => (step, column),
                    None => (n_columns, column * packs.height),
                };
                // SAFETY: inside the values and the outputs, whose rows are whole vectors.
                unsafe {
                    Panel {
                        m: n,
                        k: count,
                        a: state.scores.as_ptr(),
                        rows: state.columns,
                        columns: 1,
                        b: packs.v.add(panel + (from - packs.origin) * step),
                        step,
                        c: state.outputs.as_mut_ptr().add(column),
                        stride: state.wide,
                        n: n_columns,
                        sum: !first,
                    }
                    .run(s);
                }
            }
        }
    }
}

/// `2^(x - m)` in place, where `m` is the maximum of `x` and of `before`; `m` and the sum. `tail` is added to the last vector. Whole vectors only.
#[inline(always)]
fn powers<S: Simd>(s: S, x: &mut [f32], tail: &[f32; 16], before: f32) -> (f32, f32) {
    let (lanes, x, last) = (S::F32_LANES, x.as_mut_ptr(), x.len() - S::F32_LANES);
    // SAFETY: whole vectors inside `x`; a vector has 16 elements at most.
    unsafe {
        let end = s.add_f32s(load(s, x.add(last)), load(s, tail.as_ptr()));
        let mut maxima = [s.max_f32s(end, s.splat_f32s(before)), end];
        let mut j = 0;
        while j + 2 * lanes <= last {
            maxima[0] = s.max_f32s(load(s, x.add(j)), maxima[0]);
            maxima[1] = s.max_f32s(load(s, x.add(j + lanes)), maxima[1]);
            j += 2 * lanes;
        }
        if j < last {
            maxima[0] = s.max_f32s(load(s, x.add(j)), maxima[0]);
        }
        let max = s.reduce_max_f32s(s.max_f32s(maxima[1], maxima[0]));
        // rows that are masked so far: nothing to shift by
        let shift = s.splat_f32s(if max == f32::NEG_INFINITY { 0. } else { max });
        let end = power_of_two(s, s.sub_f32s(end, shift));
        store(s, x.add(last), end);
        let mut sums = [end, s.splat_f32s(0.)];
        j = 0;
        while j + 2 * lanes <= last {
            let (a, b) = (load(s, x.add(j)), load(s, x.add(j + lanes)));
            let (a, b) = (power_of_two(s, s.sub_f32s(a, shift)), power_of_two(s, s.sub_f32s(b, shift)));
            store(s, x.add(j), a);
            store(s, x.add(j + lanes), b);
            sums = [s.add_f32s(sums[0], a), s.add_f32s(sums[1], b)];
            j += 2 * lanes;
        }
        if j < last {
            let a = power_of_two(s, s.sub_f32s(load(s, x.add(j)), shift));
            store(s, x.add(j), a);
            sums[0] = s.add_f32s(sums[0], a);
        }
        (max, s.reduce_sum_f32s(s.add_f32s(sums[0], sums[1])))
    }
}

/// `2^x` for `x <= 0` (0 below -126.5), relative error below 3e-7; a NaN stays one.
#[inline(always)]
pub(super) fn power_of_two<S: Simd>(s: S, x: S::f32s) -> S::f32s {
    // 1.5 · 2^23: adding it rounds to an integer, which then stands in the low bits
    let round = s.splat_f32s(12_582_912.);
    // in this order a NaN is kept
    let x = s.max_f32s(s.splat_f32s(-127.), x);
    let shifted = s.add_f32s(x, round);
    let r = s.sub_f32s(x, s.sub_f32s(shifted, round));
    let mut p = s.splat_f32s(1.535_336_2e-4);
    for c in [1.339_887_4e-3, 9.618_437e-3, 5.550_332_5e-2, 2.402_264_8e-1, std::f32::consts::LN_2, 1.] {
        p = s.mul_add_f32s(p, r, s.splat_f32s(c));
    }
    let bits = s.add_u32s(s.transmute_u32s_f32s(shifted), s.splat_u32s(127));
    s.mul_f32s(p, s.transmute_f32s_u32s(s.wrapping_dyn_shl_u32s(bits, s.splat_u32s(23))))
}
