//! Products of blocks with panels, in tiles that stay in registers: the one inner loop of linear layers, attention and dense convolutions.
//!
//! The right-hand side is a panel of up to three vectors of columns, which a tile reads row after row; the left-hand side is read one element at a time
//! and spread over a vector, so it need not be packed. With 32 registers (AVX-512, NEON) a tile is 12 rows by two vectors or 8 by three (24 sums, or 26
//! rather than a thirteenth row alone), with 16 half of that. The terms of a sum come in runs, which may begin anywhere on either side: a
//! convolution reads the taps of a row where they lie in the image, and no patches are ever built. An element's sum runs over its terms in order,
//! whatever tile it is in.
#![allow(unsafe_code)]

use super::processor::lanes;
use super::vector::{Vector, load, prefetch, store};
use pulp::{Simd, WithSimd};

/// Columns of a panel for f32; less than 16 where the processor has no vectors that the packing of [`super::panels`] is made for.
pub(crate) fn width() -> usize {
    2 * lanes::<f32>()
}

/// Whether this processor has AVX2 and FMA, or AVX-512.
pub(crate) fn available() -> bool {
    cfg!(target_arch = "x86_64") && width() >= 16
}

/// The [`Panel::runs`] of a sum in one piece.
pub(crate) const WHOLE: &[(usize, usize)] = &[(0, 0)];

/// `c (+)= a b` for one panel `b`.
#[derive(Clone, Copy)]
pub(crate) struct Panel<'a, T> {
    pub m: usize,
    /// Terms of a run.
    pub k: usize,
    /// Where the runs begin: elements from `a` and from `b`.
    pub runs: &'a [(usize, usize)],
    pub a: *const T,
    /// Elements from one row of `a` to the next, and from one term to the next; one of the two is 1.
    pub rows: usize,
    pub columns: usize,
    pub b: *const T,
    /// Elements from one row of the panel to the next.
    pub step: usize,
    pub c: *mut T,
    /// Elements from one row of `c` to the next.
    pub stride: usize,
    /// Columns to write, at most three vectors; the panel has whole vectors.
    pub n: usize,
    pub sum: bool,
}

