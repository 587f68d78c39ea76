//! The gradients of deformable convolution.
//!
//! Moves and weights: pixel by pixel, in pieces of fixed size whose sums of the weights' gradient are added in order. The input: pixels reach anywhere, so
//! a task takes a few channels of a whole image and goes through all pixels in order. Neither depends on the number of threads.

use super::deform::{BLOCK, Gather, Geometry, Moves, weight_rows};
use super::matrix::{Keep, Mat, product};
use super::product::add_up;
use super::vector::Vector;
use super::{Data, Value, simd};
use crate::error::Result;
use candle_core::Tensor;
use rayon::prelude::*;

/// Pixels of a piece.
const PIECE: usize = 64 * BLOCK;
/// Channels of a task of the input's gradient.
const CHANNELS: usize = 8;

type Three = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

/// The gradients of `x`, of the moves (offsets, then masks where there are any) and of the weight; `wanted` says whether the first is, and the others are.
pub(super) fn gradients<T: Vector>(
    x: &Tensor,
    moves: &Tensor,
    weight: &Tensor,
    dy: &Tensor,
    g: &Geometry,
    wanted: (bool, bool),
) -> Result<Three> {
    let width = moves.dim(3)?;
    let (data, all, w) = (Data::<T>::contiguous(x)?, Data::<T>::contiguous(moves)?, Data::<T>::contiguous(weight)?);
    let dy = Data::<T>::contiguous(dy)?;
    if g.pixels() * g.outputs * g.inputs == 0 {
        return Ok((Some(x.zeros_like()?), Some(moves.zeros_like()?), Some(weight.zeros_like()?)));
    }
    let taps = g.taps();
    let mask = (width > 2 * taps).then(|| &all[2 * taps..]);
    let split = Moves { offset: &all, offset_stride: width, mask, mask_stride: width };
    let gather = Gather { g, x: &data, moves: split, nothing: &vec![T::ZERO; g.inputs] };
    let rows = weight_rows(&w, g);
    let dx = match wanted.0 {
        true => Some(Value::new(of_input(gather, &rows, &dy), x.dims()).tensor()?),
        false => None,
    };
    let (dmoves, dweight) = match wanted.1 {
        true => {
            let (dmoves, drows) = of_moves_and_weight(gather, &rows, &dy, width);
            let mut dweight = vec![T::ZERO; drows.len()];
            for (i, row) in drows.chunks_exact(g.outputs).enumerate() {
                let (tap, channel) = (i / g.inputs, i % g.inputs);
                for (o, &v) in row.iter().enumerate() {
                    dweight[(o * g.inputs + channel) * taps + tap] = v;
                }
            }
            let dweight = Value::new(dweight, weight.dims()).tensor()?;
            (Some(Value::new(dmoves, moves.dims()).tensor()?), Some(dweight))
        }
        false => (None, None),
    };
    Ok((dx, dmoves, dweight))
}

/// Gradients of the moves, `width` elements a pixel, and of the weight's rows.
fn of_moves_and_weight<T: Vector>(gather: Gather<'_, T>, rows: &[T], dy: &[T], width: usize) -> (Vec<T>, Vec<T>) {
    let g = gather.g;
    let (outputs, terms) = (g.outputs, g.terms());
    let mut dmoves = vec![T::ZERO; g.pixels() * width];
    let parts: Vec<Vec<T>> = dmoves
        .par_chunks_mut(PIECE * width)
        .enumerate()
        .map(|(piece, dmoves)| {
            let mut drows = vec![T::ZERO; terms * outputs];
            // what the pixels see, and the gradient of that
            let (mut seen, mut dseen) = (vec![T::ZERO; BLOCK * terms], vec![T::ZERO; BLOCK * terms]);
            for (block, dmoves) in dmoves.chunks_mut(BLOCK * width).enumerate() {
                let first = piece * PIECE + block * BLOCK;
                let m = dmoves.len() / width;
                let dy = Mat::new(&dy[first * outputs..][..m * outputs], outputs);
                let turned = Mat::new(rows, outputs).t();
                product((m, terms, outputs), &mut dseen, terms, Keep::Nothing, T::ONE, dy, turned);
                simd(
                    #[inline(always)]
                    || {
                        for (i, dmoves) in dmoves.chunks_exact_mut(width).enumerate() {
                            let at = i * terms..(i + 1) * terms;
                            of_pixel(&gather, first + i, &dseen[at.clone()], &mut seen[at], dmoves);
                        }
                    },
                );
                let seen = Mat::new(&seen, terms).t();
                product((terms, outputs, m), &mut drows, outputs, Keep::Sum, T::ONE, seen, dy);
            }
            drows
        })
        .collect();
    (dmoves, add_up(parts, terms * outputs))
}

