//! Products of f32 blocks with packed panels, in tiles that stay in registers.
//!
//! The right-hand matrix lies in panels of [`width`] columns (two vectors), each `k` rows one after the other, so that a tile reads it straight on.
//! A tile is 12 rows by two vectors with AVX-512 (24 of the 32 registers are sums) and 6 by two with AVX2 (12 of 16); the left-hand matrix is read
//! one element at a time and spread over a vector, so it need not be packed. An element's sum runs over `k` in order, whatever tile it is in.
#![allow(unsafe_code)]

use super::alloc::uninit_vec;
use pulp::{Arch, Simd, WithSimd};
use std::cell::Cell;
use std::mem::MaybeUninit;

/// What the tiles are compiled for here: one answer for packing and for reading.
pub(crate) fn arch() -> Arch {
    Arch::new()
}

/// Columns of a panel; less than 16 where the tiles are not made for the processor.
pub(crate) fn width() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            2 * S::F32_LANES
        }
    }
    arch().dispatch(Lanes)
}

/// Whether this processor has AVX2 and FMA, or AVX-512.
pub(crate) fn available() -> bool {
    cfg!(target_arch = "x86_64") && width() >= 16
}

/// A vector from anywhere in memory.
///
/// # Safety
/// The elements are there.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd>(_: S, from: *const f32) -> S::f32s {
    // SAFETY: as the caller promises; every pattern of bits is a vector.
    unsafe { from.cast::<S::f32s>().read_unaligned() }
}

/// Has what is at `from` brought to the first-level cache, if it is anything.
#[inline(always)]
fn prefetch(from: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE belongs to x86-64; any address will do.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(from.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}

/// The reverse of [`load`].
///
/// # Safety
/// There is room for a vector.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd>(_: S, to: *mut f32, x: S::f32s) {
    // SAFETY: as the caller promises.
    unsafe { to.cast::<S::f32s>().write_unaligned(x) }
}

/// `c (+)= a b` for one panel `b`.
#[derive(Clone, Copy)]
pub(crate) struct Panel {
    pub m: usize,
    pub k: usize,
    pub a: *const f32,
    /// Elements from one row of `a` to the next, and from one column to the next; one of the two is 1.
    pub rows: usize,
    pub columns: usize,
    pub b: *const f32,
    /// Elements from one row of the panel to the next.
    pub step: usize,
    pub c: *mut f32,
    /// Elements from one row of `c` to the next.
    pub stride: usize,
    /// Columns to write, at most three vectors; the panel has whole vectors.
    pub n: usize,
    pub sum: bool,
}

impl Panel {
    /// # Safety
    /// `a` is m × k, `b` k × `n` rounded up to whole vectors, `c` m × n, nobody else touches `c`, and [`available`].
    #[inline(always)]
    pub unsafe fn run<S: Simd>(self, s: S) {
        struct Run(Panel);
        impl WithSimd for Run {
            type Output = ();
            #[inline(always)]
            fn with_simd<S: Simd>(self, s: S) {
                // SAFETY: as the caller of `run` promises.
                unsafe {
                    match (self.0.columns == 1, self.0.n.div_ceil(S::F32_LANES)) {
                        (true, 1) => self.0.strips::<S, true, 1>(s),
                        (true, 2) => self.0.strips::<S, true, 2>(s),
                        (true, _) => self.0.strips::<S, true, 3>(s),
                        (false, 1) => self.0.strips::<S, false, 1>(s),
                        (false, 2) => self.0.strips::<S, false, 2>(s),
                        (false, _) => self.0.strips::<S, false, 3>(s),
                    }
                }
            }
        }
        debug_assert!(self.columns == 1 || self.rows == 1 || self.m == 1);
        if self.m > 0 && self.n > 0 {
            // a function of its own: the tiles are compiled once
            s.vectorize(Run(self));
        }
    }

