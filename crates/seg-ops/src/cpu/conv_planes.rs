//! Direct convolution of channels-first images: vectors over the pixels of an output row.
//!
//! A task takes a few rows of up to 256 output pixels. It copies what they read, zeros around it, into scratch memory; with stride s every s-th
//! column next to each other, so that all taps become vector loads at fixed offsets. Then 8 outputs × 3 vectors of pixels stay in registers (with 16
//! registers 4 × 3) while all channels and taps pass. No patches are built, and an image of few channels is read about once.
#![allow(unsafe_code)]

use super::matrix::Shared;
use super::patches::Geometry;
use super::processor::{lanes, many_registers, run};
use super::region::inside;
use super::scratch::with_scratch;
use super::tail::TailData;
use super::tile::Panel;
use super::vector::Vector;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Output pixels of a row in a task.
const COLUMNS: usize = 256;
/// Elements of the copied rectangle, about.
const COPY: usize = 1 << 16;

/// Weights that stay in the first-level cache beside what they are multiplied with.
const FEW: usize = 4096;

/// What a task copies: `rows` rows of `stride` interleaved parts of `width` columns for each channel.
#[derive(Clone, Copy)]
struct Copy {
    rows: usize,
    parts: usize,
    width: usize,
}

impl Copy {
    fn row(&self) -> usize {
        self.parts * self.width
    }

    fn size(&self, channels: usize) -> usize {
        channels * self.rows * self.row()
    }

    /// From the planes of a group, whose first pixel is (`top`, `left`).
    fn fill<T: Vector>(&self, x: &[T], (h, w): (usize, usize), (top, left): (isize, isize), out: &mut [T]) {
        let (up, down) = inside(top, 1, self.rows, h);
        for (x, out) in x.chunks_exact(h * w).zip(out.chunks_exact_mut(self.rows * self.row())) {
            for (i, out) in out.chunks_exact_mut(self.row()).enumerate() {
                if i < up || i >= down {
                    out.fill(T::ZERO);
                    continue;
                }
                let x = &x[(top + i as isize) as usize * w..][..w];
                for (part, out) in out.chunks_exact_mut(self.width).enumerate() {
                    let start = left + part as isize;
                    let (a, b) = inside(start, self.parts, self.width, w);
                    out[..a].fill(T::ZERO);
                    out[b..].fill(T::ZERO);
                    if a == b {
                        continue;
                    }
                    let x = &x[(start + (a * self.parts) as isize) as usize..];
                    if self.parts == 1 {
                        out[a..b].copy_from_slice(&x[..b - a]);
                    } else {
                        for (out, &x) in out[a..b].iter_mut().zip(x.iter().step_by(self.parts)) {
                            *out = x;
                        }
                    }
                }
            }
        }
    }
}

