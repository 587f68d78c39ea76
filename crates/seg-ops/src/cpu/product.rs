//! Products with a weight matrix.

use super::matrix::{Keep, Mat, Shared, product_shared, product_threaded};
use super::tail::Tail;
use super::{Data, Value, Wanted, dense, dispatch, simd, tile, weighted};
use crate::Epilogue;
use crate::error::Result;
use crate::float::Float;
use candle_core::{DType, Tensor};
use gemm::Parallelism;
use rayon::prelude::*;

/// See [`crate::linear`].
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, e: Epilogue<'_>) -> Result<Tensor> {
    let (x, weight) = (&x.contiguous()?, &weight.contiguous()?);
    let forward = |e: Epilogue<'_>| value(x, weight, bias, e);
    weighted("linear", (x, weight, bias), (e, x.rank() - 1), forward, gradients, column_sums)
}

/// Rows from which packing the weight pays.
const PACKED_ROWS: usize = 12;

/// Whether the f32 tiles serve for a product of these sizes.
fn tiled(x: &Tensor, rows: usize, sizes: [usize; 2]) -> bool {
    x.dtype() == DType::F32 && rows >= PACKED_ROWS && !sizes.contains(&0) && tile::available()
}

pub(super) fn value(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, e: Epilogue<'_>) -> Result<Value> {
    let (outputs, inputs) = weight.dims2()?;
    let rows = x.elem_count() / inputs.max(1);
    if tiled(x, rows, [outputs, inputs]) {
        forward_tiled(x, weight, bias, e)
    } else {
        dispatch!(x, self::forward(x, weight, bias, e))
    }
}

fn forward_tiled(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, e: Epilogue<'_>) -> Result<Value> {
    let (outputs, inputs) = weight.dims2()?;
    let mut dims = x.dims().to_vec();
    dims[x.rank() - 1] = outputs;
    let rows = x.elem_count() / inputs;
    let (x, w) = (Data::<f32>::contiguous(x)?, Data::<f32>::contiguous(weight)?);
    let tail = Tail::new(bias, e)?;
    let tail = tail.data::<f32>()?;
    let (x, w) = (Mat::new(&x, inputs), Mat::new(&w, inputs).t());
    let y = dense::product((rows, outputs, inputs), x, w, tail.some());
    Ok(Value::new(y, dims))
}

fn forward<T: Float>(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, e: Epilogue<'_>) -> Result<Value> {
    let (outputs, inputs) = weight.dims2()?;
    let mut dims = x.dims().to_vec();
    let rows: usize = dims[..dims.len() - 1].iter().product();
    dims[x.rank() - 1] = outputs;
    let (x, w) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(weight)?);
    let mut y = vec![T::ZERO; rows * outputs];
    let tail = Tail::new(bias, e)?;
    let tail = tail.data::<T>()?;
    let (tall, wide) = grid(rows, outputs);
    let shared = Shared::new(&mut y);
    let (down, across) = (rows.div_ceil(tall), outputs.div_ceil(wide));
    (0..down * across).into_par_iter().for_each(|task| {
        let (row, column) = (task / across * tall, task % across * wide);
        let (m, n) = (tall.min(rows - row), wide.min(outputs - column));
        let a = Mat::new(&x, inputs).skip_rows(row);
        let b = Mat::new(&w, inputs).skip_rows(column).t();
        let at = row * outputs + column;
        #[allow(unsafe_code)]
        // SAFETY: tasks have blocks of their own, rows `row..row + m` and columns `column..column + n`.
        unsafe {
            product_shared((m, n, inputs), shared, at, outputs, Keep::Nothing, T::ONE, a, b, Parallelism::None);
        }
        // whole rows in one piece, parts of rows one by one
        let (rows, length) = if n == outputs { (1, m * n) } else { (m, n) };
        for i in 0..rows {
            #[allow(unsafe_code)]
            // SAFETY: rows of the same block.
            let y = unsafe { shared.part(at + i * outputs, length) };
            tail.across_channels(y, column, n, at + i * outputs);
        }
    });
    Ok(Value::new(y, dims))
}

