//! Depthwise convolution by slabs: vectors of channels on their own.
//!
//! A task takes some rows of the map that it writes and up to four vectors of channels. It copies what these rows read to a slab, zeros around it, in
//! which the pixels of one vector of channels follow each other; then borders, strides and layouts are gone, weights stay in the first-level cache
//! for many rows, and no two pixels meet in one of its sets because a power of two lies between them. The copy costs a load and a store an element,
//! little beside 25 or 49 products, or beside a gradient, where one slab of the output's gradient serves both the gradient of the input
//! and that of the weights: with `q` an input pixel and `o(q, t)` the output that reads it by tap `t`,
//! `dx[q] = Σₜ w[t] dy[o(q, t)]` and `dw[t] = Σ_q x[q] dy[o(q, t)]`.
//!
//! Work is cut by sizes alone, and the parts of `dw` are added in order, so that the sums are the same for any number of threads.
#![allow(unsafe_code)]

use super::depthwise_kernel::{Gradient, ROWS, RowSums, Sums, Tap};
use super::matrix::Shared;
use super::patches::Geometry;
use super::processor::{arch, lanes};
use super::scratch::with_scratch;
use super::tail::TailData;
use super::turn::{turn, turn_to};
use super::vector::Vector;
use super::{simd, written};
use crate::Layout;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Elements of the rows that a task writes, about.
const ELEMENTS: usize = 64 * 1024;
/// Tasks that there should be.
const TASKS: usize = 16;

/// Images of either layout.
#[derive(Clone, Copy)]
struct Maps {
    layout: Layout,
    size: (usize, usize),
    channels: usize,
}

impl Maps {
    /// Elements of an image.
    fn len(&self) -> usize {
        self.size.0 * self.size.1 * self.channels
    }
}

/// How the written maps are divided.
struct Plan {
    to: Maps,
    lanes: usize,
    /// Vectors of channels of a task.
    vectors: usize,
    groups: usize,
    /// Rows of a task: a multiple of [`ROWS`], the last of which may lie below the map.
    rows: usize,
    bands: usize,
    tasks: usize,
}

/// A task's share.
struct Part {
    image: usize,
    /// First row.
    top: usize,
    /// First vector of channels, number of them, channels.
    panel: usize,
    vectors: usize,
    channels: usize,
}

impl Plan {
    fn new(to: Maps, batch: usize, lanes: usize) -> Self {
        let panels = to.channels.div_ceil(lanes);
        let (height, width) = to.size;
        let most = (ELEMENTS / (ROWS * width * lanes)).clamp(1, 4);
        let groups = panels.div_ceil(most);
        let vectors = panels.div_ceil(groups);
        let groups = panels.div_ceil(vectors);
        let whole = ELEMENTS / (width * vectors * lanes);
        let shared = height.div_ceil(TASKS.div_ceil(batch * groups));
        let rows = whole.min(shared).max(1).next_multiple_of(ROWS);
        let bands = height.div_ceil(rows);
        Self { to, lanes, vectors, groups, rows, bands, tasks: batch * bands * groups }
    }

    fn part(&self, task: usize) -> Part {
        let (rest, group) = (task / self.groups, task % self.groups);
        let panel = group * self.vectors;
        let channels = (self.to.channels - panel * self.lanes).min(self.vectors * self.lanes);
        let (image, top) = (rest / self.bands, rest % self.bands * self.rows);
        Part { image, top, panel, vectors: channels.div_ceil(self.lanes), channels }
    }

    /// Elements of a vector's [`ROWS`] written rows.
    fn tile(&self) -> usize {
        ROWS * self.to.size.1 * self.lanes
    }

    /// `[C, taps]` as `[panels, taps, lanes]`, zeros after the last channel; with the taps in reverse if `turned`.
    fn pack<T: Vector>(&self, w: &[T], taps: usize, turned: bool) -> Vec<T> {
        let panels = self.to.channels.div_ceil(self.lanes);
        let mut table = vec![T::ZERO; panels * taps * self.lanes];
        for (channel, w) in w.chunks_exact(taps).enumerate() {
            let start = channel / self.lanes * taps * self.lanes + channel % self.lanes;
            for (tap, &w) in w.iter().enumerate() {
                table[start + if turned { taps - 1 - tap } else { tap } * self.lanes] = w;
            }
        }
        table
    }
}

