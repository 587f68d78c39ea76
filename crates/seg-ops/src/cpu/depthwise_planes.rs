//! Both gradients of a 3 × 3 depthwise convolution of channels-first maps in one pass.
//!
//! With `q` an input pixel and `o(q, t)` the output that reads it by tap `t`, `dx[q] = Σₜ w[t] dy[o(q, t)]` and `dw[t] = Σ_q x[q] dy[o(q, t)]`: the same
//! numbers serve both. A task has a plane, or a band of rows of a large one; it copies the outputs that see these rows, zeros around them, to scratch
//! memory, and keeps the nine weights and the nine sums in registers. Bands depend on the sizes alone and are added up in order, so the result does not
//! depend on the number of threads.
#![allow(unsafe_code)]

use super::matrix::Shared;
use super::patches::Geometry;
use super::processor::{lanes, run};
use super::scratch::with_scratch;
use super::vector::{Vector, load, store};
use super::written;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Elements of a band, about.
const BAND: usize = 16 * 1024;
const TAPS: usize = 9;

/// Whether this serves.
pub(crate) fn serves(g: &Geometry) -> bool {
    g.kernel == (3, 3) && g.stride == 1 && g.dilation == 1 && g.padding <= 2 && g.out.0 * g.out.1 > 0
}

/// The gradients of the input and of the weights (`[C, 3, 3]`), channels first.
pub(crate) fn backward<T: Vector>(x: &[T], w: &[T], dy: &[T], g: &Geometry) -> (Vec<T>, Vec<T>) {
    if x.is_empty() {
        return (Vec::new(), vec![T::ZERO; w.len()]);
    }
    let ((height, width), (out_height, out_width)) = (g.input, g.out);
    let lanes = lanes::<T>();
    // the first output that a row's or column's last tap reads lies so many before it
    let before = 2 - g.padding;
    let pitch = width.next_multiple_of(lanes) + lanes.max(2);
    let rows = (BAND / pitch).clamp(1, height);
    let bands = height.div_ceil(rows);
    let mut parts: Vec<[T; TAPS]> = Vec::new();
    let write = |dx: &mut [T]| {
        let dx = Shared::new(dx);
        let task = |task: usize| {
            let (plane, top) = (task / bands, task % bands * rows);
            let (rows, filter) = (rows.min(height - top), plane % g.inputs * TAPS);
            let at = (plane * height + top) * width;
            let dy = &dy[plane * out_height * out_width..][..out_height * out_width];
            with_scratch((rows + 2) * pitch, |seen: &mut [T]| {
                for (i, to) in seen.chunks_exact_mut(pitch).enumerate() {
                    let Some(row) = (top + i).checked_sub(before).filter(|&row| row < out_height) else {
                        to.fill(T::ZERO);
                        continue;
                    };
                    // `out_width` is `width` + 2 padding - 2, so this fits
                    to[..before].fill(T::ZERO);
                    to[before..before + out_width].copy_from_slice(&dy[row * out_width..][..out_width]);
                    to[before + out_width..].fill(T::ZERO);
                }
                // SAFETY: each task has rows of its own.
                let dx = unsafe { dx.part(at, rows * width) };
                run(Plane { dx, x: &x[at..][..rows * width], seen, w: &w[filter..][..TAPS], width, pitch })
            })
        };
        (0..g.batch * g.inputs * bands).into_par_iter().map(task).collect_into_vec(&mut parts);
    };
    // SAFETY: the tasks write all rows of all planes, and read none.
    let dx = unsafe { written(x.len(), write) };
    let mut dw = vec![T::ZERO; w.len()];
    for (task, part) in parts.into_iter().enumerate() {
        let filter = task / bands % g.inputs * TAPS;
        dw[filter..filter + TAPS].iter_mut().zip(part).for_each(|(d, p)| *d += p);
    }
    (dx, dw)
}

/// Rows of a plane; the output that reads the pixel (i, j) by tap (ty, tx) stands at `seen[(i + 2 - ty) · pitch + j + 2 - tx]`. The result is the
/// gradient of the weights.
struct Plane<'a, T> {
    dx: &'a mut [T],
    x: &'a [T],
    seen: &'a [T],
    w: &'a [T],
    width: usize,
    pitch: usize,
}

impl<T: Vector> WithSimd for Plane<'_, T> {
    type Output = [T; TAPS];

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> [T; TAPS] {
        let lanes = T::lanes::<S>();
        let rows = self.x.len() / self.width;
        assert!(self.dx.len() == self.x.len() && self.x.len() == rows * self.width && self.w.len() == TAPS);
        assert!(self.width.next_multiple_of(lanes) + 2 <= self.pitch && (rows + 2) * self.pitch <= self.seen.len());
        let w: [T::V<S>; TAPS] = std::array::from_fn(
            #[inline(always)]
            |tap| T::splat(s, self.w[tap]),
        );
        let mut sums = [T::zeros(s); TAPS];
        for (i, (dx, x)) in self.dx.chunks_exact_mut(self.width).zip(self.x.chunks_exact(self.width)).enumerate() {
            for j in (0..self.width).step_by(lanes) {
                let n = lanes.min(self.width - j);
                let whole = n == lanes;
                // SAFETY: a whole vector of the row.
                let x = if whole { unsafe { load(s, x.as_ptr().add(j)) } } else { T::load_part(s, &x[j..]) };
                let mut sum = T::zeros(s);
                let seen = self.seen[i * self.pitch + j..].as_ptr();
                /// By constants, so that weights and sums stay in registers.
                macro_rules! tap {
                    ($($tap:literal)*) => {$(
                        // SAFETY: at most two rows and two columns on; a row has room for whole vectors and two more, as asserted.
                        let y = unsafe { load(s, seen.add((2 - $tap / 3) * self.pitch + 2 - $tap % 3)) };
                        sum = T::multiply_add(s, y, w[$tap], sum);
                        sums[$tap] = T::multiply_add(s, x, y, sums[$tap]);
                    )*};
                }
                tap!(0 1 2 3 4 5 6 7 8);
                if whole {
                    // SAFETY: a whole vector of the row.
                    unsafe { store(s, dx.as_mut_ptr().add(j), sum) };
                } else {
                    T::store_part(s, &mut dx[j..j + n], sum);
                }
            }
        }
        sums.map(
            #[inline(always)]
            |sum| T::total(s, sum),
        )
    }
}
