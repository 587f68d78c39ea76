//! Deformable convolution, channels last.
//!
//! A task gathers what a block of output pixels sees through a few taps (four loads of whole channel vectors each) into a buffer that stays in the
//! first-level cache, multiplies it with these taps' weights, and goes on to the next taps; no matrix of columns is ever whole in memory.
#![allow(unsafe_code)]

use super::matrix::Shared;
use super::panels::{last_width, pack_rows, packed};
use super::processor::{lanes, run};
use super::scratch::with_scratch;
use super::tail::{Tail, TailData};
use super::tile::{Panel, WHOLE};
use super::vector::{Vector, load, store};
use super::{Data, Value, attach3, deform_backward, dispatch, tracked, written};
use crate::error::Result;
use crate::float::Float;
use crate::{DeformConv2dParams, Epilogue};
use candle_core::Tensor;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// Output pixels of a block.
pub(super) const BLOCK: usize = 36;
/// Terms of a sum that a block's buffer holds for each pixel, at least one tap's.
const DEPTH: usize = 192;

/// Sizes, in the order of the memory.
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    pub batch: usize,
    pub h: usize,
    pub w: usize,
    pub inputs: usize,
    pub oh: usize,
    pub ow: usize,
    pub kh: usize,
    pub kw: usize,
    pub outputs: usize,
    pub p: DeformConv2dParams,
}

impl Geometry {
    fn new(x: &Tensor, offset: &Tensor, weight: &Tensor, p: &DeformConv2dParams) -> Result<Self> {
        let ((batch, h, w, inputs), (_, oh, ow, _)) = (x.dims4()?, offset.dims4()?);
        let (outputs, _, kh, kw) = weight.dims4()?;
        Ok(Self { batch, h, w, inputs, oh, ow, kh, kw, outputs, p: *p })
    }

    pub fn taps(&self) -> usize {
        self.kh * self.kw
    }

    /// Terms of an output's sum.
    pub fn terms(&self) -> usize {
        self.taps() * self.inputs
    }

    /// Output pixels of all images.
    pub fn pixels(&self) -> usize {
        self.batch * self.oh * self.ow
    }
}

/// Offsets and masks of all output pixels: `stride` elements a pixel, of which the first are its offsets.
#[derive(Clone, Copy)]
pub(super) struct Moves<'a, T> {
    pub offset: &'a [T],
    pub offset_stride: usize,
    pub mask: Option<&'a [T]>,
    pub mask_stride: usize,
}

/// The four pixels around a position, and how far it is from the upper left one.
pub(super) struct Corners<T> {
    /// Number of the pixel in all images, `None` outside: upper left, upper right, lower left, lower right.
    pub at: [Option<usize>; 4],
    pub fy: T,
    pub fx: T,
}

impl<T: Float> Corners<T> {
    /// `y` and `x` in pixels of image `image` of `h` × `w`; none where no pixel touches the position.
    #[inline(always)]
    pub fn new(image: usize, (h, w): (usize, usize), y: T, x: T) -> Option<Self> {
        // written so that a NaN is outside
        let touches = |v: T, n: usize| v >= -T::ONE && v < T::of_usize(n);
        if !(touches(y, h) && touches(x, w)) {
            return None;
        }
        let (y0, x0) = (y.floor(), x.floor());
        // one more than the indices, which begin with -1
        let (row, column) = ((y0 + T::ONE).as_f64() as usize, (x0 + T::ONE).as_f64() as usize);
        let pixel = |row: usize, column: usize| {
            let inside = row >= 1 && row <= h && column >= 1 && column <= w;
            if inside { Some((image * h + row - 1) * w + column - 1) } else { None }
        };
        let at = [pixel(row, column), pixel(row, column + 1), pixel(row + 1, column), pixel(row + 1, column + 1)];
        Some(Self { at, fy: y - y0, fx: x - x0 })
    }

    /// The weights of the four.
    #[inline(always)]
    pub fn weights(&self) -> [T; 4] {
        let (gy, gx) = (T::ONE - self.fy, T::ONE - self.fx);
        [gy * gx, gy * self.fx, self.fy * gx, self.fy * self.fx]
    }
}

impl<T: Float> Moves<'_, T> {
    /// Where output pixel `pixel` sees tap `tap`.
    #[inline(always)]
    pub fn corners(&self, g: &Geometry, pixel: usize, tap: usize) -> Option<Corners<T>> {
        let (image, oy, ox) = (pixel / (g.oh * g.ow), pixel / g.ow % g.oh, pixel % g.ow);
        let offset = &self.offset[pixel * self.offset_stride + 2 * tap..][..2];
        let start = |o: usize| T::of_usize(o * g.p.stride) - T::of_usize(g.p.padding);
        let y = start(oy) + T::of_usize(tap / g.kw * g.p.dilation) + offset[0];
        let x = start(ox) + T::of_usize(tap % g.kw * g.p.dilation) + offset[1];
        Corners::new(image, (g.h, g.w), y, x)
    }

    #[inline(always)]
    pub fn mask(&self, pixel: usize, tap: usize) -> T {
        self.mask.map_or(T::ONE, |mask| mask[pixel * self.mask_stride + tap])
    }
}

