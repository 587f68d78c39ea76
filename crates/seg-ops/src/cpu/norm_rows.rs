//! Layer normalisation of rows and its gradient, vector by vector.
//!
//! Short rows go two at a time: the sums of one fill the pauses of the other. Of long ones a second would only be one stream more that memory has to
//! follow; for the same reason each row is written on its own.

use super::rows::{each_vector, get, put};
use super::vector::{Vector, fetch_to_write, settle};
use pulp::{Simd, WithSimd};

/// The longest rows that go two at a time, and whose output is asked for beforehand.
pub(super) const SHORT: usize = 512;
/// Bytes of a line of the cache.
const LINE: usize = 64;

/// Means and reciprocal standard deviations of `N` rows of one length, side by side, so that the sums of one row fill the pauses of the other. In two
/// passes, so that a large mean does not eat the variance.
#[inline(always)]
fn moments<T: Vector, S: Simd, const N: usize>(s: S, x: &[T], n: usize, eps: T) -> [(T, T); N] {
    let mut sums = [[T::zeros(s); 2]; N];
    each_vector!(s, n, |at, len, WHOLE| {
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = [sum[1], T::plus(s, sum[0], get(s, x, i * n + at, len, WHOLE))];
        }
    });
    let count = T::of_usize(n);
    let mut moments = [(T::ZERO, T::ZERO); N];
    let mut means = [T::zeros(s); N];
    for i in 0..N {
        moments[i].0 = T::total(s, T::plus(s, sums[i][0], sums[i][1])) / count;
        means[i] = T::splat(s, moments[i].0);
        sums[i] = [T::zeros(s); 2];
    }
    each_vector!(s, n, |at, len, WHOLE| {
        for i in 0..N {
            let mut d = T::minus(s, get(s, x, i * n + at, len, WHOLE), means[i]);
            if !WHOLE {
                d = T::times(s, d, T::ones::<S>(len));
            }
            let [a, b] = sums[i];
            sums[i] = [b, T::multiply_add(s, d, d, a)];
        }
    });
    for i in 0..N {
        let squares = T::total(s, T::plus(s, sums[i][0], sums[i][1]));
        moments[i].1 = T::ONE / (squares / count + eps).sqrt();
    }
    moments
}

/// Layer normalisation of rows as long as the weight; without a bias, that slice is empty.
pub(crate) struct Norm<'a, T> {
    pub y: &'a mut [T],
    pub x: &'a [T],
    pub weight: &'a [T],
    pub bias: &'a [T],
    pub eps: T,
    /// Mean and reciprocal standard deviation of each row, for the gradient; empty where nobody wants them.
    pub kept: &'a mut [T],
    /// Whether `y` is written past the caches: its rows are longer than [`SHORT`] and begin at multiples of 16 bytes.
    pub stream: bool,
}

impl<T: Vector> WithSimd for Norm<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        if self.stream {
            assert!(self.y.as_ptr().addr().is_multiple_of(16) && size_of_val(self.weight).is_multiple_of(16));
            self.rows::<S, true>(s);
            settle();
        } else {
            self.rows::<S, false>(s);
        }
    }
}

impl<T: Vector> Norm<'_, T> {
    #[inline(always)]
    fn rows<S: Simd, const STREAM: bool>(self, s: S) {
        let n = self.weight.len();
        let paired = if n <= SHORT { self.x.len() / (2 * n) * 2 * n } else { 0 };
        let (y, y_rest) = self.y.split_at_mut(paired);
        let (x, x_rest) = self.x.split_at(paired);
        let (kept, kept_rest) = self.kept.split_at_mut((2 * paired / n).min(self.kept.len()));
        let parameters = (self.weight, self.bias, self.eps);
        let mut kept = kept.chunks_mut(4);
        for (y, x) in y.chunks_exact_mut(2 * n).zip(x.chunks_exact(2 * n)) {
            norm_rows::<T, S, 2, STREAM>(s, y, x, parameters, kept.next().unwrap_or(&mut []));
        }
        let mut kept = kept_rest.chunks_mut(2);
        for (y, x) in y_rest.chunks_exact_mut(n).zip(x_rest.chunks_exact(n)) {
            norm_rows::<T, S, 1, STREAM>(s, y, x, parameters, kept.next().unwrap_or(&mut []));
        }
    }
}

