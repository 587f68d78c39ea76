//! The gradient of a convolution's weights, and of its bias.
//!
//! `dw[o, tap, c] = Σ dy[pixel, o] x[pixel + tap, c]` is a product over pixels: 12 outputs × 2 vectors of channels (with 16 registers 4 × 2) stay in
//! registers while the pixels of a block pass. In a channels-last copy of the block, a row of taps of all channels is one run of numbers, as in
//! the forward pass. The image is cut into a number of stretches that its size determines; each has a sum of its own, and these are added in order,
//! so the result does not depend on the number of threads.
#![allow(unsafe_code)]

use super::lanes::{Lanes, load, run, with_scratch};
use super::patches::Geometry;
use super::region::{Image, Region};
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
pub(crate) fn gradient<T: Lanes>(x: &[T], dy: &[T], g: Geometry, layout: Layout) -> Vec<T> {
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

impl<T: Lanes> WithSimd for Block<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        let lanes = T::lanes::<S>();
        let many = S::REGISTER_COUNT >= 32;
        let depth = self.dw.len() / self.outputs;
        let len = depth / self.runs.len();
        let (rows, columns) = self.size;
        let furthest = self.runs.last().copied().unwrap_or(0) + (rows - 1) * self.row + (columns - 1) * self.pixel;
        assert!(2 * lanes <= SLACK && furthest + len + SLACK <= self.x.len());
        assert!(rows * columns * self.outputs <= self.dy.len());
        for (i, &run) in self.runs.iter().enumerate() {
            for from in (0..len).step_by(2 * lanes) {
                let width = (len - from).min(2 * lanes);
                let mut output = 0;
                while output < self.outputs {
                    let at = output * depth + i * len + from;
                    // SAFETY: the loads end at most `SLACK` behind the last run, as asserted.
                    output += unsafe {
                        match self.outputs - output {
                            12.. if many => self.tile::<S, 12>(s, run + from, output, at, depth, width),
                            8.. if many => self.tile::<S, 8>(s, run + from, output, at, depth, width),
                            4.. => self.tile::<S, 4>(s, run + from, output, at, depth, width),
                            _ => self.tile::<S, 1>(s, run + from, output, at, depth, width),
                        }
                    };
                }
            }
        }
    }
}

impl<T: Lanes> Block<'_, T> {
    /// # Safety
    /// Two vectors can be read from `run` on at every pixel.
    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize>(
        &mut self,
        s: S,
        run: usize,
        output: usize,
        at: usize,
        depth: usize,
        width: usize,
    ) -> usize {
        let lanes = T::lanes::<S>();
        let z = T::splat(s, T::ZERO);
        let z2 = [z, z];
        // written out, with constant places, so that the sums become registers; those beyond R are never used
        let mut sum = [z2, z2, z2, z2, z2, z2, z2, z2, z2, z2, z2, z2];
        // SAFETY: as the caller promises; `dy` has all outputs of all pixels.
        unsafe {
            let mut dy = self.dy.as_ptr().add(output);
            for i in 0..self.size.0 {
                let mut x = self.x.as_ptr().add(run + i * self.row);
                for _ in 0..self.size.1 {
                    let (x0, x1) = (load::<S, T>(x), load::<S, T>(x.add(lanes)));
                    macro_rules! row {
                        ($($r:literal)*) => {$(
                            if $r < R {
                                let number = T::splat(s, *dy.add($r));
                                sum[$r][0] = T::mul_add(s, number, x0, sum[$r][0]);
                                sum[$r][1] = T::mul_add(s, number, x1, sum[$r][1]);
                            }
                        )*};
                    }
                    row!(0 1 2 3 4 5 6 7 8 9 10 11);
                    x = x.wrapping_add(self.pixel);
                    dy = dy.wrapping_add(self.outputs);
                }
            }
        }
        macro_rules! add {
            ($($r:literal)*) => {$(
                if $r < R {
                    let mut whole = [T::ZERO; 32];
                    // SAFETY: no vector has more than 16 elements.
                    unsafe {
                        super::lanes::store::<S, T>(whole.as_mut_ptr(), sum[$r][0]);
                        super::lanes::store::<S, T>(whole.as_mut_ptr().add(lanes), sum[$r][1]);
                    }
                    for (dw, x) in self.dw[at + $r * depth..][..width].iter_mut().zip(whole) {
                        *dw += x;
                    }
                }
            )*};
        }
        add!(0 1 2 3 4 5 6 7 8 9 10 11);
        R
    }
}
