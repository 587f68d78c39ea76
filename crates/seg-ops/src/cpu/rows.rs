//! Sums and softmax of rows, vector by vector; layer normalisation is in [`super::norm_rows`].
//!
//! Each row is visited while it lies in the first-level cache: once for its maximum or mean, once for its sum, once to write the result. Two vectors of
//! partial results keep an addition from waiting for the one before; what is left at the end of a row is read and written in part. Sums depend on the
//! processor's vectors and on nothing else.

use super::vector::{Vector, fetch};
use pulp::{Simd, WithSimd};

/// The parts of rows that are whole vectors, and what is left.
macro_rules! each_vector {
    ($s:ident, $n:expr, |$at:ident, $len:ident, $whole:ident| $body:expr) => {{
        let (n, lanes) = ($n, T::lanes::<S>());
        let mut $at = 0;
        while $at + lanes <= n {
            const $whole: bool = true;
            let $len = lanes;
            $body;
            $at += lanes;
        }
        if $at < n {
            const $whole: bool = false;
            let $len = n - $at;
            $body;
        }
    }};
}

pub(super) use each_vector;

/// Reads a vector of a row, or its end with zeros after it.
#[inline(always)]
pub(super) fn get<T: Vector, S: Simd>(s: S, x: &[T], at: usize, len: usize, whole: bool) -> T::V<S> {
    let x = &x[at..at + len];
    if whole {
        debug_assert_eq!(len, T::lanes::<S>());
        #[allow(unsafe_code)]
        // SAFETY: a whole vector is as long as the slice.
        unsafe {
            T::load::<S>(x.as_ptr())
        }
    } else {
        T::load_part(s, x)
    }
}

/// Writes a vector of a row, or its end.
#[inline(always)]
pub(super) fn put<T: Vector, S: Simd>(s: S, y: &mut [T], at: usize, len: usize, whole: bool, v: T::V<S>) {
    let y = &mut y[at..at + len];
    if whole {
        debug_assert_eq!(len, T::lanes::<S>());
        #[allow(unsafe_code)]
        // SAFETY: a whole vector is as long as the slice.
        unsafe {
            T::store::<S>(y.as_mut_ptr(), v);
        }
    } else {
        T::store_part(s, y, v);
    }
}

/// Sums in two registers, one after the other.
struct Sum<T: Vector, S: Simd>([T::V<S>; 2]);

impl<T: Vector, S: Simd> Sum<T, S> {
    #[inline(always)]
    fn new(s: S) -> Self {
        Self([T::zeros(s); 2])
    }

    /// `f(the sum so far)`.
    #[inline(always)]
    fn add(&mut self, f: impl FnOnce(T::V<S>) -> T::V<S>) {
        let [a, b] = self.0;
        self.0 = [b, f(a)];
    }

    #[inline(always)]
    fn total(self, s: S) -> T {
        T::total(s, T::plus(s, self.0[0], self.0[1]))
    }
}

/// The sum of a row.
pub(crate) struct Total<'a, T>(pub &'a [T]);

impl<T: Vector> WithSimd for Total<'_, T> {
    type Output = T;

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> T {
        let mut sum = Sum::<T, S>::new(s);
        each_vector!(s, self.0.len(), |at, len, WHOLE| {
            let x = get(s, self.0, at, len, WHOLE);
            sum.add(
                #[inline(always)]
                |sum| T::plus(s, sum, x),
            );
        });
        sum.total(s)
    }
}

/// Softmax of rows of `n`.
pub(crate) struct Softmax<'a, T> {
    pub y: &'a mut [T],
    pub x: &'a [T],
    pub n: usize,
}

/// Rows side by side, and the longest ones that are taken so.
const SIDE: usize = 4;
const SHORT: usize = 512;

/// Unfinished rows, each from the beginning of a line of the cache on.
#[repr(align(64))]
struct Lines<T>([T; SIDE * SHORT]);