    #[inline(always)]
    unsafe fn strips<S: Simd, const ROWS: bool, const V: usize>(self, s: S) {
        if S::F32_LANES < 8 {
            return;
        }
        let mut i = 0;
        // SAFETY: as the caller of `run` promises; `i` counts the rows done.
        unsafe {
            if S::F32_LANES == 16 {
                while V < 3 && self.m - i >= 12 {
                    self.tile::<S, ROWS, 12, V>(s, i);
                    i += 12;
                }
                while self.m - i >= 8 {
                    self.tile::<S, ROWS, 8, V>(s, i);
                    i += 8;
                }
            } else {
                while V < 3 && self.m - i >= 6 {
                    self.tile::<S, ROWS, 6, V>(s, i);
                    i += 6;
                }
            }
            while self.m - i >= 4 {
                self.tile::<S, ROWS, 4, V>(s, i);
                i += 4;
            }
            if self.m - i >= 2 {
                self.tile::<S, ROWS, 2, V>(s, i);
                i += 2;
            }
            if self.m > i {
                self.tile::<S, ROWS, 1, V>(s, i);
            }
        }
    }

    /// Rows `from..from + R`, `R` at most 12.
    #[inline(always)]
    unsafe fn tile<S: Simd, const ROWS: bool, const R: usize, const V: usize>(self, s: S, from: usize) {
        /// By constants: over an array in a loop the sums would not stay in registers.
        macro_rules! each_row {
            ($do:ident) => {
                $do!(0 1 2 3 4 5 6 7 8 9 10 11)
            };
        }
        let lanes = S::F32_LANES;
        // SAFETY: rows below `m`, vectors of the panel, as the caller of `run` promises.
        unsafe {
            let (row, column) = if ROWS { (self.rows, 1) } else { (1, self.columns) };
            let a = self.a.add(from * row);
            if self.sum {
                // what is there comes while the products are made
                let c = self.c.wrapping_add(from * self.stride);
                for i in 0..R {
                    for v in 0..V {
                        prefetch(c.wrapping_add(i * self.stride + v * lanes));
                    }
                }
            }
            let mut sums = [[s.splat_f32s(0.); 3]; 12];
            // a pointer for four rows: few registers hold all addresses
            let mut a0 = a;
            let mut a4 = a.wrapping_add(4 * row);
            let mut a8 = a.wrapping_add(8 * row);
            let mut b = self.b;
            for _ in 0..self.k {
                let first = load(s, b);
                let second = if V >= 2 { load(s, b.add(lanes)) } else { first };
                let third = if V == 3 { load(s, b.add(2 * lanes)) } else { first };
                macro_rules! add {
                    ($($r:literal $a:ident $i:literal),*) => {$(
                        if $r < R {
                            let x = s.splat_f32s(*$a.add($i * row));
                            sums[$r][0] = s.mul_add_f32s(x, first, sums[$r][0]);
                            if V >= 2 {
                                sums[$r][1] = s.mul_add_f32s(x, second, sums[$r][1]);
                            }
                            if V == 3 {
                                sums[$r][2] = s.mul_add_f32s(x, third, sums[$r][2]);
                            }
                        }
                    )*};
                }
                add!(0 a0 0, 1 a0 1, 2 a0 2, 3 a0 3, 4 a4 0, 5 a4 1, 6 a4 2, 7 a4 3, 8 a8 0, 9 a8 1, 10 a8 2, 11 a8 3);
                a0 = a0.wrapping_add(column);
                a4 = a4.wrapping_add(column);
                a8 = a8.wrapping_add(column);
                b = b.wrapping_add(self.step);
            }
            let c = self.c.add(from * self.stride);
            macro_rules! put {
                ($($i:literal)*) => {$(
                    if $i < R {
                        let c = c.add($i * self.stride);
                        self.put(s, c, sums[$i][0], self.n.min(lanes));
                        if V >= 2 {
                            self.put(s, c.add(lanes), sums[$i][1], (self.n - lanes).min(lanes));
                        }
                        if V == 3 {
                            self.put(s, c.add(2 * lanes), sums[$i][2], self.n - 2 * lanes);
                        }
                    }
                )*};
            }
            each_row!(put);
        }
    }

