//! The gradient of a convolution's weights, and of its bias.
//!
//! `dw[o, tap, c] = Σ dy[pixel, o] x[pixel + tap, c]` is a product over pixels: 12 outputs × 2 vectors of channels (with 16 registers 4 × 2) stay in
//! registers while the pixels of a block pass. In a channels-last copy of the block, a row of taps of all channels is one run of numbers, as in
//! the forward pass. The image is cut into a number of stretches that its size determines; each has a sum of its own, and these are added in order,
//! so the result does not depend on the number of threads.
#![allow(unsafe_code)]

use super::patches::Geometry;
use super::processor::run;
use super::region::{Image, Region};
use super::scratch::with_scratch;
use super::tile::Panel;
use super::vector::Vector;
use crate::Layout;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Pixels of a block, about.
const PIXELS: usize = 512;
/// Columns of a block at most.
const COLUMNS: usize = 128;
/// What loads may read beyond the end of a copy.
const SLACK: usize = 32;

/// `[O, I / groups, kh, kw]`.
pub(crate) fn gradient<T: Vector>(x: &[T], dy: &[T], g: Geometry, layout: Layout) -> Vec<T> {
    let (gi, go) = (g.inputs / g.groups, g.outputs / g.groups);
    let (kh, kw) = g.kernel;
    let (taps, depth) = (kh * kw, g.depth());
    let size = g.outputs * depth;
    if x.is_empty() || dy.is_empty() {
        return vec![T::ZERO; size];
    }
    let columns = g.out.1.min(COLUMNS);
    let across = g.out.1.div_ceil(columns);
    let rows = (PIXELS / columns).clamp(1, g.out.0);
    let down = g.out.0.div_ceil(rows);
    let blocks = g.batch * down * across;
    let most = if size <= 1 << 16 { 32 } else { 8 };
    let stretches = blocks.min(most);
    let reach = |n: usize, k: usize| (n - 1) * g.stride + (k - 1) * g.dilation + 1;
    let (high, wide) = (reach(rows, kh), reach(columns, kw));
    let row = wide * gi;
    let runs: Vec<usize> = if g.dilation == 1 {
        (0..kh).map(|ty| ty * row).collect()
    } else {
        (0..taps).map(|t| t / kw * g.dilation * row + t % kw * g.dilation * gi).collect()
    };
    let image = |data, i: usize, size: (usize, usize), channels: usize| {
        let n = size.0 * size.1 * channels;
        Image { data: &<[T]>::as_ref(data)[i * n..][..n], layout, size, channels }
    };
    let parts: Vec<Vec<T>> = (0..stretches)
        .into_par_iter()
        .map(|stretch| {
            let mut dw = vec![T::ZERO; size];
            let copies = [high * row + SLACK, rows * columns * go];
            with_scratch(copies[0] + copies[1], |scratch: &mut [T]| {
                let (from, to) = scratch.split_at_mut(copies[0]);
                from[high * row..].fill(T::ZERO);
                for block in stretch * blocks / stretches..(stretch + 1) * blocks / stretches {
                    let b = block / (down * across);
                    let (top, left) = (block / across % down * rows, block % across * columns);
                    let (rows, columns) = (rows.min(g.out.0 - top), columns.min(g.out.1 - left));
                    let at = |i: usize| (i * g.stride) as isize - g.padding as isize;
                    for group in 0..g.groups {
                        let (first, channels) = (group * gi, gi);
                        let r = Region {
                            top: at(top),
                            left: at(left),
                            rows: reach(rows, kh),
                            columns: wide,
                            step: 1,
                            first,
                            channels,
                        };
                        image(x, b, g.input, g.inputs).copy(r, gi, from);
                        let r = Region {
                            top: top as isize,
                            left: left as isize,
                            rows,
                            columns,
                            step: 1,
                            first: group * go,
                            channels: go,
                        };
                        image(dy, b, g.out, g.outputs).copy(r, go, to);
                        let dw = &mut dw[group * go * depth..][..go * depth];
                        run(Block {
                            x: from,
                            row: row * g.stride,
                            pixel: gi * g.stride,
                            runs: &runs,
                            dy: to,
                            outputs: go,
                            size: (rows, columns),
                            dw,
                        });
                    }
                }
            });
            dw
        })
        .collect();
    // taps before channels becomes channels before taps
    let mut dw = vec![T::ZERO; size];
    dw.par_chunks_mut(depth).enumerate().for_each(|(o, dw)| {
        for part in &parts {
            let part = &part[o * depth..][..depth];
            for (c, dw) in dw.chunks_exact_mut(taps).enumerate() {
                for (tap, dw) in dw.iter_mut().enumerate() {
                    *dw += part[tap * gi + c];
                }
            }
        }
    });
    dw
}

/// The pixels of a block, whose sums are added to `dw`, `[outputs, runs, numbers of a run]`.
struct Block<'a, T> {
    x: &'a [T],
    /// From one output row to the next.
    row: usize,
    /// From one output pixel to the next.
    pixel: usize,
    runs: &'a [usize],
    /// `[rows, columns, outputs]`.
    dy: &'a [T],
    outputs: usize,
    size: (usize, usize),
    dw: &'a mut [T],
}

impl<T: Vector> WithSimd for Block<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let lanes = T::lanes::<S>();
        let depth = self.dw.len() / self.outputs;
        let len = depth / self.runs.len();
        let (rows, columns) = self.size;
        let furthest = self.runs.last().copied().unwrap_or(0) + (rows - 1) * self.row + (columns - 1) * self.pixel;
        assert!(2 * lanes <= SLACK && furthest + len + SLACK <= self.x.len());
        assert!(rows * columns * self.outputs <= self.dy.len());
        // a run of pixels for each row
        let pixels: Vec<(usize, usize)> = (0..rows).map(|i| (i * columns * self.outputs, i * self.row)).collect();
        for (i, &run) in self.runs.iter().enumerate() {
            for from in (0..len).step_by(2 * lanes) {
                let product = Panel {
                    m: self.outputs,
                    k: columns,
                    runs: &pixels,
                    a: self.dy.as_ptr(),
                    rows: 1,
                    columns: self.outputs,
                    b: self.x[run + from..].as_ptr(),
                    step: self.pixel,
                    c: self.dw[i * len + from..].as_mut_ptr(),
                    stride: depth,
                    n: (len - from).min(2 * lanes),
                    sum: true,
                };
                // SAFETY: the loads end at most `SLACK` behind the last run, as asserted; `dy` has all outputs of all pixels.
                unsafe { product.run(s) };
            }
        }
    }
}