impl<T: Vector> WithSimd for Softmax<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let n = self.n;
        if (T::lanes::<S>()..=SHORT).contains(&n) {
            let mut lines = Lines([T::ZERO; SIDE * SHORT]);
            let (mut to, mut from) = (self.y.chunks_exact_mut(SIDE * n), self.x.chunks_exact(SIDE * n));
            for (y, x) in (&mut to).zip(&mut from) {
                short_rows::<T, S, SIDE>(s, y, x, n, &mut lines.0);
            }
            for (y, x) in to.into_remainder().chunks_exact_mut(n).zip(from.remainder().chunks_exact(n)) {
                short_rows::<T, S, 1>(s, y, x, n, &mut lines.0);
            }
            return;
        }
        for (y, x) in self.y.chunks_exact_mut(n).zip(self.x.chunks_exact(n)) {
            let max = T::splat(s, maximum(s, x));
            let mut sum = Sum::<T, S>::new(s);
            each_vector!(s, x.len(), |at, len, WHOLE| {
                // a row that is masked out altogether gives NaN, as in PyTorch
                let mut e = T::exp(s, T::minus(s, get(s, x, at, len, WHOLE), max));
                put(s, y, at, len, WHOLE, e);
                if !WHOLE {
                    // with zeros after it
                    e = get(s, y, at, len, WHOLE);
                }
                sum.add(
                    #[inline(always)]
                    |sum| T::plus(s, sum, e),
                );
            });
            let inverse = T::splat(s, T::ONE / sum.total(s));
            each_vector!(s, y.len(), |at, len, WHOLE| {
                let e = get(s, y, at, len, WHOLE);
                put(s, y, at, len, WHOLE, T::times(s, e, inverse));
            });
        }
    }
}

/// `N` rows of at least a vector side by side: what one of them waits for is filled by the others. Exponentials stay in `lines`, whose rows are whole
/// vectors, so that the result is written once. The last vector of a row covers part of the one before; its share of the sum is its new elements.
#[inline(always)]
fn short_rows<T: Vector, S: Simd, const N: usize>(s: S, y: &mut [T], x: &[T], n: usize, lines: &mut [T]) {
    let lanes = T::lanes::<S>();
    let (whole, padded) = (n / lanes * lanes, n.next_multiple_of(lanes));
    let mut new = [T::ZERO; 16];
    new[lanes - n % lanes..lanes].fill(T::ONE);
    let new = get(s, &new, 0, lanes, true);
    assert!(n >= lanes && x.len() == N * n && y.len() == N * n && N * padded <= lines.len());
    let rows: [&[T]; N] = std::array::from_fn(
        #[inline(always)]
        |i| &x[i * n..][..n],
    );
    let mut maxima = [T::splat(s, T::NEG_INFINITY); N];
    for at in (0..whole).step_by(lanes) {
        for i in 0..N {
            maxima[i] = T::greater(s, maxima[i], get(s, rows[i], at, lanes, true));
        }
    }
    for i in 0..N {
        let max = T::greater(s, maxima[i], get(s, rows[i], n - lanes, lanes, true));
        maxima[i] = T::splat(s, T::greatest(s, max));
    }
    let mut sums = [T::zeros(s); N];
    for at in (0..whole).step_by(lanes) {
        for i in 0..N {
            // a row that is masked out altogether gives NaN, as in PyTorch
            let e = T::exp(s, T::minus(s, get(s, rows[i], at, lanes, true), maxima[i]));
            put(s, lines, i * padded + at, lanes, true, e);
            // of the rows that come next
            fetch(x, (N + i) * n + at);
            sums[i] = T::plus(s, sums[i], e);
        }
    }
    for i in 0..N {
        if whole < n {
            let e = T::exp(s, T::minus(s, get(s, rows[i], n - lanes, lanes, true), maxima[i]));
            put(s, lines, i * padded + whole, lanes, true, e);
            sums[i] = T::multiply_add(s, e, new, sums[i]);
        }
    }
    for i in 0..N {
        let inverse = T::splat(s, T::ONE / T::total(s, sums[i]));
        let (y, lines) = (&mut y[i * n..][..n], &lines[i * padded..][..padded]);
        for at in (0..whole).step_by(lanes) {
            put(s, y, at, lanes, true, T::times(s, get(s, lines, at, lanes, true), inverse));
        }
        if whole < n {
            put(s, y, n - lanes, lanes, true, T::times(s, get(s, lines, whole, lanes, true), inverse));
        }
    }
}