    /// The first `n` elements of a vector to `c`.
    #[inline(always)]
    unsafe fn put<S: Simd>(self, s: S, c: *mut f32, x: S::f32s, n: usize) {
        // SAFETY: inside `c`, as the caller of `run` promises.
        unsafe {
            if n == S::F32_LANES {
                store(s, c, if self.sum { s.add_f32s(load(s, c), x) } else { x });
            } else {
                let c = std::slice::from_raw_parts_mut(c, n);
                let x = if self.sum { s.add_f32s(s.partial_load_f32s(c), x) } else { x };
                s.partial_store_f32s(c, x);
            }
        }
    }
}

/// Elements that `n` columns of `k` take in panels of `width`.
pub(crate) fn packed(n: usize, k: usize, width: usize) -> usize {
    n.next_multiple_of(width) * k
}

/// Rows `0..n` of a matrix (each at least `k` elements from the pointer on) as the columns of panels: panel after panel, `k` rows of `width`.
/// Columns from `n` on repeat the last one.
///
/// # Safety
/// Of each row `k` elements are there, `to` has room for [`packed`] elements, and [`available`].
pub(crate) unsafe fn pack_columns(width: usize, n: usize, k: usize, row: impl Fn(usize) -> *const f32, to: *mut f32) {
    for column in (0..n.next_multiple_of(width)).step_by(8) {
        // SAFETY: columns below the panels' end; the rows are there.
        unsafe {
            let to = to.add(column / width * width * k + column % width);
            let rows: [*const f32; 8] = std::array::from_fn(|i| row((column + i).min(n - 1)));
            transpose(rows, k, to, width);
        }
    }
}

/// Eight rows of `k` as eight columns, `step` elements from one row of the result to the next.
///
/// # Safety
/// The rows and the room are there, and [`available`].
#[inline(always)]
pub(crate) unsafe fn transpose(rows: [*const f32; 8], k: usize, to: *mut f32, step: usize) {
    // SAFETY: as the caller promises; the tiles are made for processors with AVX2 at the least.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        transpose_eight(rows, k, to, step);
        #[cfg(not(target_arch = "x86_64"))]
        for (i, row) in rows.into_iter().enumerate() {
            for p in 0..k {
                *to.add(p * step + i) = *row.add(p);
            }
        }
    }
}

/// Eight rows of `k` as eight columns, `step` elements from one row of the result to the next.
///
/// # Safety
/// The processor has AVX2, the rows and the room are there.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn transpose_eight(rows: [*const f32; 8], k: usize, to: *mut f32, step: usize) {
    use std::arch::x86_64::*;
    // SAFETY: elements below `k` of each row, as the caller promises.
    unsafe {
        let mut p = 0;
        while p + 8 <= k {
            let r: [__m256; 8] = std::array::from_fn(|i| _mm256_loadu_ps(rows[i].add(p)));
            let (a0, a1) = (_mm256_unpacklo_ps(r[0], r[1]), _mm256_unpackhi_ps(r[0], r[1]));
            let (a2, a3) = (_mm256_unpacklo_ps(r[2], r[3]), _mm256_unpackhi_ps(r[2], r[3]));
            let (a4, a5) = (_mm256_unpacklo_ps(r[4], r[5]), _mm256_unpackhi_ps(r[4], r[5]));
            let (a6, a7) = (_mm256_unpacklo_ps(r[6], r[7]), _mm256_unpackhi_ps(r[6], r[7]));
            let (b0, b1) = (_mm256_shuffle_ps::<0x44>(a0, a2), _mm256_shuffle_ps::<0xEE>(a0, a2));
            let (b2, b3) = (_mm256_shuffle_ps::<0x44>(a1, a3), _mm256_shuffle_ps::<0xEE>(a1, a3));
            let (b4, b5) = (_mm256_shuffle_ps::<0x44>(a4, a6), _mm256_shuffle_ps::<0xEE>(a4, a6));
            let (b6, b7) = (_mm256_shuffle_ps::<0x44>(a5, a7), _mm256_shuffle_ps::<0xEE>(a5, a7));
            let low = [(b0, b4), (b1, b5), (b2, b6), (b3, b7)];
            for (i, (a, b)) in low.into_iter().enumerate() {
                _mm256_storeu_ps(to.add((p + i) * step), _mm256_permute2f128_ps::<0x20>(a, b));
                _mm256_storeu_ps(to.add((p + i + 4) * step), _mm256_permute2f128_ps::<0x31>(a, b));
            }
            p += 8;
        }
        while p < k {
            for (i, row) in rows.iter().enumerate() {
                *to.add(p * step + i) = *row.add(p);
            }
            p += 1;
        }
    }
}

