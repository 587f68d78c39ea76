//! Convolution of channels-last images as products without patches, and transposed convolution whose taps do not overlap.
//!
//! The taps of a pixel in one row of the kernel stand side by side in a channels-last image, so the product reads its rows from the image in runs
//! of `kw * C` (with dilation, `C`) numbers, a row `stride * C` after the other. Only a border of zeros makes a copy necessary: a task copies the
//! rectangle that it needs, and takes a few rows of up to 128 output pixels and all outputs. A transposed convolution with kernel = stride gives each
//! input pixel `kw * O` adjacent numbers in each of `kh` output rows: that is a product with rows of the output as they stand.
#![allow(unsafe_code)]

use super::matrix::Shared;
use super::panels::Panels;
use super::patches::Geometry;
use super::processor::run;
use super::region::{Image, Region};
use super::scratch::with_scratch;
use super::tail::TailData;
use super::tile::Panel;
use super::turn::turn;
use super::vector::Vector;
use crate::Layout;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Output pixels of a row in a task.
const COLUMNS: usize = 128;
/// Elements of the copied rectangle, about.
const COPY: usize = 1 << 16;
/// Elements of the rectangle that a task reads where it lies, about: in the second-level cache beside a panel of weights.
const READ: usize = 3 << 15;

/// Rows of output pixels times all panels, compiled for this processor.
struct Product<'a, T> {
    /// Pixels of a row, and rows.
    n: usize,
    count: usize,
    /// Elements between the rows, and between pixels, of the input and of the output.
    rows: (usize, usize),
    pixels: (usize, usize),
    x: *const T,
    y: *mut T,
    /// Where the runs of a pixel's numbers and of their weights begin, for panels of one vector and of two; how many numbers each has.
    runs: &'a [Vec<(usize, usize)>; 2],
    len: usize,
    weights: &'a [T],
    panels: Panels,
}

impl<T: Vector> WithSimd for Product<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let depth = self.runs[0].len() * self.len;
        for p in 0..self.panels.count() {
            let start = self.panels.start(p);
            let (b, vectors) = (self.weights[depth * start..].as_ptr(), self.panels.vectors(p));
            for i in 0..self.count {
                let product = Panel {
                    m: self.n,
                    k: self.len,
                    runs: &self.runs[vectors - 1],
                    a: self.x.wrapping_add(i * self.rows.0),
                    rows: self.pixels.0,
                    columns: 1,
                    b,
                    step: vectors * T::lanes::<S>(),
                    c: self.y.wrapping_add(i * self.rows.1 + start),
                    stride: self.pixels.1,
                    n: self.panels.len(p),
                    sum: false,
                };
                // SAFETY: as whoever made this has seen to; the weights are packed so.
                unsafe { product.run(s) };
            }
        }
    }
}

/// The `runs` of a [`Product`], given where a pixel's begin.
fn runs_of(starts: &[usize], len: usize, lanes: usize) -> [Vec<(usize, usize)>; 2] {
    [1, 2].map(|vectors| starts.iter().enumerate().map(|(i, &start)| (start, i * len * vectors * lanes)).collect())
}

/// `[O, inputs, taps]` as panels whose rows are (tap, input).
fn pack<T: Vector>(panels: Panels, w: &[T], inputs: usize, taps: usize) -> Vec<T> {
    let depth = inputs * taps;
    panels.pack_by(depth, |first, width, step, to| {
        for c in 0..inputs {
            turn((width, taps), &w[first * depth + c * taps..], depth, &mut to[c * step..], inputs * step);
        }
    })
}

