//! The product at the heart of the convolutions: rows of numbers times a packed panel of weights.
//!
//! A tile of the output, up to 12 rows (pixels) × 2 vectors (outputs), stays in registers while the depth passes: 24 sums, two vectors of weights
//! and one broadcast number fill the 32 registers of AVX-512 and NEON; with 16 registers it is 4 rows. The depth comes in runs of adjacent
//! numbers: a convolution over channels-last pixels reads a row of its taps in one run, so no patches are ever built.
#![allow(unsafe_code)]

use super::lanes::{Lanes, load, store};
use pulp::Simd;
use std::array::from_fn;

/// Rows of numbers: row `i` has at `start + i * stride + runs[j]` its `j`-th run of `len` numbers.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    pub start: *const T,
    pub stride: usize,
    pub runs: &'a [usize],
    pub len: usize,
}

/// Where a product goes: rows `stride` apart, of which `width` elements are written.
#[derive(Clone, Copy)]
pub(crate) struct Out<T> {
    pub start: *mut T,
    pub stride: usize,
    pub width: usize,
}

/// `n` rows times a panel of `vectors` vectors.
///
/// # Safety
/// The rows can be read, the panel has `runs.len() * len` rows of `vectors` vectors, and the output's elements can be written.
#[inline(always)]
pub(crate) unsafe fn panel<S: Simd, T: Lanes>(s: S, n: usize, a: Rows<'_, T>, b: *const T, vectors: usize, y: Out<T>) {
    let many = S::REGISTER_COUNT >= 32;
    let mut i = 0;
    while i < n {
        let left = n - i;
        let a = Rows { start: a.start.wrapping_add(i * a.stride), ..a };
        let y = Out { start: y.start.wrapping_add(i * y.stride), ..y };
        // SAFETY: as the caller promises, for these rows.
        unsafe {
            i += match (vectors, left) {
                (2, 12..) if many => tile::<S, T, 12, 2>(s, a, b, y),
                (2, 8..) if many => tile::<S, T, 8, 2>(s, a, b, y),
                (2, 4..) => tile::<S, T, 4, 2>(s, a, b, y),
                (2, _) => tile::<S, T, 1, 2>(s, a, b, y),
                (_, 12..) if many => tile::<S, T, 12, 1>(s, a, b, y),
                (_, 8..) => tile::<S, T, 8, 1>(s, a, b, y),
                (_, 4..) => tile::<S, T, 4, 1>(s, a, b, y),
                _ => tile::<S, T, 1, 1>(s, a, b, y),
            };
        }
    }
}

/// # Safety
/// As for [`panel`].
#[inline(always)]
unsafe fn tile<S: Simd, T: Lanes, const R: usize, const N: usize>(
    s: S,
    a: Rows<'_, T>,
    mut b: *const T,
    y: Out<T>,
) -> usize {
    let lanes = T::lanes::<S>();
    let mut sum = [[T::splat(s, T::ZERO); N]; R];
    // SAFETY: as the caller promises.
    unsafe {
        for &run in a.runs {
            let a0 = a.start.add(run);
            for k in 0..a.len {
                let w: [T::V<S>; N] = from_fn(
                    #[inline(always)]
                    |v| load::<S, T>(b.add(v * lanes)),
                );
                for (r, sum) in sum.iter_mut().enumerate() {
                    let x = T::splat(s, *a0.add(r * a.stride + k));
                    for (sum, &w) in sum.iter_mut().zip(&w) {
                        *sum = T::mul_add(s, x, w, *sum);
                    }
                }
                b = b.add(N * lanes);
            }
        }
        for (r, sum) in sum.iter().enumerate() {
            put::<S, T, N>(y.start.add(r * y.stride), sum, y.width);
        }
    }
    R
}

/// Writes the first `width` elements of some vectors.
///
/// # Safety
/// They can be written.
#[inline(always)]
pub(crate) unsafe fn put<S: Simd, T: Lanes, const N: usize>(y: *mut T, v: &[T::V<S>; N], width: usize) {
    let lanes = T::lanes::<S>();
    for (i, &v) in v.iter().enumerate() {
        let at = i * lanes;
        // SAFETY: as the caller promises; a part of a vector goes through memory of its own (no vector has more than 16 elements).
        unsafe {
            if at + lanes <= width {
                store::<S, T>(y.add(at), v);
            } else if at < width {
                let mut whole = [T::ZERO; 16];
                store::<S, T>(whole.as_mut_ptr(), v);
                std::ptr::copy_nonoverlapping(whole.as_ptr(), y.add(at), width - at);
            }
        }
    }
}
