//! 3 × 3 convolution with stride 1 as Winograd's F(4 × 4, 3 × 3): 36 products in place of 144 for 16 output pixels.
//!
//! With the interpolation points 0, ±2/3, ±3/2, ∞ (whose constants are near one another, unlike those of the usual 0, ±1, ±2, ∞) the f32 error is
//! about 1.7 times that of the plain sum. A task takes a block of some 16 to 64 tiles and all or some of the outputs: it copies the block's pixels
//! (channels last, zeros around), transforms them, vectors over channels, to a matrix `[tiles, C]` for each of the 36 points, and then, for one
//! panel of outputs after the other, multiplies all 36 by the transformed weights and transforms back, so that the products never leave the cache.
//! With dilation d the image falls into d² interleaved ones, which are convolved without dilation.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // columns of small arrays

use super::alloc::written;
use super::matrix::Shared;
use super::panels::Panels;
use super::patches::Geometry;
use super::processor::run;
use super::region::{Image, Region};
use super::scratch::with_scratch;
use super::tail::TailData;
use super::tile::{Panel, WHOLE};
use super::turn::turn;
use super::vector::{Vector, load, store};
use crate::Layout;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

const A: f64 = 2. / 3.;
const B: f64 = 1.5;
/// Channels of a weight task.
const CHUNK: usize = 32;

/// Where a convolution's weights stand: element (output, input, tap) is `data[output * outputs + input * inputs + tap]`, with the taps in reverse
/// if `flipped`.
#[derive(Clone, Copy)]
pub(crate) struct Weights<'a, T> {
    pub data: &'a [T],
    pub outputs: usize,
    pub inputs: usize,
    pub flipped: bool,
}

impl<T: Vector> Weights<'_, T> {
    #[inline(always)]
    pub fn at(&self, output: usize, input: usize, tap: usize, taps: usize) -> T {
        let tap = if self.flipped { taps - 1 - tap } else { tap };
        self.data[output * self.outputs + input * self.inputs + tap]
    }
}

/// Whether this is the faster way.
pub(crate) fn fits(g: &Geometry) -> bool {
    g.kernel == (3, 3) && g.stride == 1 && g.groups == 1 && g.inputs >= 16 && g.outputs >= 12 && g.pixels() >= 16
}

/// How the image is divided among tasks; depends on the sizes alone.
#[derive(Clone, Copy)]
struct Plan {
    /// Tiles of a block, down and across.
    block: (usize, usize),
    /// Interleaved images of a block.
    phases: usize,
    /// Blocks of an interleaved image, down and across.
    blocks: (usize, usize),
    /// Groups of interleaved images.
    groups: usize,
    /// Parts that the outputs are divided into.
    splits: usize,
    /// Elements from one tile to the next among the transformed pixels.
    stride: usize,
}

impl Plan {
    fn new(g: &Geometry, panels: Panels) -> Self {
        let d = g.dilation;
        let tiles = (g.out.0.div_ceil(d).div_ceil(4), g.out.1.div_ceil(d).div_ceil(4));
        let total = g.batch * d * d * tiles.0 * tiles.1;
        let most = (16_000 / g.inputs).clamp(16, 64).min((total / 8).max(16));
        // with dilation, the d interleaved images of the same rows together: they lie in the same cache lines
        let across = tiles.1.min((most / d).clamp(4, 16));
        let down = tiles.0.min((most / (across * d)).max(1));
        let whole = (down, across) == tiles;
        let phases = if whole { (most / (down * across) / d).clamp(1, d) * d } else { d };
        let blocks = (tiles.0.div_ceil(down), tiles.1.div_ceil(across));
        let groups = (d * d).div_ceil(phases);
        let tasks = g.batch * groups * blocks.0 * blocks.1;
        let splits = 16usize.div_ceil(tasks).min(panels.count().div_ceil(2)).max(1);
        let channels = g.inputs.next_multiple_of(panels.lanes);
        // rows a multiple of 512 bytes apart would meet in few sets of the cache
        let stride = if channels.is_multiple_of(128) { channels + panels.lanes } else { channels };
        Self { block: (down, across), phases, blocks, groups, splits, stride }
    }

    fn tiles(&self) -> usize {
        self.block.0 * self.block.1 * self.phases
    }