/// See [`crate::deform_conv2d`]; channels last.
pub(crate) fn deform_conv2d(
    x: &Tensor,
    offset: &Tensor,
    mask: Option<&Tensor>,
    weight: &Tensor,
    bias: Option<&Tensor>,
    p: &DeformConv2dParams,
) -> Result<Tensor> {
    let (x, weight) = (&x.contiguous()?, &weight.contiguous()?);
    let g = Geometry::new(x, offset, weight, p)?;
    if !tracked(&[Some(x), Some(offset), mask, Some(weight), bias]) {
        let (offset, mask) = (offset.contiguous()?, mask.map(Tensor::contiguous).transpose()?);
        return value(x, &offset, mask.as_ref(), weight, bias, g)?.tensor();
    }
    // one tensor of all moves, for three arguments are all that an operation of candle has
    let moves = match mask {
        Some(mask) => Tensor::cat(&[&offset.contiguous()?, &mask.contiguous()?], 3)?,
        None => offset.contiguous()?,
    };
    let value = value(x, &offset.contiguous()?, mask.map(Tensor::contiguous).transpose()?.as_ref(), weight, None, g)?;
    let wanted = (x.track_op(), moves.track_op() || weight.track_op());
    let y = attach3("deform_conv2d", value, (x, &moves, weight), move |x, moves, weight, _, dy| {
        dispatch!(x, deform_backward::gradients(x, moves, weight, dy, &g, wanted))
    })?;
    match bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

fn value(
    x: &Tensor,
    offset: &Tensor,
    mask: Option<&Tensor>,
    weight: &Tensor,
    bias: Option<&Tensor>,
    g: Geometry,
) -> Result<Value> {
    dispatch!(x, self::forward(x, offset, mask, weight, bias, g))
}

/// The weight `[O, I, kh, kw]` as rows of `O` elements, one for each tap and input channel.
pub(super) fn weight_rows<T: Float>(weight: &[T], g: &Geometry) -> Vec<T> {
    let taps = g.taps();
    let mut rows = vec![T::ZERO; weight.len()];
    for (i, row) in rows.chunks_exact_mut(g.outputs.max(1)).enumerate() {
        let (tap, channel) = (i / g.inputs, i % g.inputs);
        for (o, to) in row.iter_mut().enumerate() {
            *to = weight[(o * g.inputs + channel) * taps + tap];
        }
    }
    rows
}

fn forward<T: Vector>(
    x: &Tensor,
    offset: &Tensor,
    mask: Option<&Tensor>,
    weight: &Tensor,
    bias: Option<&Tensor>,
    g: Geometry,
) -> Result<Value> {
    let dims = (g.batch, g.oh, g.ow, g.outputs);
    let (data, offset, weight) =
        (Data::<T>::contiguous(x)?, Data::<T>::contiguous(offset)?, Data::<T>::contiguous(weight)?);
    let mask = mask.map(Data::<T>::contiguous).transpose()?;
    let taps = g.taps();
    let moves = Moves { offset: &offset, offset_stride: 2 * taps, mask: mask.as_deref(), mask_stride: taps };
    let tail = Tail::new(bias, Epilogue::NONE)?;
    let tail = tail.data::<T>()?;
    let size = g.pixels() * g.outputs;
    if size == 0 {
        return Ok(Value::new(Vec::<T>::new(), dims));
    }
    let rows = weight_rows(&weight, &g);
    let gather = Gather { g: &g, x: &data, moves, nothing: &vec![T::ZERO; g.inputs] };
    // SAFETY: the blocks cover all pixels, and each element is written before it is read.
    let y = unsafe { written(size, |y| blocks(gather, &Packed::new(&rows, &g), &tail, y)) };
    Ok(Value::new(y, dims))
}

/// The rows of a weight in panels for the tiles.
struct Packed<T> {
    data: Vec<T>,
    width: usize,
}

impl<T: Vector> Packed<T> {
    fn new(rows: &[T], g: &Geometry) -> Self {
        let (width, outputs, terms) = (2 * lanes::<T>(), g.outputs, g.terms());
        let mut data = vec![T::ZERO; packed(outputs, terms, width)];
        assert!(rows.len() >= outputs * terms);
        // SAFETY: `terms` rows of `outputs` elements, as asserted, and room for as many as are packed.
        unsafe {
            pack_rows(width, outputs, 0..terms, terms, |p| rows[p * outputs..].as_ptr(), data.as_mut_ptr());
        }
        Self { data, width }
    }
}

fn blocks<T: Vector>(gather: Gather<'_, T>, packed: &Packed<T>, tail: &TailData<'_, T>, y: &mut [T]) {
    let (pixels, outputs, inputs) = (gather.g.pixels(), gather.g.outputs, gather.g.inputs);
    let depth = (DEPTH / inputs.max(1)).clamp(1, gather.g.taps()) * inputs;
    let y = Shared::new(y);
    (0..pixels.div_ceil(BLOCK)).into_par_iter().for_each(|task| {
        let pixels = task * BLOCK..pixels.min((task + 1) * BLOCK);
        let (at, count) = (pixels.start * outputs, pixels.len() * outputs);
        let block = Block { gather, packed, y, pixels };
        with_scratch(BLOCK * depth, |seen| run(Run { block, seen, depth }));
        // SAFETY: this task's pixels.
        tail.across_channels(unsafe { y.part(at, count) }, 0, outputs, at);
    });
}

struct Block<'a, T> {
    gather: Gather<'a, T>,
    packed: &'a Packed<T>,
    y: Shared<'a, T>,
    pixels: Range<usize>,
}

