//! Convolution of channels-last images as products without patches, and transposed convolution whose taps do not overlap.
//!
//! The taps of a pixel in one row of the kernel stand side by side in a channels-last image, so the product reads its rows from the image in runs
//! of `kw * C` (with dilation, `C`) numbers, a row `stride * C` after the other. Only a border of zeros makes a copy necessary: a task copies the
//! rectangle that it needs, and takes a few rows of up to 128 output pixels and all outputs. A transposed convolution with kernel = stride gives each
//! input pixel `kw * O` adjacent numbers in each of `kh` output rows: that is a product with rows of the output as they stand.
#![allow(unsafe_code)]

use super::conv_tile::{Out, Rows, panel};
use super::lanes::{Lanes, Panels, run, with_scratch};
use super::matrix::Shared;
use super::patches::Geometry;
use super::region::{Image, Region};
use super::tail::TailData;
use crate::Layout;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Output pixels of a row in a task.
const COLUMNS: usize = 128;
/// Elements of the copied rectangle, about.
const COPY: usize = 1 << 16;

/// A row of tiles, compiled for this processor.
struct Product<'a, T> {
    n: usize,
    rows: Rows<'a, T>,
    weights: &'a [T],
    panels: Panels,
    depth: usize,
    y: Out<T>,
}

impl<T: Lanes> WithSimd for Product<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        for p in 0..self.panels.count() {
            let start = self.panels.start(p);
            let w = self.weights[self.depth * start..].as_ptr();
            let y = Out { start: self.y.start.wrapping_add(start), stride: self.y.stride, width: self.panels.len(p) };
            // SAFETY: as whoever made this has seen to; the weights are packed so.
            unsafe { panel::<S, T>(s, self.n, self.rows, w, self.panels.vectors(p), y) };
        }
    }
}

/// `y = conv(x)` with the tail; every element of `y` is written.
pub(crate) fn forward<T: Lanes>(x: &[T], w: &[T], tail: &TailData<'_, T>, g: Geometry, y: &mut [T]) {
    let (gi, go) = (g.inputs / g.groups, g.outputs / g.groups);
    let (kh, kw) = g.kernel;
    let taps = kh * kw;
    let depth = gi * taps;
    let panels = Panels::new::<T>(go);
    let weights: Vec<Vec<T>> = (0..g.groups)
        .map(|group| {
            panels.pack(depth, |k, o| {
                let (tap, c) = (k / gi, k % gi);
                w[((group * go + o) * gi + c) * taps + tap]
            })
        })
        .collect();
    let columns = g.out.1.min(COLUMNS);
    let across = g.out.1.div_ceil(columns);
    let reach = |n: usize, k: usize| (n - 1) * g.stride + (k - 1) * g.dilation + 1;
    let wide = reach(columns, kw);
    let rows = (COPY / (wide * gi * g.stride)).saturating_sub(kh * g.dilation).clamp(1, 16);
    let rows = rows.min((g.batch * g.out.0 * across).div_ceil(32)).max(1);
    let down = g.out.0.div_ceil(rows);
    let image = g.input.0 * g.input.1 * g.inputs;
    let direct = g.padding == 0 && g.groups == 1;
    let row = if direct { g.input.1 * gi } else { wide * gi };
    let runs: Vec<usize> = if g.dilation == 1 {
        (0..kh).map(|ty| ty * row).collect()
    } else {
        (0..taps).map(|t| t / kw * g.dilation * row + t % kw * g.dilation * gi).collect()
    };
    let len = depth / runs.len();
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
                    + runs.last().copied().unwrap_or(0)
                    + len;
                assert!(last <= from.len());
                for i in 0..rows {
                    let start = from[i * g.stride * row..].as_ptr();
                    let read = Rows { start, stride: g.stride * gi, runs: &runs, len };
                    // SAFETY: tasks differ in pixels, groups in channels; the rows' numbers are there, as asserted.
                    let y = unsafe { shared.part(place(i) + group * go, (columns - 1) * g.outputs + go) };
                    let y = Out { start: y.as_mut_ptr(), stride: g.outputs, width: go };
                    run(Product { n: columns, rows: read, weights, panels, depth, y });
                }
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
pub(crate) fn transposed<T: Lanes>(x: &[T], w: &[T], tail: &TailData<'_, T>, g: Geometry, layout: Layout, y: &mut [T]) {
    let (kh, kw) = g.kernel;
    let (inputs, outputs, (h, width)) = (g.outputs, g.inputs, g.out);
    let numbers = kw * outputs;
    let panels = Panels::new::<T>(numbers);
    let weights: Vec<Vec<T>> = (0..kh)
        .into_par_iter()
        .map(|ty| panels.pack(inputs, |c, j| w[((c * outputs + j % outputs) * kh + ty) * kw + j / outputs]))
        .collect();
    let shared = Shared::new(y);
    let (runs, len) = ([0], inputs);
    let product = |x: &[T], weights: &[T], y: &mut [T]| {
        assert!(x.len() >= width * inputs && y.len() >= width * numbers);
        let rows = Rows { start: x.as_ptr(), stride: inputs, runs: &runs, len };
        let y = Out { start: y.as_mut_ptr(), stride: numbers, width: numbers };
        run(Product { n: width, rows, weights, panels, depth: inputs, y });
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