/// A convolution without stride or dilation, of `x` with `w` and, unless it is empty, a bias; every element of `y` is written.
pub(crate) fn forward<T: Vector>(
    (x, w, bias): (&[T], &[T], &[T]),
    g: &Geometry,
    layout: Layout,
    tail: &TailData<'_, T>,
    y: &mut [T],
) {
    let (channels, lanes, arch) = (g.inputs, lanes::<T>(), arch());
    let from = Maps { layout, size: g.input, channels };
    let plan = Plan::new(Maps { layout, size: g.out, channels }, g.batch, lanes);
    let taps = g.kernel.0 * g.kernel.1;
    let table = &plan.pack(w, taps, false)[..];
    let bias = &plan.pack(bias, 1, false)[..];
    let size = (plan.rows + g.kernel.0 - 1, g.out.1 + g.kernel.1 - 1);
    let (panel, tile) = (size.0 * size.1 * lanes, plan.tile());
    let y = Shared::new(y);
    (0..plan.tasks).into_par_iter().for_each(|task| {
        let part = plan.part(task);
        let x = &x[part.image * from.len()..][..from.len()];
        let at = (part.top as isize - g.padding as isize, -(g.padding as isize));
        with_scratch(part.vectors * (panel + tile), |scratch| {
            let (slab, out) = scratch.split_at_mut(part.vectors * panel);
            arch.dispatch(Fill { x, maps: from, part: &part, at, size, slab });
            for first in (0..plan.rows.min(g.out.0 - part.top)).step_by(ROWS) {
                // whole rows of whole vectors, with nothing after the sums, go where they belong at once
                let top = part.top + first;
                let at_once = layout == Layout::Nhwc
                    && part.channels.is_multiple_of(lanes)
                    && top + ROWS <= g.out.0
                    && tail.some().is_none();
                for v in 0..part.vectors {
                    let (x, i) = (&slab[v * panel..][..panel], part.panel + v);
                    let w = (&table[i * taps * lanes..][..taps * lanes], &bias[i * lanes..][..lanes]);
                    if at_once {
                        let at = ((part.image * g.out.0 + top) * g.out.1) * channels + i * lanes;
                        arch.dispatch(rows_together(g, (y, at, channels), x, w, size.1, first, lanes));
                        continue;
                    }
                    let own = &mut out[v * tile..][..tile];
                    arch.dispatch(rows_together(g, (Shared::new(own), 0, lanes), x, w, size.1, first, lanes));
                    let channels = (part.channels - v * lanes).min(lanes);
                    simd(
                        #[inline(always)]
                        || tail.pixels_but_residual(own, lanes, i * lanes, channels),
                    );
                }
                if !at_once {
                    arch.dispatch(Put { tile: out, plan: &plan, part: &part, first, y, tail: Some(tail) });
                }
            }
        });
    });
}

/// The sums of [`ROWS`] rows of one vector of channels, from row `first` of a slab with rows of `columns` pixels, to `y`: from which element on, and
/// how far apart its pixels are.
fn rows_together<'a, T: Vector>(
    g: &Geometry,
    (y, at, pixel): (Shared<'a, T>, usize, usize),
    x: &'a [T],
    (w, start): (&'a [T], &'a [T]),
    columns: usize,
    first: usize,
    lanes: usize,
) -> RowSums<'a, T> {
    let count = columns + 1 - g.kernel.1;
    RowSums {
        y,
        at,
        x,
        w,
        start,
        first: (first * columns * lanes, 0),
        kernel: g.kernel,
        pitch: (columns * lanes, count * pixel),
        tap: (lanes, lanes),
        count,
        step: (lanes, pixel),
        width: lanes,
    }
}

