//! The product at the heart of the convolutions: rows of numbers times a packed panel of weights.
//!
//! A tile of the output, up to 13 rows (pixels) × 2 vectors (outputs), stays in registers while the depth passes: 26 sums, two vectors of weights
//! and one broadcast number fill the 32 registers of AVX-512 and NEON; with 16 registers it is 4 rows. The depth comes in runs of adjacent
//! numbers: a convolution over channels-last pixels reads a row of its taps in one run, so no patches are ever built.
#![allow(unsafe_code)]

use super::lanes::{Lanes, load, store};
use pulp::Simd;

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
                // rather than a last row alone, whose sums wait for each other
                (2, 13) if many => tile::<S, T, 13, 2>(s, a, b, y),
                (2, 12..) if many => tile::<S, T, 12, 2>(s, a, b, y),
                (2, 8..) if many => tile::<S, T, 8, 2>(s, a, b, y),
                (2, 4..) => tile::<S, T, 4, 2>(s, a, b, y),
                (2, 2..) => tile::<S, T, 2, 2>(s, a, b, y),
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
    // written out, with constant places, so that the sums become registers; those beyond R and N are never used
    let z = T::splat(s, T::ZERO);
    let z2 = [z, z];
    let mut sum = [z2, z2, z2, z2, z2, z2, z2, z2, z2, z2, z2, z2, z2];
    // SAFETY: as the caller promises.
    unsafe {
        for &run in a.runs {
            // a pointer for four rows or five: few registers hold all addresses
            let mut x0 = a.start.add(run);
            let mut x4 = x0.wrapping_add(4 * a.stride);
            let mut x8 = x0.wrapping_add(8 * a.stride);
            for _ in 0..a.len {
                let w0 = load::<S, T>(b);
                let w1 = if N == 2 { load::<S, T>(b.add(lanes)) } else { w0 };
                macro_rules! row {
                    ($($r:literal $x:ident $i:literal),*) => {$(
                        if $r < R {
                            let number = T::splat(s, *$x.add($i * a.stride));
                            sum[$r][0] = T::mul_add(s, number, w0, sum[$r][0]);
                            if N == 2 {
                                sum[$r][1] = T::mul_add(s, number, w1, sum[$r][1]);
                            }
                        }
                    )*};
                }
                row!(0 x0 0, 1 x0 1, 2 x0 2, 3 x0 3, 4 x4 0, 5 x4 1, 6 x4 2, 7 x4 3, 8 x8 0, 9 x8 1, 10 x8 2, 11 x8 3, 12 x8 4);
                x0 = x0.wrapping_add(1);
                x4 = x4.wrapping_add(1);
                x8 = x8.wrapping_add(1);
                b = b.add(N * lanes);
            }
        }
        macro_rules! write {
            ($($r:literal)*) => {$(
                if $r < R {
                    put::<S, T>(y.start.add($r * y.stride), sum[$r], N, y.width);
                }
            )*};
        }
        write!(0 1 2 3 4 5 6 7 8 9 10 11 12);
    }
    R
}

/// Writes the first `width` elements of one vector or two.
///
/// # Safety
/// They can be written.
#[inline(always)]
pub(crate) unsafe fn put<S: Simd, T: Lanes>(y: *mut T, v: [T::V<S>; 2], n: usize, width: usize) {
    let lanes = T::lanes::<S>();
    // SAFETY: as the caller promises; a part of a vector goes through memory of its own (no vector has more than 16 elements).
    unsafe {
        if width >= n * lanes {
            store::<S, T>(y, v[0]);
            if n == 2 {
                store::<S, T>(y.add(lanes), v[1]);
            }
        } else {
            let mut whole = [T::ZERO; 32];
            store::<S, T>(whole.as_mut_ptr(), v[0]);
            store::<S, T>(whole.as_mut_ptr().add(lanes), v[1]);
            std::ptr::copy_nonoverlapping(whole.as_ptr(), y, width);
        }
    }
}