    /// Elements of scratch memory: pixels, transformed pixels, products, outputs.
    fn scratch(&self, g: &Geometry, layout: Layout, panels: Panels) -> [usize; 4] {
        let (down, across) = self.block;
        [
            (4 * down + 2) * (4 * across + 2) * g.inputs.next_multiple_of(panels.lanes),
            36 * self.tiles() * self.stride,
            36 * self.tiles() * 2 * panels.lanes,
            if layout == Layout::Nchw { 16 * down * across * 2 * panels.lanes } else { 0 },
        ]
    }
}

/// The convolution of an image in either layout; every element of `y` is written.
pub(crate) fn forward<T: Vector>(
    x: &[T],
    w: Weights<'_, T>,
    tail: &TailData<'_, T>,
    g: Geometry,
    layout: Layout,
    y: &mut [T],
) {
    let panels = Panels::new::<T>(g.outputs);
    let plan = Plan::new(&g, panels);
    let u = transform_weights(w, g.inputs, panels);
    let shared = Shared::new(y);
    let tasks = g.batch * plan.groups * plan.blocks.0 * plan.blocks.1 * plan.splits;
    (0..tasks).into_par_iter().for_each(|task| {
        let sizes = plan.scratch(&g, layout, panels);
        with_scratch(sizes.iter().sum(), |scratch| {
            run(Block { x, u: &u, tail, g: &g, layout, panels, plan, y: shared, task, scratch });
        });
    });
    if g.dilation > 1 && layout == Layout::Nhwc {
        tail.whole(y, g.outputs);
    }
}

/// The weights at the 36 points: for each panel 36 matrices `[inputs, panel]`.
fn transform_weights<T: Vector>(w: Weights<'_, T>, inputs: usize, panels: Panels) -> Vec<T> {
    let chunks = inputs.div_ceil(CHUNK);
    // SAFETY: the tasks write every element and read none.
    unsafe {
        written(36 * panels.size(inputs), |u| {
            let u = Shared::new(u);
            (0..panels.count() * chunks).into_par_iter().for_each(|task| {
                run(WeightTask { w, inputs, panels, panel: task / chunks, first: task % chunks * CHUNK, u });
            });
        })
    }
}

struct WeightTask<'a, T> {
    w: Weights<'a, T>,
    inputs: usize,
    panels: Panels,
    panel: usize,
    first: usize,
    u: Shared<'a, T>,
}