/// `y = conv(x)` with the tail; every element of `y` is written.
pub(crate) fn forward<T: Vector>(x: &[T], w: &[T], tail: &TailData<'_, T>, g: Geometry, y: &mut [T]) {
    let (gi, go) = (g.inputs / g.groups, g.outputs / g.groups);
    let (kh, kw) = g.kernel;
    let taps = kh * kw;
    let depth = gi * taps;
    let panels = Panels::new::<T>(go);
    let weights: Vec<Vec<T>> =
        (0..g.groups).map(|group| pack(panels, &w[group * go * depth..][..go * depth], gi, taps)).collect();
    let columns = g.out.1.min(COLUMNS);
    let across = g.out.1.div_ceil(columns);
    let reach = |n: usize, k: usize| (n - 1) * g.stride + (k - 1) * g.dilation + 1;
    let wide = reach(columns, kw);
    let direct = g.padding == 0 && g.groups == 1;
    // of the rows that are copied as many as need little room, of those that are read where they lie as many as make a panel of weights worth its way
    let rows = if direct {
        (READ / (wide * gi)).saturating_sub(reach(1, kh)) / g.stride + 1
    } else {
        (COPY / (wide * gi * g.stride)).saturating_sub(kh * g.dilation)
    };
    let rows = rows.clamp(1, 16);
    let rows = rows.min((g.batch * g.out.0 * across).div_ceil(32)).max(1);
    let down = g.out.0.div_ceil(rows);
    let image = g.input.0 * g.input.1 * g.inputs;
    let row = if direct { g.input.1 * gi } else { wide * gi };
    let starts: Vec<usize> = if g.dilation == 1 {
        (0..kh).map(|ty| ty * row).collect()
    } else {
        (0..taps).map(|t| t / kw * g.dilation * row + t % kw * g.dilation * gi).collect()
    };
    let len = depth / starts.len();
    let runs = runs_of(&starts, len, panels.lanes);
    let shared = Shared::new(y);
    (0..g.batch * down * across).into_par_iter().for_each(|task| {
        let (b, top, left) = (task / across / down, task / across % down * rows, task % across * columns);
        let (rows, columns) = (rows.min(g.out.0 - top), columns.min(g.out.1 - left));
        let x = &x[b * image..][..image];
        let source = Image { data: x, layout: Layout::Nhwc, size: g.input, channels: g.inputs };
        let place = |i: usize| ((b * g.out.0 + top + i) * g.out.1 + left) * g.outputs;
        let high = reach(rows, kh);
        let copy = if direct { 0 } else { high * wide * gi };
        with_scratch(copy, |scratch: &mut [T]| {
            for (group, weights) in weights.iter().enumerate() {
                let from = if direct {
                    &x[(top * g.input.1 + left) * g.stride * gi..]
                } else {
                    let at = |i: usize| (i * g.stride) as isize - g.padding as isize;
                    let (top, left) = (at(top), at(left));
                    let r = Region { top, left, rows: high, columns: wide, step: 1, first: group * gi, channels: gi };
                    source.copy(r, gi, scratch);
                    &*scratch
                };
                // the last number that the product reads
                let last = (rows - 1) * g.stride * row
                    + (columns - 1) * g.stride * gi
                    + starts.last().copied().unwrap_or(0)
                    + len;
                assert!(last <= from.len());
                assert!(place(rows - 1) + (columns - 1) * g.outputs + (group + 1) * go <= shared.len());
                run(Product {
                    n: columns,
                    count: rows,
                    rows: (g.stride * row, g.out.1 * g.outputs),
                    pixels: (g.stride * gi, g.outputs),
                    x: from.as_ptr(),
                    // tasks differ in pixels, groups in channels; all of them inside, as asserted
                    y: shared.start().wrapping_add(place(0) + group * go),
                    runs: &runs,
                    len,
                    weights,
                    panels,
                });
            }
            for i in 0..rows {
                // SAFETY: what this task has written.
                let y = unsafe { shared.part(place(i), columns * g.outputs) };
                tail.across_channels(y, 0, g.outputs, place(i));
            }
        });
    });
}

/// A transposed convolution whose kernel is its stride, without padding: `g` is that of the convolution that it transposes (its input the larger
/// image). Every element of `y` is written.
pub(crate) fn transposed<T: Vector>(
    x: &[T],
    w: &[T],
    tail: &TailData<'_, T>,
    g: Geometry,
    layout: Layout,
    y: &mut [T],
) {
    let (kh, kw) = g.kernel;
    let (inputs, outputs, (h, width)) = (g.outputs, g.inputs, g.out);
    let numbers = kw * outputs;
    let panels = Panels::new::<T>(numbers);
    let weights: Vec<Vec<T>> = (0..kh)
        .into_par_iter()
        .map(|ty| panels.pack(inputs, |c, j| w[((c * outputs + j % outputs) * kh + ty) * kw + j / outputs]))
        .collect();
    let shared = Shared::new(y);
    let runs = runs_of(&[0], inputs, panels.lanes);
    let product = |x: &[T], weights: &[T], y: &mut [T]| {
        assert!(x.len() >= width * inputs && y.len() >= width * numbers);
        run(Product {
            n: width,
            count: 1,
            rows: (0, 0),
            pixels: (inputs, numbers),
            x: x.as_ptr(),
            y: y.as_mut_ptr(),
            runs: &runs,
            len: inputs,
            weights,
            panels,
        });
    };
    (0..g.batch * h).into_par_iter().for_each(|task| {
        let (b, row) = (task / h, task % h);
        if layout == Layout::Nhwc {
            let x = &x[task * width * inputs..][..width * inputs];
            for (ty, weights) in weights.iter().enumerate() {
                let at = (task * kh + ty) * width * numbers;
                // SAFETY: tasks have output rows of their own.
                let y = unsafe { shared.part(at, width * numbers) };
                product(x, weights, y);
                tail.across_channels(y, 0, outputs, at);
            }
            return;
        }
        let plane = h * width;
        let source =
            Image { data: &x[b * inputs * plane..][..inputs * plane], layout, size: (h, width), channels: inputs };
        with_scratch(width * (inputs + numbers), |scratch: &mut [T]| {
            let (x, out) = scratch.split_at_mut(width * inputs);
            let r = Region { top: row as isize, left: 0, rows: 1, columns: width, step: 1, first: 0, channels: inputs };
            source.copy(r, inputs, x);
            for (ty, weights) in weights.iter().enumerate() {
                product(x, weights, out);
                for o in 0..outputs {
                    let at = ((b * outputs + o) * h * kh + row * kh + ty) * width * kw;
                    // SAFETY: tasks have output rows of their own.
                    let y = unsafe { shared.part(at, width * kw) };
                    for (y, out) in y.chunks_exact_mut(kw).zip(out.chunks_exact(numbers)) {
                        for (y, out) in y.iter_mut().zip(out[o..].iter().step_by(outputs)) {
                            *y = *out;
                        }
                    }
                    tail.along_pixels(y, o, at);
                }
            }
        });
    });
}