impl<T: Vector> Panel<'_, T> {
    /// # Safety
    /// Every run has `k` terms for each of `m` rows of `a`, and as many rows of `b`, of `n` elements rounded up to whole vectors; `c` is m × n and
    /// nobody else touches it.
    #[inline(always)]
    pub unsafe fn run<S: Simd>(self, s: S) {
        struct Run<'a, T>(Panel<'a, T>);
        impl<T: Vector> WithSimd for Run<'_, T> {
            type Output = ();
            #[inline(always)]
            fn with_simd<S: Simd>(self, s: S) {
                // SAFETY: as the caller of `run` promises.
                unsafe {
                    let single = self.0.k == 1 && self.0.rows == 1;
                    match (single, self.0.columns == 1, self.0.n.div_ceil(T::lanes::<S>())) {
                        (true, _, 1) => self.0.strips::<S, false, true, 1>(s),
                        (true, _, 3) => self.0.strips::<S, false, true, 3>(s),
                        (_, true, 1) => self.0.strips::<S, true, false, 1>(s),
                        (_, true, 2) => self.0.strips::<S, true, false, 2>(s),
                        (_, true, _) => self.0.strips::<S, true, false, 3>(s),
                        (_, false, 1) => self.0.strips::<S, false, false, 1>(s),
                        (_, false, 2) => self.0.strips::<S, false, false, 2>(s),
                        (_, false, _) => self.0.strips::<S, false, false, 3>(s),
                    }
                }
            }
        }
        debug_assert!(self.columns == 1 || self.rows == 1 || self.m == 1);
        debug_assert!(self.n <= 3 * T::lanes::<S>());
        if self.m > 0 && self.n > 0 {
            // a function of its own: the tiles are compiled once
            s.vectorize(Run(self));
        }
    }

    /// # Safety
    /// As for [`Panel::run`]; `ROWS` says that the columns of `a` are 1 apart, `SINGLE` that runs are single terms, `V` is the number of vectors.
    #[inline(always)]
    unsafe fn strips<S: Simd, const ROWS: bool, const SINGLE: bool, const V: usize>(self, s: S) {
        let many = S::REGISTER_COUNT >= 32;
        let mut i = 0;
        while i < self.m {
            // SAFETY: as the caller promises; `i` counts the rows done.
            unsafe {
                i += match (V, self.m - i) {
                    // rather than a last row alone, whose sums wait for each other
                    (..=2, 13) if many => self.tile::<S, ROWS, SINGLE, 13, V>(s, i),
                    (..=2, 12..) if many => self.tile::<S, ROWS, SINGLE, 12, V>(s, i),
                    (_, 8..) if many || V == 1 => self.tile::<S, ROWS, SINGLE, 8, V>(s, i),
                    (2, 6..) if !many => self.tile::<S, ROWS, SINGLE, 6, V>(s, i),
                    (_, 4..) => self.tile::<S, ROWS, SINGLE, 4, V>(s, i),
                    (_, 2..) => self.tile::<S, ROWS, SINGLE, 2, V>(s, i),
                    _ => self.tile::<S, ROWS, SINGLE, 1, V>(s, i),
                };
            }
        }
    }

    /// Rows `from..from + R`, `R` at most 13; the result is their number.
    ///
    /// # Safety
    /// As for [`Panel::strips`]; the rows are below `m`.
    #[inline(always)]
    unsafe fn tile<S: Simd, const ROWS: bool, const SINGLE: bool, const R: usize, const V: usize>(
        self,
        s: S,
        from: usize,
    ) -> usize {
        /// By constants: over an array in a loop the sums would not stay in registers.
        macro_rules! each_row {
            ($do:ident) => {
                $do!(0 1 2 3 4 5 6 7 8 9 10 11 12)
            };
        }
        let lanes = T::lanes::<S>();
        // SAFETY: rows below `m`, vectors of the panel, as the caller promises.
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
            // those beyond R and V are never used
            let mut sums = [[T::zeros(s); 3]; 13];
            for &(start, first) in self.runs {
                // a pointer for four rows or five: few registers hold all addresses
                let mut a0 = a.add(start);
                let mut a4 = a0.wrapping_add(4 * row);
                let mut a8 = a0.wrapping_add(8 * row);
                let mut b = self.b.add(first);
                for _ in 0..if SINGLE { 1 } else { self.k } {
                    let first = load(s, b);
                    let second = if V >= 2 { load(s, b.add(lanes)) } else { first };
                    let third = if V == 3 { load(s, b.add(2 * lanes)) } else { first };
                    macro_rules! add {
                        ($($r:literal $a:ident $i:literal),*) => {$(
                            if $r < R {
                                let x = T::splat(s, *$a.add($i * row));
                                sums[$r][0] = T::multiply_add(s, x, first, sums[$r][0]);
                                if V >= 2 {
                                    sums[$r][1] = T::multiply_add(s, x, second, sums[$r][1]);
                                }
                                if V == 3 {
                                    sums[$r][2] = T::multiply_add(s, x, third, sums[$r][2]);
                                }
                            }
                        )*};
                    }
                    add!(0 a0 0, 1 a0 1, 2 a0 2, 3 a0 3, 4 a4 0, 5 a4 1, 6 a4 2, 7 a4 3, 8 a8 0, 9 a8 1, 10 a8 2, 11 a8 3, 12 a8 4);
                    a0 = a0.wrapping_add(column);
                    a4 = a4.wrapping_add(column);
                    a8 = a8.wrapping_add(column);
                    b = b.wrapping_add(self.step);
                }
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
        R
    }

    /// The first `n` elements of a vector to `c`.
    ///
    /// # Safety
    /// They belong to `c`, as for [`Panel::run`].
    #[inline(always)]
    unsafe fn put<S: Simd>(self, s: S, c: *mut T, x: T::V<S>, n: usize) {
        // SAFETY: as the caller promises.
        unsafe {
            if n == T::lanes::<S>() {
                store(s, c, if self.sum { T::plus(s, load(s, c), x) } else { x });
            } else {
                let c = std::slice::from_raw_parts_mut(c, n);
                let x = if self.sum { T::plus(s, T::load_part(s, c), x) } else { x };
                T::store_part(s, c, x);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers<T: Vector>(n: usize, seed: usize) -> Vec<T> {
        (0..n).map(|i| T::of((((i + seed) * 37 + 11) % 101) as f64 / 50. - 1.)).collect()
    }

    /// Two runs of terms or of single ones, both orders of the left-hand side, all numbers of rows up to two tiles and more, whole and partial vectors.
    fn check<S: Simd, T: Vector>(s: S, tolerance: f64) {
        let lanes = T::lanes::<S>();
        let (runs, step, stride) = ([(3, 2), (40, 9 * 3 * lanes + 1)], 3 * lanes, 3 * lanes + 2);
        let b: Vec<T> = numbers(20 * step, 2);
        for m in 1..=27 {
            for n in 1..=3 * lanes {
                for (rows, columns, k) in [(61, 1, 5), (1, 29, 5), (1, 29, 1)] {
                    let a: Vec<T> = numbers(60 + 29 * 61, 1);
                    for sum in [false, true] {
                        let before: Vec<T> = numbers(m * stride, 3);
                        let mut c = before.clone();
                        let (a, b) = (&a, &b);
                        let panel = Panel {
                            m,
                            k,
                            runs: &runs,
                            a: a.as_ptr(),
                            rows,
                            columns,
                            b: b.as_ptr(),
                            step,
                            c: c.as_mut_ptr(),
                            stride,
                            n,
                            sum,
                        };
                        // SAFETY: the last run's last term of row 27 stands before 40 + 26 · 61 + 29 · 5 of `a`, and in row 14 of `b`; `c` has `m` rows.
                        unsafe { panel.run(s) };
                        for i in 0..m {
                            for j in 0..stride {
                                let at = i * stride + j;
                                let mut expected = if sum || j >= n { before[at].as_f64() } else { 0. };
                                if j < n {
                                    for (x, y) in runs {
                                        for p in 0..k {
                                            expected +=
                                                a[x + i * rows + p * columns].as_f64() * b[y + p * step + j].as_f64();
                                        }
                                    }
                                }
                                let d = (c[at].as_f64() - expected).abs();
                                assert!(d <= tolerance, "{m} × {n}, row {i}, column {j}, {columns} apart: {d}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn all_tiles() {
        check::<_, f32>(pulp::Scalar, 1e-5);
        check::<_, f64>(pulp::Scalar, 1e-13);
        #[cfg(target_arch = "x86_64")]
        {
            if let Some(s) = pulp::x86::V3::try_new() {
                check::<_, f32>(s, 1e-5);
                check::<_, f64>(s, 1e-13);
            }
            if let Some(s) = pulp::x86::V4::try_new() {
                check::<_, f32>(s, 1e-5);
                check::<_, f64>(s, 1e-13);
            }
        }
    }
}