/// `y = conv(x)` with the tail; every element of `y` is written.
pub(crate) fn forward<T: Vector>(x: &[T], w: &[T], tail: &TailData<'_, T>, g: Geometry, y: &mut [T]) {
    let (gi, go) = (g.inputs / g.groups, g.outputs / g.groups);
    let (kh, kw) = g.kernel;
    let (depth, pixels, plane) = (g.depth(), g.pixels(), g.input.0 * g.input.1);
    // all outputs' weights side by side as long as they stay in the first-level cache, else those of a tile
    let together = if depth * go <= FEW { go } else { go.min(if many_registers() { 8 } else { 4 }) };
    let parts = go.div_ceil(together);
    // for each group's part of the outputs: depth × together
    let weights: Vec<T> = (0..g.groups * parts)
        .flat_map(|i| {
            let (group, first) = (i / parts, i % parts * together);
            (0..depth * together).map(move |j| {
                let (k, o) = (j / together, first + j % together);
                if o < go { w[(group * go + o) * depth + k] } else { T::ZERO }
            })
        })
        .collect();
    let lanes = lanes::<T>();
    let columns = g.out.1.min(COLUMNS);
    let across = g.out.1.div_ceil(columns);
    let reach = (kw - 1) * g.dilation / g.stride;
    let width = columns.next_multiple_of(lanes) + reach;
    let rows = (COPY / (gi * g.stride * g.stride * width)).saturating_sub((kh - 1) * g.dilation).clamp(1, 16);
    let rows = rows.min((g.batch * g.groups * g.out.0 * across).div_ceil(32)).max(1);
    let down = g.out.0.div_ceil(rows);
    let copy = Copy { rows: (rows - 1) * g.stride + (kh - 1) * g.dilation + 1, parts: g.stride, width };
    let runs: Vec<(usize, usize)> = (0..depth)
        .map(|k| {
            let (c, ty, tx) = (k / (kh * kw), k / kw % kh * g.dilation, k % kw * g.dilation);
            (k * together, (c * copy.rows + ty) * copy.row() + tx % g.stride * width + tx / g.stride)
        })
        .collect();
    let shared = Shared::new(y);
    (0..g.batch * g.groups * down * across).into_par_iter().for_each(|task| {
        let (group, block) = (task / (down * across), task % (down * across));
        let (top, left) = (block / across * rows, block % across * columns);
        let (rows, columns) = (rows.min(g.out.0 - top), columns.min(g.out.1 - left));
        let x = &x[group * gi * plane..][..gi * plane];
        with_scratch(copy.size(gi), |scratch: &mut [T]| {
            let at = |i: usize| (i * g.stride) as isize - g.padding as isize;
            copy.fill(x, g.input, (at(top), at(left)), scratch);
            for i in 0..rows {
                let place = (group * go * g.out.0 + top + i) * g.out.1 + left;
                let weights = &weights[group % g.groups * parts * depth * together..][..parts * depth * together];
                let x = &scratch[i * g.stride * copy.row()..];
                run(Row { x, runs: &runs, weights, together, columns, outputs: go, y: shared, place, pixels });
                for o in 0..go {
                    let at = place + o * pixels;
                    // SAFETY: what this task has written.
                    tail.along_pixels(unsafe { shared.part(at, columns) }, group % g.groups * go + o, at);
                }
            }
        });
    });
}

/// A row of output pixels of all outputs of a group, from `place` on, the outputs `pixels` apart.
struct Row<'a, T> {
    x: &'a [T],
    /// Where the weights and the pixels of each tap begin.
    runs: &'a [(usize, usize)],
    weights: &'a [T],
    together: usize,
    columns: usize,
    outputs: usize,
    y: Shared<'a, T>,
    place: usize,
    pixels: usize,
}

impl<T: Vector> WithSimd for Row<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let lanes = T::lanes::<S>();
        let depth = self.runs.len();
        let whole = self.columns.next_multiple_of(lanes);
        let furthest = self.runs.iter().map(|run| run.1).max().unwrap_or(0);
        assert!(furthest + whole <= self.x.len());
        assert!(self.weights.len() >= self.outputs.div_ceil(self.together) * depth * self.together);
        assert!(self.place + (self.outputs - 1) * self.pixels + self.columns <= self.y.len());
        let mut column = 0;
        while column < self.columns {
            // three vectors, or one
            let left = self.columns - column;
            let n = if left > 2 * lanes { left.min(3 * lanes) } else { left.min(lanes) };
            for first in (0..self.outputs).step_by(self.together) {
                let product = Panel {
                    m: self.together.min(self.outputs - first),
                    k: 1,
                    runs: self.runs,
                    a: self.weights[first * depth..].as_ptr(),
                    rows: 1,
                    columns: self.together,
                    b: self.x[column..].as_ptr(),
                    step: 1,
                    c: self.y.start().wrapping_add(self.place + first * self.pixels + column),
                    stride: self.pixels,
                    n,
                    sum: false,
                };
                // SAFETY: the loads end within `x`, the weights are `together` for each tap, and the outputs lie inside `y`, all as asserted; tasks differ
                // in pixels or outputs.
                unsafe { product.run(s) };
            }
            column += n;
        }
    }
}