impl<T: Vector> WithSimd for WeightTask<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let lanes = T::lanes::<S>();
        let (start, len, vectors) =
            (self.panels.start(self.panel), self.panels.len(self.panel), self.panels.vectors(self.panel));
        let base = 36 * self.inputs * start;
        for c in self.first..(self.first + CHUNK).min(self.inputs) {
            for v in 0..vectors {
                let mut taps = [[T::ZERO; 16]; 9];
                for lane in 0..lanes.min(len - v * lanes) {
                    for (k, tap) in taps.iter_mut().enumerate() {
                        tap[lane] = self.w.at(start + v * lanes + lane, c, k, 9);
                    }
                }
                // SAFETY: no vector has more than 16 elements.
                let g: [T::V<S>; 9] = std::array::from_fn(
                    #[inline(always)]
                    |k| unsafe { load(s, taps[k].as_ptr()) },
                );
                let mut down = [[g[0]; 3]; 6];
                for j in 0..3 {
                    for (i, v) in weights::<S, T>(s, [g[j], g[3 + j], g[6 + j]]).into_iter().enumerate() {
                        down[i][j] = v;
                    }
                }
                for (i, down) in down.iter().enumerate() {
                    for (j, value) in weights::<S, T>(s, *down).into_iter().enumerate() {
                        let at = base + (((i * 6 + j) * self.inputs + c) * vectors + v) * lanes;
                        // SAFETY: tasks differ in panel or channels.
                        unsafe { store(s, self.u.part(at, lanes).as_mut_ptr(), value) };
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn k<S: Simd, T: Vector>(s: S, x: f64) -> T::V<S> {
    T::splat(s, T::of(x))
}

/// `x p + y q`.
#[inline(always)]
fn mix<S: Simd, T: Vector>(s: S, x: T::V<S>, p: f64, y: T::V<S>, q: f64) -> T::V<S> {
    T::multiply_add(s, x, k::<S, T>(s, p), T::times(s, y, k::<S, T>(s, q)))
}

/// Three weights at the six points.
#[inline(always)]
fn weights<S: Simd, T: Vector>(s: S, [g0, g1, g2]: [T::V<S>; 3]) -> [T::V<S>; 6] {
    let (fa, fb) = (1. / (2. * A * A * (A * A - B * B)), 1. / (2. * B * B * (B * B - A * A)));
    let (ea, oa) = (mix::<S, T>(s, g2, A * A * fa, g0, fa), T::times(s, g1, k::<S, T>(s, A * fa)));
    let (eb, ob) = (mix::<S, T>(s, g2, B * B * fb, g0, fb), T::times(s, g1, k::<S, T>(s, B * fb)));
    [g0, T::plus(s, ea, oa), T::minus(s, ea, oa), T::plus(s, eb, ob), T::minus(s, eb, ob), g2]
}

/// Six pixels at the six points.
#[inline(always)]
fn pixels<S: Simd, T: Vector>(s: S, d: [T::V<S>; 6]) -> [T::V<S>; 6] {
    // A B = 1
    let both = k::<S, T>(s, -(A * A + B * B));
    let (nb, na) = (k::<S, T>(s, -B * B), k::<S, T>(s, -A * A));
    let (ea, eb) = (T::multiply_add(s, d[2], nb, d[4]), T::multiply_add(s, d[2], na, d[4]));
    let oa = T::times(s, k::<S, T>(s, A), T::multiply_add(s, d[1], nb, d[3]));
    let ob = T::times(s, k::<S, T>(s, B), T::multiply_add(s, d[1], na, d[3]));
    [
        T::multiply_add(s, d[2], both, T::plus(s, d[0], d[4])),
        T::plus(s, ea, oa),
        T::minus(s, ea, oa),
        T::plus(s, eb, ob),
        T::minus(s, eb, ob),
        T::multiply_add(s, d[3], both, T::plus(s, d[1], d[5])),
    ]
}

/// Four output pixels from six products.
#[inline(always)]
fn outputs<S: Simd, T: Vector>(s: S, m: [T::V<S>; 6]) -> [T::V<S>; 4] {
    let (sa, da) = (T::plus(s, m[1], m[2]), T::minus(s, m[1], m[2]));
    let (sb, db) = (T::plus(s, m[3], m[4]), T::minus(s, m[3], m[4]));
    [
        T::plus(s, m[0], T::plus(s, sa, sb)),
        mix::<S, T>(s, da, A, db, B),
        mix::<S, T>(s, sa, A * A, sb, B * B),
        T::plus(s, m[5], mix::<S, T>(s, da, A * A * A, db, B * B * B)),
    ]
}

struct Block<'a, T> {
    x: &'a [T],
    u: &'a [T],
    tail: &'a TailData<'a, T>,
    g: &'a Geometry,
    layout: Layout,
    panels: Panels,
    plan: Plan,
    y: Shared<'a, T>,
    task: usize,
    scratch: &'a mut [T],
}

/// The output pixels of a block in one interleaved image: `rows` × `columns` of them, `step` apart, from `top`, `left` on.
#[derive(Clone, Copy)]
struct Rectangle {
    top: usize,
    left: usize,
    rows: usize,
    columns: usize,
}

impl<T: Vector> WithSimd for Block<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        let scratch = std::mem::take(&mut self.scratch);
        let (g, plan) = (self.g, self.plan);
        let (block, split) = (self.task / plan.splits, self.task % plan.splits);
        let (block, bx) = (block / plan.blocks.1, block % plan.blocks.1);
        let (block, by) = (block / plan.blocks.0, block % plan.blocks.0);
        let (image, group) = (block / plan.groups, block % plan.groups);
        let (down, across) = plan.block;
        let tiles = plan.tiles();
        let channels = g.inputs.next_multiple_of(self.panels.lanes);
        let sizes = plan.scratch(g, self.layout, self.panels);
        let d = g.dilation;
        let rectangle = |phase: usize| {
            let (top, left) = (phase / d + 4 * by * down * d, phase % d + 4 * bx * across * d);
            let part = |from: usize, to: usize, most: usize| to.saturating_sub(from).div_ceil(d).min(4 * most);
            Rectangle { top, left, rows: part(top, g.out.0, down), columns: part(left, g.out.1, across) }
        };
        let phases = group * plan.phases..((group + 1) * plan.phases).min(d * d);
        {
            let (region, scratch) = scratch.split_at_mut(sizes[0]);
            let (v, scratch) = scratch.split_at_mut(sizes[1]);
            let (m, out) = scratch.split_at_mut(sizes[2]);
            let plane = g.input.0 * g.input.1 * g.inputs;
            let source = Image {
                data: &self.x[image * plane..][..plane],
                layout: self.layout,
                size: g.input,
                channels: g.inputs,
            };
            for (i, phase) in phases.clone().enumerate() {
                let r = rectangle(phase);
                let at = Region {
                    top: r.top as isize - g.padding as isize,
                    left: r.left as isize - g.padding as isize,
                    rows: 4 * down + 2,
                    columns: 4 * across + 2,
                    step: d,
                    first: 0,
                    channels: g.inputs,
                };
                source.copy(at, channels, region);
                transform(s, region, plan, channels, i * down * across, v);
            }
            let count = self.panels.count();
            for p in split * count / plan.splits..(split + 1) * count / plan.splits {
                let vectors = self.panels.vectors(p);
                let step = vectors * self.panels.lanes;
                let u = &self.u[36 * g.inputs * self.panels.start(p)..][..36 * g.inputs * step];
                for point in 0..36 {
                    let product = Panel {
                        m: phases.len() * down * across,
                        k: g.inputs,
                        runs: WHOLE,
                        a: v[point * tiles * plan.stride..].as_ptr(),
                        rows: plan.stride,
                        columns: 1,
                        b: u[point * g.inputs * step..].as_ptr(),
                        step,
                        c: m[point * tiles * step..].as_mut_ptr(),
                        stride: step,
                        n: step,
                        sum: false,
                    };
                    // SAFETY: `v` has for each point `tiles` rows of at least `inputs` elements, `m` has `tiles` rows of `step`, and the panel has
                    // `inputs` rows of `step`, as sized above.
                    unsafe { product.run(s) };
                }
                for (i, phase) in phases.clone().enumerate() {
                    let r = rectangle(phase);
                    if r.rows > 0 && r.columns > 0 {
                        self.finish(s, image, r, p, &m[i * down * across * step..], out);
                    }
                }
            }
            if self.layout == Layout::Nhwc && d == 1 {
                self.tail_pixels(image, rectangle(0), split);
            }
        }
    }
}

/// The pixels of a block at the 36 points, to `v`: for each point `[tiles, stride]`, from tile `first` on.
#[inline(always)]
fn transform<S: Simd, T: Vector>(s: S, region: &[T], plan: Plan, channels: usize, first: usize, v: &mut [T]) {
    let lanes = T::lanes::<S>();
    let (down, across) = plan.block;
    let row = (4 * across + 2) * channels;
    let point = plan.tiles() * plan.stride;
    assert!(region.len() >= (4 * down + 2) * row && v.len() >= 36 * point);
    assert!(first + down * across <= plan.tiles() && channels <= plan.stride);
    for ty in 0..down {
        for tx in 0..across {
            let tile = first + ty * across + tx;
            for c in (0..channels).step_by(lanes) {
                // SAFETY: the tile's 6 × 6 pixels lie in the region, its rows in `v`, as asserted.
                unsafe {
                    let x = region.as_ptr().add(4 * ty * row + 4 * tx * channels + c);
                    let mut half = [[T::splat(s, T::ZERO); 6]; 6];
                    for (i, half) in half.iter_mut().enumerate() {
                        let x = x.add(i * row);
                        *half = pixels::<S, T>(
                            s,
                            std::array::from_fn(
                                #[inline(always)]
                                |j| load(s, x.add(j * channels)),
                            ),
                        );
                    }
                    let y = v.as_mut_ptr().add(tile * plan.stride + c);
                    for j in 0..6 {
                        let column = pixels::<S, T>(
                            s,
                            std::array::from_fn(
                                #[inline(always)]
                                |i| half[i][j],
                            ),
                        );
                        for (i, value) in column.into_iter().enumerate() {
                            store(s, y.add((i * 6 + j) * point), value);
                        }
                    }
                }
            }
        }
    }
}

impl<T: Vector> Block<'_, T> {
    /// Element of the output's pixel and channel.
    #[inline(always)]
    fn place(&self, image: usize, y: usize, x: usize, channel: usize) -> usize {
        let (h, w) = self.g.out;
        match self.layout {
            Layout::Nhwc => ((image * h + y) * w + x) * self.g.outputs + channel,
            Layout::Nchw => ((image * self.g.outputs + channel) * h + y) * w + x,
        }
    }

    /// Transforms the products of one panel back and writes them.
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, image: usize, r: Rectangle, p: usize, m: &[T], out: &mut [T]) {
        let lanes = T::lanes::<S>();
        let (down, across) = self.plan.block;
        let d = self.g.dilation;
        let step = self.panels.vectors(p) * lanes;
        let (channel, width) = (self.panels.start(p), self.panels.len(p));
        let point = self.plan.tiles() * step;
        assert!(m.len() >= 35 * point + down * across * step);
        assert!(self.layout == Layout::Nhwc || out.len() >= 16 * down * across * step);
        for ty in 0..down.min(r.rows.div_ceil(4)) {
            for tx in 0..across.min(r.columns.div_ceil(4)) {
                for v in 0..step / lanes {
                    let mut half = [[T::splat(s, T::ZERO); 4]; 6];
                    let m = m[(ty * across + tx) * step + v * lanes..].as_ptr();
                    for (i, half) in half.iter_mut().enumerate() {
                        // SAFETY: the tile's products lie in `m`, as asserted.
                        *half = outputs::<S, T>(
                            s,
                            std::array::from_fn(
                                #[inline(always)]
                                |j| unsafe { load(s, m.add((i * 6 + j) * point)) },
                            ),
                        );
                    }
                    for j in 0..4 {
                        let column = outputs::<S, T>(
                            s,
                            std::array::from_fn(
                                #[inline(always)]
                                |i| half[i][j],
                            ),
                        );
                        for (i, value) in column.into_iter().enumerate() {
                            let (y, x) = (4 * ty + i, 4 * tx + j);
                            if self.layout == Layout::Nchw {
                                // SAFETY: `out` has 16 pixels of `step` elements for each tile, as asserted.
                                unsafe {
                                    let at = (y * 4 * across + x) * step + v * lanes;
                                    store(s, out.as_mut_ptr().add(at), value);
                                }
                            } else if y < r.rows && x < r.columns {
                                let n = lanes.min(width - v * lanes);
                                let at = self.place(image, r.top + y * d, r.left + x * d, channel + v * lanes);
                                // SAFETY: tasks differ in pixels or panels.
                                let y = unsafe { self.y.part(at, n) };
                                if n == lanes {
                                    // SAFETY: a whole vector.
                                    unsafe { store(s, y.as_mut_ptr(), value) };
                                } else {
                                    T::store_part(s, y, value);
                                }
                            }
                        }
                    }
                }
            }
        }
        if self.layout == Layout::Nhwc {
            return;
        }
        let row = 4 * across * step;
        for (y, out) in out.chunks_exact_mut(row).enumerate().take(r.rows) {
            self.tail.pixels_but_residual(&mut out[..r.columns * step], step, channel, width);
            let at = self.place(image, r.top + y * d, r.left, channel);
            let plane = self.g.pixels();
            // SAFETY: tasks differ in pixels or panels; with dilation, elements between these belong to others and are not touched.
            unsafe {
                if d == 1 {
                    self.y.turned((r.columns, width), out, step, at, plane);
                    for c in 0..width {
                        self.tail.residual(self.y.part(at + c * plane, r.columns), at + c * plane);
                    }
                } else {
                    // no block is wider than 16 tiles
                    let mut rows = [T::ZERO; 4 * 64];
                    for c in (0..width).step_by(4) {
                        let channels = (width - c).min(4);
                        turn((r.columns, channels), &out[c..], step, &mut rows, 64);
                        for (i, row) in rows.chunks_exact_mut(64).enumerate().take(channels) {
                            let at = at + (c + i) * plane;
                            self.tail.residual_apart(&mut row[..r.columns], at, d);
                            self.y.spread(&row[..r.columns], at, d);
                        }
                    }
                }
            }
        }
    }

    /// Bias and epilogue of the panels of one part, channels last.
    fn tail_pixels(&self, image: usize, r: Rectangle, split: usize) {
        let count = self.panels.count();
        let bound = |i: usize| self.panels.start(i * count / self.plan.splits).min(self.g.outputs);
        let (first, width) = (bound(split), bound(split + 1) - bound(split));
        for y in 0..r.rows {
            // whole rows in one piece, parts of rows one by one
            let (pieces, length) = if width == self.g.outputs { (1, r.columns * width) } else { (r.columns, width) };
            for x in 0..pieces {
                let at = self.place(image, r.top + y, r.left + x, first);
                // SAFETY: what this task has written.
                let part = unsafe { self.y.part(at, length) };
                self.tail.across_channels(part, first, width, at);
            }
        }
    }
}
