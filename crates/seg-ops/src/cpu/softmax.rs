//! Softmax over rows.

use super::processor::arch;
use super::rows::{Softmax, SoftmaxBackward};
use super::vector::Vector;
use super::{Data, Value, attach1, dispatch, written};
use crate::error::Result;
use crate::float::Float;
use candle_core::{D, Tensor};
use rayon::prelude::*;

/// Partial results a reduction keeps, so that it vectorises.
pub(crate) const LANES: usize = 16;

/// `Σ f(i)` over `0..n` by [`LANES`] partial sums; to be called under [`simd`].
#[inline(always)]
pub(crate) fn reduce<T: Float>(x: &[T], start: T, f: impl Fn(T, T) -> T) -> T {
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
    lanes[1..].iter().fold(lanes[0], |a, &b| f(a, b))
}

/// The sum of `a[i] * b[i]`; to be called under [`simd`].
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
    lanes.iter().copied().sum()
}

/// `exp(x - max x)` in place; the sum of it is returned. To be called under [`simd`].
#[inline(always)]
pub(crate) fn exponentials<T: Float>(x: &mut [T]) -> T {
    let max = reduce(x, T::NEG_INFINITY, |a, b| if a > b { a } else { b });
    // a row that is masked out altogether gives NaN, as in PyTorch
    for x in x.iter_mut() {
        *x = (*x - max).exp_of_negative();
    }
    reduce(x, T::ZERO, |a, b| a + b)
}

/// [`exponentials`] of each row of `n` elements. To be called under [`simd`].
#[inline(always)]
pub(crate) fn exponentials_of_rows<T: Float>(x: &mut [T], n: usize, sums: &mut [T]) {
    if n >= 4 * LANES {
        for (row, sum) in x.chunks_exact_mut(n).zip(sums) {
            *sum = exponentials(row);
        }
        return;
    }
    // short rows: the exponentials of all of them in one go
    for row in x.chunks_exact_mut(n) {
        let mut max = T::NEG_INFINITY;
        for &x in row.iter() {
            max = if x > max { x } else { max };
        }
        for x in row {
            *x = *x - max;
        }
    }
    for x in x.iter_mut() {
        *x = x.exp_of_negative();
    }
    for (row, sum) in x.chunks_exact(n).zip(sums) {
        let mut total = T::ZERO;
        for &x in row {
            total += x;
        }
        *sum = total;
    }
}

/// See [`crate::softmax`].
pub(crate) fn softmax(x: &Tensor) -> Result<Tensor> {
    let x = &x.contiguous()?;
    let value = dispatch!(x, self::forward(x))?;
    attach1("softmax", value, x, |_, y, g| dispatch!(y, self::backward(y, g)).map(Some))
}

/// Elements a task.
const CHUNK: usize = 16 * 1024;

fn forward<T: Vector>(x: &Tensor) -> Result<Value> {
    let n = x.dim(D::Minus1)?.max(1);
    let data = Data::<T>::contiguous(x)?;
    let (rows, arch) = (n * CHUNK.div_ceil(n), arch());
    let each = |y: &mut [T]| {
        y.par_chunks_mut(rows).zip(data.par_chunks(rows)).for_each(|(y, x)| arch.dispatch(Softmax { y, x, n }));
    };
    #[allow(unsafe_code)]
    // SAFETY: whole rows, each of which the kernel writes before it reads it.
    let y = unsafe { written(data.len(), each) };
    Ok(Value::new(y, x.dims()))
}

fn backward<T: Vector>(y: &Tensor, g: &Tensor) -> Result<Tensor> {
    let n = y.dim(D::Minus1)?.max(1);
    let (data, g) = (Data::<T>::contiguous(y)?, Data::<T>::contiguous(g)?);
    let (rows, arch) = (n * CHUNK.div_ceil(n), arch());
    assert_eq!(data.len(), g.len());
    let each = |dx: &mut [T]| {
        dx.par_chunks_mut(rows)
            .zip(data.par_chunks(rows).zip(g.par_chunks(rows)))
            .for_each(|(dx, (y, g))| arch.dispatch(SoftmaxBackward { dx, y, g, n }));
    };
    #[allow(unsafe_code)]
    // SAFETY: value and gradient are of one length, in whole rows, each of which the kernel writes.
    let dx = unsafe { written(data.len(), each) };
    Value::new(dx, y.dims()).tensor()
}
