//! Reductions of rows by many partial results, so that they vectorise and no addition waits for the one before. All to be called under [`super::simd`].

use crate::float::Float;

/// Partial results: two vectors of AVX-512, four of AVX2.
const LANES: usize = 32;

/// The partial results in pairs, in an order that depends on nothing.
#[inline(always)]
fn join<T: Float>(mut lanes: [T; LANES], f: impl Fn(T, T) -> T) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = f(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// `f` over all elements; `start` is its neutral element.
#[inline(always)]
pub(crate) fn fold<T: Float>(x: &[T], start: T, f: impl Fn(T, T) -> T) -> T {
    let mut lanes = [start; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (l, &x) in lanes.iter_mut().zip(chunk) {
            *l = f(*l, x);
        }
    }
    for (l, &x) in lanes.iter_mut().zip(chunks.remainder()) {
        *l = f(*l, x);
    }
    join(lanes, f)
}

/// The sum of `f(x)`.
#[inline(always)]
pub(crate) fn sum_of<T: Float>(x: &[T], f: impl Fn(T, T) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (l, &x) in lanes.iter_mut().zip(chunk) {
            *l = f(x, *l);
        }
    }
    for (l, &x) in lanes.iter_mut().zip(chunks.remainder()) {
        *l = f(x, *l);
    }
    join(lanes, |a, b| a + b)
}

/// `y = f(x)`, and the sum of it.
#[inline(always)]
pub(crate) fn map_sum<T: Float>(y: &mut [T], x: &[T], f: impl Fn(T) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (mut to, mut from) = (y.chunks_exact_mut(LANES), x.chunks_exact(LANES));
    for (y, x) in (&mut to).zip(&mut from) {
        for ((l, y), &x) in lanes.iter_mut().zip(y).zip(x) {
            *y = f(x);
            *l += *y;
        }
    }
    for ((l, y), &x) in lanes.iter_mut().zip(to.into_remainder()).zip(from.remainder()) {
        *y = f(x);
        *l += *y;
    }
    join(lanes, |a, b| a + b)
}

/// The sum of `a[i] * b[i]`.
#[inline(always)]
pub(crate) fn dot<T: Float>(a: &[T], b: &[T]) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (mut ca, mut cb) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in (&mut ca).zip(&mut cb) {
        for ((l, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *l = a.fma(b, *l);
        }
    }
    for ((l, &a), &b) in lanes.iter_mut().zip(ca.remainder()).zip(cb.remainder()) {
        *l = a.fma(b, *l);
    }
    join(lanes, |a, b| a + b)
}

/// The sum over three rows: `f(a, b, c, sum so far)`.
#[inline(always)]
pub(crate) fn sum3<T: Float>(a: &[T], b: &[T], c: &[T], f: impl Fn(T, T, T, T) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (mut ca, mut cb, mut cc) = (a.chunks_exact(LANES), b.chunks_exact(LANES), c.chunks_exact(LANES));
    for ((a, b), c) in (&mut ca).zip(&mut cb).zip(&mut cc) {
        for (((l, &a), &b), &c) in lanes.iter_mut().zip(a).zip(b).zip(c) {
            *l = f(a, b, c, *l);
        }
    }
    for (((l, &a), &b), &c) in lanes.iter_mut().zip(ca.remainder()).zip(cb.remainder()).zip(cc.remainder()) {
        *l = f(a, b, c, *l);
    }
    join(lanes, |a, b| a + b)
}