/// Rows and columns a task: tall enough that packing the weight costs little, few enough that all threads have work. The sizes alone decide: how an
/// element is summed up can depend on the block around it, and its bits must not depend on the number of threads.
fn grid(rows: usize, outputs: usize) -> (usize, usize) {
    if rows * outputs < 4096 {
        return (rows.max(1), outputs.max(1));
    }
    if rows >= 256 {
        return (rows.div_ceil(16).clamp(32, 512), outputs.max(1));
    }
    let parts = (rows * outputs / 4096).clamp(4, 32);
    (rows.max(1), outputs.div_ceil(parts).next_multiple_of(16))
}

/// Gradients of the inputs and of the weight; of `x` only the shape matters where the weight wants none.
pub(super) fn gradients(
    x: &Tensor,
    weight: &Tensor,
    g: &Tensor,
    wanted: Wanted,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (outputs, inputs) = weight.dims2()?;
    let rows = x.elem_count() / inputs.max(1);
    if !tiled(x, rows, [outputs, inputs]) {
        return dispatch!(x, self::backward(x, weight, g, wanted));
    }
    let (xs, w, g) = (Data::<f32>::contiguous(x)?, Data::<f32>::contiguous(weight)?, Data::<f32>::contiguous(g)?);
    let (xs, w, g) = (Mat::new(&xs, inputs), Mat::new(&w, inputs), Mat::new(&g, outputs));
    let dx = || Value::new(dense::product((rows, inputs, outputs), g, w, None), x.dims()).tensor();
    let dw = || Value::new(dense::product((outputs, inputs, rows), g.t(), xs, None), (outputs, inputs)).tensor();
    wanted.gradients(dx, dw)
}

fn backward<T: Float>(
    x: &Tensor,
    weight: &Tensor,
    g: &Tensor,
    wanted: Wanted,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (outputs, inputs) = weight.dims2()?;
    let rows = g.elem_count() / outputs.max(1);
    let (xs, w, g) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(weight)?, Data::<T>::contiguous(g)?);
    let (xs, w, g) = (Mat::new(&xs, inputs), Mat::new(&w, inputs), Mat::new(&g, outputs));
    let product = |sizes: (usize, usize, usize), a, b, shape: &[usize]| {
        let mut y = vec![T::ZERO; sizes.0 * sizes.1];
        product_threaded(sizes, &mut y, inputs, Keep::Nothing, a, b);
        Value::new(y, shape).tensor()
    };
    let dx = || product((rows, inputs, outputs), g, w, x.dims());
    let dw = || product((outputs, inputs, rows), g.t(), xs, &[outputs, inputs]);
    wanted.gradients(dx, dw)
}

/// The sum over all axes but the last.
pub(crate) fn column_sums(g: &Tensor) -> Result<Tensor> {
    dispatch!(g, self::sums(g))
}

fn sums<T: Float>(g: &Tensor) -> Result<Tensor> {
    let n = g.dim(g.rank() - 1)?;
    let data = Data::<T>::contiguous(g)?;
    Value::new(sum_rows(&data, n), n).tensor()
}

/// The sum of rows of `n` elements.
pub(crate) fn sum_rows<T: Float>(data: &[T], n: usize) -> Vec<T> {
    if n == 0 {
        return Vec::new();
    }
    // chunks of a fixed size, so that the result does not depend on the number of threads
    let partial: Vec<Vec<T>> = data
        .par_chunks(n * 256)
        .map(|rows| {
            let mut sum = vec![T::ZERO; n];
            simd(
                #[inline(always)]
                || {
                    for row in rows.chunks_exact(n) {
                        for (s, &x) in sum.iter_mut().zip(row) {
                            *s += x;
                        }
                    }
                },
            );
            sum
        })
        .collect();
    add_up(partial, n)
}

/// The sum of equally long vectors.
pub(crate) fn add_up<T: Float>(parts: Vec<Vec<T>>, n: usize) -> Vec<T> {
    let mut parts = parts.into_iter();
    let mut sum = parts.next().unwrap_or_else(|| vec![T::ZERO; n]);
    for part in parts {
        for (s, x) in sum.iter_mut().zip(part) {
            *s += x;
        }
    }
    sum
}