/// The gradients of the input and of the weights (`[C, taps]`), for any depthwise convolution.
pub(crate) fn backward<T: Vector>(x: &[T], w: &[T], dy: &[T], g: &Geometry, layout: Layout) -> (Vec<T>, Vec<T>) {
    if x.is_empty() || dy.is_empty() {
        return (vec![T::ZERO; x.len()], vec![T::ZERO; w.len()]);
    }
    let (channels, lanes) = (g.inputs, lanes::<T>());
    let plan = Plan::new(Maps { layout, size: g.input, channels }, g.batch, lanes);
    let taps = g.kernel.0 * g.kernel.1;
    let back = Back { g, x, dy, table: &plan.pack(w, taps, true), plan: &plan };
    let mut parts = Vec::new();
    // SAFETY: the tasks write all rows of all channels of all images, and read none.
    let dx = unsafe {
        written(x.len(), |dx| {
            let dx = Shared::new(dx);
            parts = (0..plan.tasks).into_par_iter().map(|task| back.task(&plan.part(task), dx)).collect();
        })
    };
    let mut dw = vec![T::ZERO; w.len()];
    for (task, part) in parts.iter().enumerate() {
        let Part { panel, channels, .. } = plan.part(task);
        for i in 0..channels {
            let part = part[i / lanes * taps * lanes + i % lanes..].iter().step_by(lanes);
            // the taps stand in reverse
            let dw = &mut dw[(panel * lanes + i) * taps..][..taps];
            dw.iter_mut().rev().zip(part).for_each(|(d, &p)| *d += p);
        }
    }
    (dx, dw)
}

/// What all tasks of a gradient share.
struct Back<'a, T> {
    g: &'a Geometry,
    x: &'a [T],
    dy: &'a [T],
    /// Weights with the taps in reverse.
    table: &'a [T],
    plan: &'a Plan,
}

