//! Sampling a feature map at given positions.

use super::deform::Corners;
use super::{Data, Value, attach2, dispatch, simd};
use crate::Layout;
use crate::error::Result;
use crate::float::Float;
use candle_core::Tensor;
use rayon::prelude::*;

/// Positions of a task.
const PIECE: usize = 1024;

/// Sizes: an element of the map is channel `c` of pixel `p` of image `b`, `positions` are those of one image.
#[derive(Clone, Copy)]
struct Geometry {
    batch: usize,
    channels: usize,
    h: usize,
    w: usize,
    positions: usize,
    layout: Layout,
}

impl Geometry {
    /// Index of a channel of a pixel (of all images' pixels, `n` an image).
    #[inline(always)]
    fn at(&self, n: usize, pixel: usize, channel: usize) -> usize {
        match self.layout {
            Layout::Nhwc => pixel * self.channels + channel,
            Layout::Nchw => (pixel / n * self.channels + channel) * n + pixel % n,
        }
    }

    /// Elements from one channel to the next.
    fn step(&self, n: usize) -> usize {
        if self.layout == Layout::Nhwc { 1 } else { n }
    }

    fn image(&self) -> usize {
        self.h * self.w
    }
}

/// See [`crate::grid_sample`].
pub(crate) fn grid_sample(x: &Tensor, grid: &Tensor, layout: Layout) -> Result<Tensor> {
    let (x, grid) = (&x.contiguous()?, &grid.contiguous()?);
    let (_, oh, ow, _) = grid.dims4()?;
    let (batch, channels, h, w) = layout.dims("grid_sample", "x", x)?;
    let g = Geometry { batch, channels, h, w, positions: oh * ow, layout };
    let value = dispatch!(x, self::forward(x, grid, &layout.shape(batch, channels, oh, ow), &g))?;
    attach2("grid_sample", value, x, grid, move |x, grid, _, dy| dispatch!(x, self::backward(x, grid, dy, &g)))
}

/// The pixels around each position of the grid.
fn corners<T: Float>(grid: &[T], g: &Geometry) -> Vec<Option<Corners<T>>> {
    let half = T::of(0.5);
    let place = |v: T, n: usize| ((v + T::ONE) * T::of_usize(n) - T::ONE) * half;
    grid.par_chunks_exact(2)
        .enumerate()
        .map(|(i, xy)| Corners::new(i / g.positions, (g.h, g.w), place(xy[1], g.h), place(xy[0], g.w)))
        .collect()
}

/// Each product is added in one rounding, in the order of [`Corners::at`]: bit by bit what PyTorch's vectorised kernel gives, which matters where the
/// values are sorted afterwards (a loss's least sure points).
fn forward<T: Float>(x: &Tensor, grid: &Tensor, dims: &[usize], g: &Geometry) -> Result<Value> {
    let (data, grid) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(grid)?);
    let mut y = vec![T::ZERO; g.batch * g.positions * g.channels];
    if y.is_empty() {
        return Ok(Value::new(y, dims));
    }
    let corners = corners(&grid, g);
    let x: &[T] = &data;
    match g.layout {
        Layout::Nhwc => y.par_chunks_mut(PIECE * g.channels).zip(corners.par_chunks(PIECE)).for_each(|(y, corners)| {
            simd(
                #[inline(always)]
                || {
                    for (y, corners) in y.chunks_exact_mut(g.channels).zip(corners) {
                        let Some(corners) = corners else { continue };
                        for (at, w) in corners.at.into_iter().zip(corners.weights()) {
                            let Some(at) = at else { continue };
                            for (y, &x) in y.iter_mut().zip(&x[at * g.channels..]) {
                                *y = x.fma(w, *y);
                            }
                        }
                    }
                },
            );
        }),
        Layout::Nchw => y.par_chunks_mut(g.positions).enumerate().for_each(|(plane, y)| {
            let corners = &corners[plane / g.channels * g.positions..];
            y.par_chunks_mut(PIECE).zip(corners.par_chunks(PIECE)).for_each(|(y, corners)| {
                simd(
                    #[inline(always)]
                    || {
                        for (y, corners) in y.iter_mut().zip(corners) {
                            let Some(corners) = corners else { continue };
                            for (at, w) in corners.at.into_iter().zip(corners.weights()) {
                                if let Some(at) = at {
                                    *y = x[g.at(g.image(), at, plane % g.channels)].fma(w, *y);
                                }
                            }
                        }
                    },
                );
            });
        }),
    }
    Ok(Value::new(y, dims))
}

fn backward<T: Float>(
    x: &Tensor,
    grid: &Tensor,
    dy: &Tensor,
    g: &Geometry,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (data, places, dy) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(grid)?, Data::<T>::contiguous(dy)?);
    let (data, dy): (&[T], &[T]) = (&data, &dy);
    let corners = corners(&places, g);
    let (image, positions) = (g.image(), g.positions);
    let mut dx = vec![T::ZERO; data.len()];
    let add = |dx: &mut [T], skipped: usize, position: usize, channel: usize| {
        let Some(corners) = &corners[position] else { return };
        let d = dy[g.at(positions, position, channel)];
        for (at, w) in corners.at.into_iter().zip(corners.weights()) {
            if let Some(at) = at {
                dx[g.at(image, at, channel) - skipped] += d * w;
            }
        }
    };
    // positions may share pixels: each plane (or image) has one task, which takes them in order
    let tasks = if g.layout == Layout::Nhwc { (image * g.channels, g.channels) } else { (image, 1) };
    if !dy.is_empty() {
        dx.par_chunks_mut(tasks.0).enumerate().for_each(|(task, dx)| {
            let batch = task * tasks.1 / g.channels;
            for position in batch * positions..(batch + 1) * positions {
                for channel in 0..tasks.1 {
                    add(dx, task * tasks.0, position, (task * tasks.1 + channel) % g.channels);
                }
            }
        });
    }
    let mut dgrid = vec![T::ZERO; places.len()];
    let half = T::of(0.5);
    dgrid.par_chunks_exact_mut(2).zip(&corners).enumerate().for_each(|(position, (dgrid, corners))| {
        let Some(Corners { at, fy, fx }) = corners else { return };
        let (mut down, mut right) = (T::ZERO, T::ZERO);
        let first = g.at(positions, position, 0);
        for channel in 0..g.channels {
            let [a, b, c, d] = at.map(|at| at.map_or(T::ZERO, |at| data[g.at(image, at, channel)]));
            let dy = dy[first + channel * g.step(positions)];
            let (left_down, right_down) = (c - a, d - b);
            down += (left_down + (right_down - left_down) * *fx) * dy;
            let (top, bottom) = (b - a, d - c);
            right += (top + (bottom - top) * *fy) * dy;
        }
        dgrid[0] = right * T::of_usize(g.w) * half;
        dgrid[1] = down * T::of_usize(g.h) * half;
    });
    Ok((Some(Value::new(dx, x.dims()).tensor()?), Some(Value::new(dgrid, grid.dims()).tensor()?)))
}
