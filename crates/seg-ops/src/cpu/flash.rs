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
use super::flash_state::State;
use super::matrix::Shared;
use super::panels::{pack_columns, pack_rows, packed};
use super::relative::Relative;
use super::scratch::{with_packed, with_scratch};
use super::tile::{available, width};
use super::written;
use candle_core::{DType, Tensor};
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
    /// Which of the biases that is.
    fn holder(&self, group: usize) -> usize;
    /// Relative positions, added to the scores.
    fn relative(&self) -> Option<&Relative> {
        None
    }
    /// Where the output of query `i` begins, `None` if nobody wants it.
    fn output(&self, group: usize, i: usize) -> Option<usize>;
}

/// Keys and values of a group, packed.
#[derive(Clone, Copy)]
pub(super) struct Packs {
    pub k: *const f32,
    pub v: *const f32,
    /// The first key in them, and how many values a panel holds.
    pub origin: usize,
    pub height: usize,
    /// Elements from one row of the values to the next where they are read in place.
    pub step: Option<usize>,
}

/// Sizes of the packed parts.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub width: usize,
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