impl<T: Vector> Back<'_, T> {
    /// Writes the task's gradient of the input; the result is its part of that of the weights, `[vectors, taps, lanes]`, the taps in reverse.
    fn task(&self, part: &Part, dx: Shared<'_, T>) -> Vec<T> {
        let (g, plan, lanes, arch) = (self.g, self.plan, self.plan.lanes, arch());
        let (taps, width) = (g.kernel.0 * g.kernel.1, plan.to.size.1);
        let outputs = Maps { size: g.out, ..plan.to };
        // the outputs that read these rows
        let rows = reach(g, part.top, plan.rows, g.kernel.0);
        let columns = reach(g, 0, width, g.kernel.1);
        let size = (rows.1, columns.1);
        let (panel, tile, own) = (size.0 * size.1 * lanes, plan.tile(), plan.rows * width * lanes);
        let mut dw = vec![T::ZERO; part.vectors * taps * lanes];
        let together = RowSums::<T>::knows(g);
        with_scratch(part.vectors * (panel + own + tile), |scratch| {
            let (slab, rest) = scratch.split_at_mut(part.vectors * panel);
            let (x, out) = rest.split_at_mut(part.vectors * own);
            let dy = &self.dy[part.image * outputs.len()..][..outputs.len()];
            arch.dispatch(Fill { x: dy, maps: outputs, part, at: (rows.0, columns.0), size, slab });
            let image = &self.x[part.image * plan.to.len()..][..plan.to.len()];
            let at = (part.top as isize, 0);
            arch.dispatch(Fill { x: image, maps: plan.to, part, at, size: (plan.rows, width), slab: x });
            let mut list = Vec::with_capacity(taps);
            for first in (0..plan.rows.min(g.input.0 - part.top)).step_by(ROWS) {
                if together {
                    for v in 0..part.vectors {
                        let w = &self.table[(part.panel + v) * taps * lanes..];
                        let (x, y) = (&slab[v * panel..][..panel], Shared::new(&mut out[v * tile..][..tile]));
                        arch.dispatch(rows_together(g, (y, 0, lanes), x, (w, &[]), size.1, first, lanes));
                    }
                }
                for row in first..first + ROWS {
                    // columns that leave the same remainder are read by the same taps
                    for phase in 0..g.stride.min(width) {
                        let at = (part.top + row, phase);
                        self.taps(at, (rows.0, columns.0), size.1, &mut list);
                        let count = (width - phase).div_ceil(g.stride);
                        let step = g.stride * lanes;
                        for v in 0..part.vectors {
                            let slab = &slab[v * panel..][..panel];
                            if !together {
                                let y = &mut out[v * tile + ((row - first) * width + phase) * lanes..(v + 1) * tile];
                                let w = &self.table[(part.panel + v) * taps * lanes..];
                                let taps = &list[..];
                                arch.dispatch(Sums {
                                    y,
                                    x: slab,
                                    w,
                                    taps,
                                    count,
                                    out_step: step,
                                    in_step: lanes,
                                    width: lanes,
                                });
                            }
                            arch.dispatch(Gradient {
                                w: &mut dw[v * taps * lanes..][..taps * lanes],
                                x: slab,
                                y: &x[v * own + (row * width + phase) * lanes..],
                                taps: &list,
                                count,
                                out_step: step,
                                in_step: lanes,
                                width: lanes,
                            });
                        }
                    }
                }
                arch.dispatch(Put { tile: out, plan, part, first, y: dx, tail: None });
            }
        });
        dw
    }

    /// The taps by which an input pixel is read: where their outputs stand in a slab from `origin` on, and their weights.
    fn taps(&self, at: (usize, usize), origin: (isize, isize), columns: usize, list: &mut Vec<Tap>) {
        let (g, lanes) = (self.g, self.plan.lanes);
        let output = |at: usize, tap: usize, origin: isize| {
            let o = (at + g.padding) as isize - (tap * g.dilation) as isize;
            (o.rem_euclid(g.stride as isize) == 0).then(|| (o.div_euclid(g.stride as isize) - origin) as usize)
        };
        list.clear();
        for ty in 0..g.kernel.0 {
            let Some(row) = output(at.0, ty, origin.0) else { continue };
            for tx in 0..g.kernel.1 {
                if let Some(column) = output(at.1, tx, origin.1) {
                    let tap = g.kernel.0 * g.kernel.1 - 1 - (ty * g.kernel.1 + tx);
                    list.push(((row * columns + column) * lanes, tap * lanes));
                }
            }
        }
    }
}

/// The first and the number of the outputs (they may lie outside) that read `n` inputs from `from` on, along an axis with `kernel` taps.
fn reach(g: &Geometry, from: usize, n: usize, kernel: usize) -> (isize, usize) {
    let stride = g.stride as isize;
    let first = ((from + g.padding) as isize - ((kernel - 1) * g.dilation) as isize).div_euclid(stride);
    let last = ((from + n - 1 + g.padding) as isize).div_euclid(stride);
    (first, (last - first + 1) as usize)
}

/// Copies a rectangle of an image to a slab `[vectors, rows, columns, lanes]`, zeros where it leaves the image.
struct Fill<'a, T> {
    x: &'a [T],
    maps: Maps,
    part: &'a Part,
    at: (isize, isize),
    size: (usize, usize),
    slab: &'a mut [T],
}