/// Rows `0..k` of a matrix (each at least `n` elements from the pointer on) as the rows of panels of `width` columns, the last one as narrow as whole
/// vectors allow (see [`last_width`]) and filled up with zeros.
///
/// # Safety
/// Of each row `n` elements are there, and `to` has room for [`packed`] elements.
pub(crate) unsafe fn pack_rows(
    width: usize,
    n: usize,
    k: std::ops::Range<usize>,
    height: usize,
    row: impl Fn(usize) -> *const f32,
    to: *mut f32,
) {
    for p in k {
        let from = row(p);
        for column in (0..n).step_by(width) {
            let (step, have) = (last_width(width, n - column), width.min(n - column));
            // SAFETY: columns below `n`, rows below the panels' height.
            unsafe {
                let to = to.add(column * height + p * step);
                let (to, from) =
                    (std::slice::from_raw_parts_mut(to, step), std::slice::from_raw_parts(from.add(column), have));
                copy(&mut to[..have], from);
                to[have..].fill(0.);
            }
        }
    }
}

/// As many elements of `from` as `to` has room for, by vectors: the library's copy is made for longer pieces.
#[inline(always)]
pub(crate) fn copy<T: Copy>(to: &mut [T], from: &[T]) {
    let from = &from[..to.len()];
    let mut pieces = to.chunks_exact_mut(8);
    for (to, from) in (&mut pieces).zip(from.chunks_exact(8)) {
        if let (Ok(to), Ok(from)) = (<&mut [T; 8]>::try_from(to), <&[T; 8]>::try_from(from)) {
            *to = *from;
        }
    }
    for (to, from) in pieces.into_remainder().iter_mut().zip(from.chunks_exact(8).remainder()) {
        *to = *from;
    }
}

/// Elements from one row to the next in a panel of [`pack_rows`] that holds `n` columns or is full.
#[inline(always)]
pub(crate) fn last_width(width: usize, n: usize) -> usize {
    if n > width / 2 { width } else { width / 2 }
}

thread_local! {
    static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
    static PACKED: Cell<Vec<MaybeUninit<f32>>> = const { Cell::new(Vec::new()) };
}

/// `f` with room for `n` packed elements that tasks share. Up to 24 MiB are kept from call to call: fresh memory would cost more than the packing.
pub(crate) fn with_packed<R>(n: usize, f: impl FnOnce(&mut [MaybeUninit<f32>]) -> R) -> R {
    const KEPT: usize = 6 << 20;
    if n > KEPT {
        return f(&mut uninit_vec(n));
    }
    // empty where a task of an outer call, for which this thread waits, has it
    let mut packed = PACKED.take();
    if packed.len() < n {
        packed = uninit_vec(n);
    }
    let result = f(&mut packed[..n]);
    PACKED.set(packed);
    result
}

/// `f` with `n` elements that this thread keeps from call to call; they hold anything.
pub(crate) fn with_scratch<R>(n: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut scratch = SCRATCH.take();
    if scratch.len() < n {
        scratch = vec![0.; n];
    }
    let result = f(&mut scratch[..n]);
    SCRATCH.set(scratch);
    result
}