/// `N` rows.
#[inline(always)]
fn norm_rows<T: Vector, S: Simd, const N: usize, const STREAM: bool>(
    s: S,
    y: &mut [T],
    x: &[T],
    (weight, bias, eps): (&[T], &[T], T),
    kept: &mut [T],
) {
    let n = weight.len();
    // what the processor fetches ahead of its own accord begins anew with every short row
    if n <= SHORT {
        for at in (0..N * n).step_by(LINE / size_of::<T>()) {
            fetch_to_write(y, at);
        }
    }
    let moments = moments::<T, S, N>(s, x, n, eps);
    for (kept, (mean, inverse)) in kept.chunks_exact_mut(2).zip(moments) {
        kept.copy_from_slice(&[mean, inverse]);
    }
    let (mut means, mut inverses) = ([T::zeros(s); N], [T::zeros(s); N]);
    for i in 0..N {
        means[i] = T::splat(s, moments[i].0);
        inverses[i] = T::splat(s, moments[i].1);
    }
    for i in 0..N {
        let (x, y) = (&x[i * n..][..n], &mut y[i * n..][..n]);
        each_vector!(s, n, |at, len, WHOLE| {
            let w = get(s, weight, at, len, WHOLE);
            let b = if bias.is_empty() { T::zeros(s) } else { get(s, bias, at, len, WHOLE) };
            let normed = T::times(s, T::minus(s, get(s, x, at, len, WHOLE), means[i]), inverses[i]);
            let normed = T::multiply_add(s, normed, w, b);
            if STREAM && WHOLE {
                let y = &mut y[at..][..len];
                #[allow(unsafe_code)]
                // SAFETY: a whole vector; rows begin at multiples of 16 bytes, as `with_simd` has seen, and so do their vectors, unless these are single
                // numbers, which are stored as ever.
                unsafe {
                    T::stream::<S>(y.as_mut_ptr(), normed);
                }
            } else {
                put(s, y, at, len, WHOLE, normed);
            }
        });
    }
}

/// The gradient of [`Norm`]: of the rows, and what these rows add to those of weight and bias.
pub(crate) struct NormBackward<'a, T> {
    pub dx: &'a mut [T],
    pub dw: &'a mut [T],
    pub db: &'a mut [T],
    pub x: &'a [T],
    pub g: &'a [T],
    pub weight: &'a [T],
    /// What [`Norm`] has kept of these rows.
    pub kept: &'a [T],
}

impl<T: Vector> WithSimd for NormBackward<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let n = self.weight.len();
        let count = T::of_usize(n);
        let rows = self.dx.chunks_exact_mut(n).zip(self.x.chunks_exact(n).zip(self.g.chunks_exact(n)));
        for ((dx, (x, g)), kept) in rows.zip(self.kept.chunks_exact(2)) {
            let (mean, inverse) = (T::splat(s, kept[0]), T::splat(s, kept[1]));
            // the mean of g w, and of g w times the normalised row
            let (mut total, mut along) = (T::zeros(s), T::zeros(s));
            each_vector!(s, n, |at, len, WHOLE| {
                let normed = T::times(s, T::minus(s, get(s, x, at, len, WHOLE), mean), inverse);
                let g = get(s, g, at, len, WHOLE);
                let weighted = T::times(s, g, get(s, self.weight, at, len, WHOLE));
                total = T::plus(s, total, weighted);
                along = T::multiply_add(s, weighted, normed, along);
                let (dw, db) = (get(s, self.dw, at, len, WHOLE), get(s, self.db, at, len, WHOLE));
                put(s, self.dw, at, len, WHOLE, T::multiply_add(s, g, normed, dw));
                put(s, self.db, at, len, WHOLE, T::plus(s, g, db));
            });
            let total = T::splat(s, T::total(s, total) / count);
            let along = T::splat(s, T::total(s, along) / count);
            each_vector!(s, n, |at, len, WHOLE| {
                let normed = T::times(s, T::minus(s, get(s, x, at, len, WHOLE), mean), inverse);
                let weighted = T::times(s, get(s, g, at, len, WHOLE), get(s, self.weight, at, len, WHOLE));
                let rest = T::minus(s, T::minus(s, weighted, total), T::times(s, normed, along));
                put(s, dx, at, len, WHOLE, T::times(s, rest, inverse));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::compare_vectors;
    use super::*;

    #[repr(align(64))]
    struct Lines([f32; 7 * 520]);

    fn by<S: Simd>(s: S, n: usize) -> Vec<Vec<f32>> {
        let numbers = |seed: usize| (0..7 * n).map(|i| ((i * 37 + seed) % 101) as f32 / 20. - 2.).collect::<Vec<f32>>();
        let (x, g, weight, eps) = (numbers(1), numbers(2), &numbers(3)[..n], 1e-5);
        let (mut y, mut streamed) = (Lines([0.; 7 * 520]), Lines([0.; 7 * 520]));
        let (mut kept, mut none) = (vec![0.; 2 * 7], []);
        let bias = &g[..n];
        s.vectorize(Norm { y: &mut y.0[..7 * n], x: &x, weight, bias, eps, kept: &mut kept, stream: false });
        let stream = n.is_multiple_of(4);
        s.vectorize(Norm { y: &mut streamed.0[..7 * n], x: &x, weight, bias, eps, kept: &mut none, stream });
        assert_eq!(y.0, streamed.0);
        let (mut dx, mut dw, mut db) = (vec![0.; 7 * n], vec![0.; n], vec![0.; n]);
        s.vectorize(NormBackward { dx: &mut dx, dw: &mut dw, db: &mut db, x: &x, g: &g, weight, kept: &kept });
        vec![y.0.to_vec(), dx, dw, db, kept]
    }

    #[test]
    fn every_vector_gives_the_same() {
        compare_vectors!(by, [1, 4, 8, 15, 16, 19, 50, 64, 512, 515, 516]);
    }
}