impl<T: Vector> WithSimd for Fill<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let lanes = T::lanes::<S>();
        let Maps { layout, size: (height, width), channels: c } = self.maps;
        let (rows, columns) = self.size;
        let (channel, count) = (self.part.panel * lanes, self.part.channels);
        let panel = rows * columns * lanes;
        let a = (-self.at.1).clamp(0, columns as isize) as usize;
        let b = (width as isize - self.at.1).clamp(a as isize, columns as isize) as usize;
        for row in 0..rows {
            let y = self.at.0 + row as isize;
            let (a, b) = if y >= 0 && y < height as isize { (a, b) } else { (0, 0) };
            for v in 0..self.part.vectors {
                let to = &mut self.slab[v * panel + row * columns * lanes..][..columns * lanes];
                let whole = count >= (v + 1) * lanes || layout == Layout::Nhwc;
                to[..if whole { a * lanes } else { b * lanes }].fill(T::ZERO);
                to[b * lanes..].fill(T::ZERO);
            }
            if a == b {
                continue;
            }
            let pixel = y as usize * width + (a as isize + self.at.1) as usize;
            match layout {
                Layout::Nhwc => {
                    let (whole, rest) = (count / lanes, count % lanes);
                    let x = &self.x[pixel * c + channel..][..(b - a - 1) * c + count];
                    for i in 0..b - a {
                        let to = (row * columns + a + i) * lanes;
                        for v in 0..whole {
                            // SAFETY: `x` reaches to the last of `count` channels of the last pixel, and the rows of all vectors have been cut out of
                            // the slab above.
                            unsafe {
                                let value = T::load::<S>(x.as_ptr().add(i * c + v * lanes));
                                T::store::<S>(self.slab.as_mut_ptr().add(v * panel + to), value);
                            }
                        }
                        if rest > 0 {
                            let value = T::load_part(s, &x[i * c + whole * lanes..][..rest]);
                            let to = &mut self.slab[whole * panel + to..][..lanes];
                            // SAFETY: a whole vector.
                            unsafe { T::store::<S>(to.as_mut_ptr(), value) };
                        }
                    }
                }
                Layout::Nchw => {
                    let plane = height * width;
                    for v in 0..self.part.vectors {
                        let n = (count - v * lanes).min(lanes);
                        let x = &self.x[(channel + v * lanes) * plane + pixel..];
                        let to = &mut self.slab[v * panel + (row * columns + a) * lanes..][..(b - a) * lanes];
                        turn((n, b - a), x, plane, to, lanes);
                    }
                }
            }
        }
    }
}

/// Writes a tile `[vectors, ROWS, columns, lanes]` to rows of the map from the part's row `first` on.
struct Put<'a, T> {
    tile: &'a [T],
    plan: &'a Plan,
    part: &'a Part,
    first: usize,
    y: Shared<'a, T>,
    tail: Option<&'a TailData<'a, T>>,
}

impl<T: Vector> WithSimd for Put<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let lanes = T::lanes::<S>();
        let Maps { layout, size: (height, width), channels: c } = self.plan.to;
        let (part, size) = (self.part, self.plan.tile());
        assert!(self.tile.len() >= part.vectors * size && size == ROWS * width * lanes);
        let (image, channel) = (part.image * self.plan.to.len(), part.panel * lanes);
        let top = part.top + self.first;
        for row in 0..ROWS.min(height - top) {
            match layout {
                Layout::Nhwc => {
                    for column in 0..width {
                        let at = image + ((top + row) * width + column) * c + channel;
                        // SAFETY: tasks differ in image, rows or channels.
                        let to = unsafe { self.y.part(at, part.channels) };
                        for (v, to) in to.chunks_mut(lanes).enumerate() {
                            // SAFETY: the tile has whole vectors, as asserted; `to` is one, or less.
                            unsafe {
                                let x = T::load::<S>(self.tile.as_ptr().add(v * size + (row * width + column) * lanes));
                                if to.len() == lanes {
                                    T::store::<S>(to.as_mut_ptr(), x);
                                } else {
                                    T::store_part(s, to, x);
                                }
                            }
                        }
                        if let Some(tail) = self.tail {
                            tail.residual(to, at);
                        }
                    }
                }
                Layout::Nchw => {
                    let plane = height * width;
                    for v in 0..part.vectors {
                        let n = (part.channels - v * lanes).min(lanes);
                        let at = image + (channel + v * lanes) * plane + (top + row) * width;
                        let x = &self.tile[v * size + row * width * lanes..][..width * lanes];
                        // SAFETY: the row of each of `n` planes lies inside the image and is this task's own.
                        unsafe { turn_to((width, n), x, lanes, self.y.start().add(at), plane) };
                        if let Some(tail) = self.tail {
                            for at in (at..).step_by(plane).take(n) {
                                // SAFETY: as above.
                                tail.residual(unsafe { self.y.part(at, width) }, at);
                            }
                        }
                    }
                }
            }
        }
    }
}