/// The greatest element; any number if one is NaN.
#[inline(always)]
fn maximum<T: Vector, S: Simd>(s: S, x: &[T]) -> T {
    let lanes = T::lanes::<S>();
    if x.len() < lanes {
        return x.iter().fold(T::NEG_INFINITY, |a, &b| if a > b { a } else { b });
    }
    let mut best = [T::splat(s, T::NEG_INFINITY); 2];
    let mut at = 0;
    while at < x.len() {
        // the last vector covers part of the one before: a maximum does not mind
        at = at.min(x.len() - lanes);
        let [a, b] = best;
        best = [b, T::greater(s, a, get(s, x, at, lanes, true))];
        at += lanes;
    }
    T::greatest(s, T::greater(s, best[0], best[1]))
}

/// The gradient of [`Softmax`], given its value.
pub(crate) struct SoftmaxBackward<'a, T> {
    pub dx: &'a mut [T],
    pub y: &'a [T],
    pub g: &'a [T],
    pub n: usize,
}

impl<T: Vector> WithSimd for SoftmaxBackward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let n = self.n;
        for ((dx, y), g) in self.dx.chunks_exact_mut(n).zip(self.y.chunks_exact(n)).zip(self.g.chunks_exact(n)) {
            let mut sum = Sum::<T, S>::new(s);
            each_vector!(s, n, |at, len, WHOLE| {
                let (y, g) = (get(s, y, at, len, WHOLE), get(s, g, at, len, WHOLE));
                sum.add(
                    #[inline(always)]
                    |sum| T::multiply_add(s, y, g, sum),
                );
            });
            let mean = T::splat(s, sum.total(s));
            each_vector!(s, n, |at, len, WHOLE| {
                let (y, g) = (get(s, y, at, len, WHOLE), get(s, g, at, len, WHOLE));
                put(s, dx, at, len, WHOLE, T::times(s, y, T::minus(s, g, mean)));
            });
        }
    }
}

/// Asserts that a function of the vectors and the rows' length gives the same numbers by every kind of vectors that this processor has.
#[cfg(test)]
macro_rules! compare_vectors {
    ($by:ident, $lengths:expr) => {
        for n in $lengths {
            let expected = $by(pulp::Scalar, n);
            let same = |got: Vec<Vec<f32>>| {
                for (i, (a, b)) in got.iter().flatten().zip(expected.iter().flatten()).enumerate() {
                    assert!((a - b).abs() <= 1e-4 * b.abs().max(1.), "rows of {n}, number {i}: {a}, expected {b}");
                }
            };
            #[cfg(target_arch = "x86_64")]
            {
                pulp::x86::V3::try_new().into_iter().for_each(|s| same($by(s, n)));
                pulp::x86::V4::try_new().into_iter().for_each(|s| same($by(s, n)));
            }
            same($by(pulp::Scalar, n));
        }
    };
}
#[cfg(test)]
pub(super) use compare_vectors;

#[cfg(test)]
mod tests {
    use super::*;

    fn by<S: Simd>(s: S, n: usize) -> Vec<Vec<f32>> {
        let numbers = |seed: usize| (0..7 * n).map(|i| ((i * 37 + seed) % 101) as f32 / 20. - 2.).collect::<Vec<f32>>();
        let (x, g) = (numbers(1), numbers(2));
        let mut soft = vec![0.; 7 * n];
        s.vectorize(Softmax { y: &mut soft, x: &x, n });
        let mut dsoft = vec![0.; 7 * n];
        s.vectorize(SoftmaxBackward { dx: &mut dsoft, y: &soft, g: &g, n });
        vec![soft, dsoft, vec![s.vectorize(Total(&x))]]
    }

    #[test]
    fn every_vector_gives_the_same() {
        compare_vectors!(by, [1, 4, 8, 15, 16, 19, 50, 64, 512, 515]);
    }
}