/// One pixel's moves, and what it sees.
#[inline(always)]
fn of_pixel<T: Vector>(gather: &Gather<'_, T>, pixel: usize, dseen: &[T], seen: &mut [T], dmoves: &mut [T]) {
    let g = gather.g;
    let (taps, channels) = (g.taps(), g.inputs);
    for (tap, (dseen, seen)) in dseen.chunks_exact(channels).zip(seen.chunks_exact_mut(channels)).enumerate() {
        let Some(corners) = gather.moves.corners(g, pixel, tap) else {
            // moves begin as zeros
            seen.fill(T::ZERO);
            continue;
        };
        let mask = gather.moves.mask(pixel, tap);
        let [w0, w1, w2, w3] = corners.weights();
        let (fy, fx) = (corners.fy, corners.fx);
        let [a, b, c, d] = gather.corners(&corners).map(|x| &x[..channels]);
        let (dseen, seen) = (&dseen[..channels], &mut seen[..channels]);
        let (mut value, mut down, mut right) = (T::ZERO, T::ZERO, T::ZERO);
        for i in 0..channels {
            let (a, b, c, d, dv) = (a[i], b[i], c[i], d[i], dseen[i]);
            let v = a * w0 + b * w1 + c * w2 + d * w3;
            seen[i] = v * mask;
            value += v * dv;
            let (left_down, right_down) = (c - a, d - b);
            down += (left_down + (right_down - left_down) * fx) * dv;
            let (top, bottom) = (b - a, d - c);
            right += (top + (bottom - top) * fy) * dv;
        }
        dmoves[2 * tap] = down * mask;
        dmoves[2 * tap + 1] = right * mask;
        if let Some(dmask) = dmoves.get_mut(2 * taps + tap) {
            *dmask = value;
        }
    }
}

/// The gradient of the input.
fn of_input<T: Vector>(gather: Gather<'_, T>, rows: &[T], dy: &[T]) -> Vec<T> {
    let g = gather.g;
    let (outputs, taps, inputs) = (g.outputs, g.taps(), g.inputs);
    let groups = inputs.div_ceil(CHANNELS);
    let (image, plane) = (g.h * g.w, g.oh * g.ow);
    let parts: Vec<Vec<T>> = (0..g.batch * groups)
        .into_par_iter()
        .map(|task| {
            let (batch, from) = (task / groups, task % groups * CHANNELS);
            let channels = CHANNELS.min(inputs - from);
            let terms = taps * channels;
            // these channels' rows of the weight
            let mut mine = Vec::with_capacity(terms * outputs);
            for tap in 0..taps {
                mine.extend_from_slice(&rows[(tap * inputs + from) * outputs..][..channels * outputs]);
            }
            let mut dx = vec![T::ZERO; image * channels];
            let mut dseen = vec![T::ZERO; BLOCK * terms];
            for block in (0..plane).step_by(BLOCK) {
                let m = BLOCK.min(plane - block);
                let first = batch * plane + block;
                let dy = Mat::new(&dy[first * outputs..][..m * outputs], outputs);
                let turned = Mat::new(&mine, outputs).t();
                product((m, terms, outputs), &mut dseen, terms, Keep::Nothing, T::ONE, dy, turned);
                simd(
                    #[inline(always)]
                    || {
                        for (i, dseen) in dseen.chunks_exact(terms).take(m).enumerate() {
                            for (tap, dseen) in dseen.chunks_exact(channels).enumerate() {
                                scatter(&gather, first + i, tap, dseen, &mut dx, batch * image);
                            }
                        }
                    },
                );
            }
            dx
        })
        .collect();
    // the groups' channels side by side again
    let mut dx = vec![T::ZERO; g.batch * image * inputs];
    dx.par_chunks_mut(1024 * inputs).enumerate().for_each(|(piece, dx)| {
        for (i, dx) in dx.chunks_exact_mut(inputs).enumerate() {
            let pixel = piece * 1024 + i;
            for (group, to) in dx.chunks_mut(CHANNELS).enumerate() {
                let n = to.len();
                to.copy_from_slice(&parts[pixel / image * groups + group][pixel % image * n..][..n]);
            }
        }
    });
    dx
}

/// One tap of a pixel to the four pixels that it saw; `skipped` pixels of earlier images are not in `dx`.
#[inline(always)]
fn scatter<T: Vector>(gather: &Gather<'_, T>, pixel: usize, tap: usize, dseen: &[T], dx: &mut [T], skipped: usize) {
    let Some(corners) = gather.moves.corners(gather.g, pixel, tap) else { return };
    let mask = gather.moves.mask(pixel, tap);
    let channels = dseen.len();
    for (at, w) in corners.at.into_iter().zip(corners.weights()) {
        if let Some(at) = at {
            let w = w * mask;
            let dx = &mut dx[(at - skipped) * channels..][..channels];
            if let (Ok(dx), Ok(dseen)) = (<&mut [T; CHANNELS]>::try_from(&mut *dx), <&[T; CHANNELS]>::try_from(dseen)) {
                for (dx, &d) in dx.iter_mut().zip(dseen) {
                    *dx += d * w;
                }
            } else {
                for (dx, &d) in dx.iter_mut().zip(dseen) {
                    *dx += d * w;
                }
            }
        }
    }
}
