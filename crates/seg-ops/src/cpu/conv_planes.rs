//! Direct convolution of channels-first images: vectors over the pixels of an output row.
//!
//! A task takes a few rows of up to 256 output pixels. It copies what they read, zeros around it, into scratch memory; with stride s every s-th
//! column next to each other, so that all taps become vector loads at fixed offsets. Then 8 outputs × 3 vectors of pixels stay in registers (with 16
//! registers 4 × 3) while all channels and taps pass. No patches are built, and an image of few channels is read about once.
#![allow(unsafe_code)]

use super::lanes::{Lanes, lanes, load, run, store, with_scratch};
use super::matrix::Shared;
use super::patches::Geometry;
use super::region::inside;
use super::tail::TailData;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Output pixels of a row in a task.
const COLUMNS: usize = 256;
/// Elements of the copied rectangle, about.
const COPY: usize = 1 << 16;

struct RegisterCount;

impl WithSimd for RegisterCount {
    type Output = usize;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::REGISTER_COUNT
    }
}

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
    fn fill<T: Lanes>(&self, x: &[T], (h, w): (usize, usize), (top, left): (isize, isize), out: &mut [T]) {
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
pub(crate) fn forward<T: Lanes>(x: &[T], w: &[T], tail: &TailData<'_, T>, g: Geometry, y: &mut [T]) {
    let (gi, go) = (g.inputs / g.groups, g.outputs / g.groups);
    let (kh, kw) = g.kernel;
    let (depth, pixels, plane) = (g.depth(), g.pixels(), g.input.0 * g.input.1);
    let most = if run(RegisterCount) >= 32 { 8 } else { 4 };
    let together = match go {
        1 => 1,
        2..=4 => 4,
        _ => most,
    };
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
    let offsets: Vec<usize> = (0..depth)
        .map(|k| {
            let (c, ty, tx) = (k / (kh * kw), k / kw % kh * g.dilation, k % kw * g.dilation);
            (c * copy.rows + ty) * copy.row() + tx % g.stride * width + tx / g.stride
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
                run(Row { x, offsets: &offsets, weights, together, columns, outputs: go, y: shared, place, pixels });
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
    offsets: &'a [usize],
    weights: &'a [T],
    together: usize,
    columns: usize,
    outputs: usize,
    y: Shared<'a, T>,
    place: usize,
    pixels: usize,
}

impl<T: Lanes> WithSimd for Row<'_, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let lanes = T::lanes::<S>();
        let last = self.offsets.last().copied().unwrap_or(0);
        let whole = self.columns.next_multiple_of(lanes);
        // the last tap reads furthest: its channel, row and column are the last ones; with a stride, another part of the row may reach one further
        let furthest = self.offsets.iter().copied().max().unwrap_or(last);
        assert!(furthest + whole <= self.x.len());
        let mut column = 0;
        while column < whole {
            let three = whole - column >= 3 * lanes;
            for part in 0..self.outputs.div_ceil(self.together) {
                // SAFETY: the loads end within `x`, as asserted; tasks differ in pixels or outputs.
                unsafe {
                    match (self.together, three) {
                        (8, true) => self.tile::<S, 8, 3>(s, part, column),
                        (8, false) => self.tile::<S, 8, 1>(s, part, column),
                        (4, true) => self.tile::<S, 4, 3>(s, part, column),
                        (4, false) => self.tile::<S, 4, 1>(s, part, column),
                        (_, true) => self.tile::<S, 1, 3>(s, part, column),
                        (_, false) => self.tile::<S, 1, 1>(s, part, column),
                    }
                }
            }
            column += if three { 3 * lanes } else { lanes };
        }
    }
}

impl<T: Lanes> Row<'_, T> {
    /// # Safety
    /// `N` vectors can be read at all offsets from `column` on, and nobody else touches these output pixels.
    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize, const N: usize>(&self, s: S, part: usize, column: usize) {
        let lanes = T::lanes::<S>();
        let depth = self.offsets.len();
        let weights = &self.weights[part * depth * R..][..depth * R];
        let z = T::splat(s, T::ZERO);
        let z3 = [z, z, z];
        // written out, with constant places, so that the sums become registers; those beyond R and N are never used
        let mut sum = [z3, z3, z3, z3, z3, z3, z3, z3];
        // SAFETY: as the caller promises; the weights are R for each offset.
        unsafe {
            let x = self.x.as_ptr().add(column);
            let mut w = weights.as_ptr();
            for &offset in self.offsets {
                let x = x.add(offset);
                let x0 = load::<S, T>(x);
                let (x1, x2) =
                    if N == 3 { (load::<S, T>(x.add(lanes)), load::<S, T>(x.add(2 * lanes))) } else { (x0, x0) };
                macro_rules! row {
                    ($($r:literal)*) => {$(
                        if $r < R {
                            let number = T::splat(s, *w.add($r));
                            sum[$r][0] = T::mul_add(s, number, x0, sum[$r][0]);
                            if N == 3 {
                                sum[$r][1] = T::mul_add(s, number, x1, sum[$r][1]);
                                sum[$r][2] = T::mul_add(s, number, x2, sum[$r][2]);
                            }
                        }
                    )*};
                }
                row!(0 1 2 3 4 5 6 7);
                w = w.add(R);
            }
            macro_rules! write {
                ($($r:literal)*) => {$(
                    if $r < R {
                        self.put::<S, N>(part * R + $r, column, sum[$r]);
                    }
                )*};
            }
            write!(0 1 2 3 4 5 6 7);
        }
    }

    /// Writes `N` vectors of pixels of an output, as far as there is such an output and they are inside the row.
    ///
    /// # Safety
    /// Nobody else touches these output pixels.
    #[inline(always)]
    unsafe fn put<S: Simd, const N: usize>(&self, output: usize, column: usize, v: [T::V<S>; 3]) {
        let lanes = T::lanes::<S>();
        if output >= self.outputs {
            return;
        }
        let n = (self.columns - column).min(N * lanes);
        // SAFETY: as the caller promises.
        let y = unsafe { self.y.part(self.place + output * self.pixels + column, n) };
        // SAFETY: whole vectors only where they fit, others through memory of their own (no vector has more than 16 elements).
        unsafe {
            if n == N * lanes {
                store::<S, T>(y.as_mut_ptr(), v[0]);
                if N == 3 {
                    store::<S, T>(y.as_mut_ptr().add(lanes), v[1]);
                    store::<S, T>(y.as_mut_ptr().add(2 * lanes), v[2]);
                }
            } else {
                let mut whole = [T::ZERO; 48];
                store::<S, T>(whole.as_mut_ptr(), v[0]);
                if N == 3 {
                    store::<S, T>(whole.as_mut_ptr().add(lanes), v[1]);
                    store::<S, T>(whole.as_mut_ptr().add(2 * lanes), v[2]);
                }
                y.copy_from_slice(&whole[..n]);
            }
        }
    }
}