struct Run<'a, T> {
    block: Block<'a, T>,
    seen: &'a mut [T],
    depth: usize,
}

impl<T: Vector> WithSimd for Run<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Self { block, seen, depth } = self;
        let g = block.gather.g;
        let (m, outputs) = (block.pixels.len(), g.outputs);
        let step = (depth / g.inputs.max(1)).max(1);
        if g.inputs == 0 {
            // SAFETY: this task's pixels.
            unsafe { block.y.part(block.pixels.start * outputs, m * outputs) }.fill(T::ZERO);
            return;
        }
        for tap in (0..g.taps()).step_by(step) {
            let taps = tap..g.taps().min(tap + step);
            let (from, k) = (tap * g.inputs, taps.len() * g.inputs);
            block.gather.run(s, block.pixels.clone(), taps, seen);
            let at = block.pixels.start * outputs;
            let width = block.packed.width;
            for column in (0..outputs).step_by(width) {
                let step = last_width(width, outputs - column);
                let b = block.packed.data[column * g.terms() + from * step..].as_ptr();
                let n = width.min(outputs - column);
                // SAFETY: the pixels are this task's alone, `seen` has `k` terms for each, the panel `terms` rows.
                unsafe {
                    let c = block.y.start().add(at + column);
                    let (a, sum) = (seen.as_ptr(), from > 0);
                    Panel { m, k, runs: WHOLE, a, rows: k, columns: 1, b, step, c, stride: outputs, n, sum }.run(s);
                }
            }
        }
    }
}

/// What output pixels see.
#[derive(Clone, Copy)]
pub(super) struct Gather<'a, T> {
    pub g: &'a Geometry,
    /// All images.
    pub x: &'a [T],
    pub moves: Moves<'a, T>,
    /// A pixel of zeros.
    pub nothing: &'a [T],
}

impl<T: Vector> Gather<'_, T> {
    /// For each of `pixels` and each of `taps`, a row of the input's channels, weighed with the mask.
    #[inline(always)]
    fn run<S: Simd>(&self, s: S, pixels: Range<usize>, taps: Range<usize>, seen: &mut [T]) {
        let channels = self.g.inputs;
        let count = taps.len();
        for (pixel, seen) in pixels.zip(seen.chunks_exact_mut(count * channels)) {
            for (tap, seen) in taps.clone().zip(seen.chunks_exact_mut(channels)) {
                let mask = self.moves.mask(pixel, tap);
                match self.moves.corners(self.g, pixel, tap) {
                    Some(corners) => {
                        blend(s, self.corners(&corners), corners.weights().map(|w| w * mask), seen);
                    }
                    None => seen.fill(T::ZERO),
                }
            }
        }
    }

    /// The channels of the four pixels.
    #[inline(always)]
    pub fn corners(&self, corners: &Corners<T>) -> [&[T]; 4] {
        let channels = self.g.inputs;
        corners.at.map(|at| at.map_or(self.nothing, |at| &self.x[at * channels..][..channels]))
    }
}

/// `y = Σ w x`, element by element.
#[inline(always)]
fn blend<S: Simd, T: Vector>(s: S, x: [&[T]; 4], w: [T; 4], y: &mut [T]) {
    let (n, lanes) = (y.len(), T::lanes::<S>());
    let x = x.map(|x| &x[..n]);
    let vectors = w.map(|w| T::splat(s, w));
    let mut i = 0;
    while i + lanes <= n {
        // SAFETY: a whole vector is there in each.
        unsafe {
            let mut sum = T::times(s, load(s, x[0].as_ptr().add(i)), vectors[0]);
            sum = T::multiply_add(s, load(s, x[1].as_ptr().add(i)), vectors[1], sum);
            sum = T::multiply_add(s, load(s, x[2].as_ptr().add(i)), vectors[2], sum);
            sum = T::multiply_add(s, load(s, x[3].as_ptr().add(i)), vectors[3], sum);
            store(s, y.as_mut_ptr().add(i), sum);
        }
        i += lanes;
    }
    for i in i..n {
        y[i] = x[0][i] * w[0] + x[1][i] * w[1] + x[2][i] * w[2] + x[3][i] * w[3];
    }
}
