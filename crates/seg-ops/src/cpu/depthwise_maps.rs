//! Depthwise convolution as sums with shared weights, for either layout.
//!
//! A channels-first map is `B · C` images of one channel; so every map is images of `[H, W, depth]`, whose rows are flat, and the input of a tap lies a
//! fixed distance from its output. Weights repeat along a row every `depth` elements, whole vectors of them every least common multiple of `depth` and
//! the vector (the period): outputs a period apart share their weights, which is what the kernel wants.
//!
//! * `depth` of a vector or more: rows are read where they lie; pixels whose window hangs over the border are summed one by one.
//! * as much, and many taps: [`super::depthwise_slab`].
//! * less (and one): bands of rows are copied with a border of zeros into scratch memory, columns sorted by their remainder by the stride, so that
//!   there are neither borders nor strides. Bands stay in the second-level cache.
//!
//! Work is cut by sizes alone, so the sums are the same for any number of threads.

use super::depthwise_kernel::{Gradient, ROWS, RowSums, Sums, Tap};
use super::matrix::Shared;
use super::patches::Geometry;
use super::processor::{arch, lanes};
use super::tail::TailData;
use super::vector::Vector;
use super::{depthwise_slab, written};
use crate::Layout;
use rayon::prelude::*;

/// Elements of a band in scratch memory.
const BAND: usize = 32 * 1024;

/// The images of a depthwise convolution.
pub(crate) struct Maps {
    g: Geometry,
    layout: Layout,
    images: usize,
    depth: usize,
}

/// How a band lies in scratch memory.
#[derive(Clone, Copy)]
struct Band {
    /// Output rows.
    rows: usize,
    /// Columns of one remainder.
    columns: usize,
    /// Elements of a row.
    pitch: usize,
}

impl Maps {
    pub fn new(g: Geometry, layout: Layout) -> Self {
        let (images, depth) = match layout {
            Layout::Nchw => (g.batch * g.inputs, 1),
            Layout::Nhwc => (g.batch, g.inputs),
        };
        Self { g, layout, images, depth }
    }

    /// Whether the convolution goes by [`depthwise_slab`], which takes the bias apart from the tail; the others find it there.
    pub fn in_slabs<T: Vector>(&self) -> bool {
        RowSums::<T>::knows(&self.g) && self.taps() > 9 && self.g.inputs >= lanes::<T>()
    }

    fn taps(&self) -> usize {
        self.g.kernel.0 * self.g.kernel.1
    }

    /// Elements of an input image, of an output image.
    fn sizes(&self) -> (usize, usize) {
        (self.g.input.0 * self.g.input.1 * self.depth, self.g.pixels() * self.depth)
    }

    /// The filters that an image takes.
    fn filters<'a, T>(&self, w: &'a [T], image: usize) -> &'a [T] {
        let size = self.depth * self.taps();
        &w[image * size % w.len()..][..size]
    }

    /// `[depth, taps]` as `[taps, length]`, the channels again and again.
    fn repeat<T: Vector>(&self, w: &[T], length: usize, table: &mut Vec<T>) {
        table.clear();
        for tap in 0..self.taps() {
            let start = table.len();
            if self.depth == 1 {
                table.resize(start + length, w[tap]);
                continue;
            }
            table.extend(w.iter().skip(tap).step_by(self.taps()));
            while table.len() < start + length {
                let done = table.len() - start;
                table.extend_from_within(start..start + done.min(length - done));
            }
        }
    }

    /// The columns whose windows lie inside.
    fn interior(&self) -> (usize, usize) {
        let inside = (0..self.g.kernel.1).map(|tx| self.g.inside(tx));
        let (a, b) = inside.fold((0, self.g.out.1), |(a, b), (from, to)| (a.max(from), b.min(to)));
        if a < b { (a, b) } else { (self.g.out.1, self.g.out.1) }
    }

    /// The taps of an output that read the image: offset of the input and number of the tap.
    fn inside(&self, oy: usize, ox: usize, length: usize) -> Vec<Tap> {
        let g = &self.g;
        let mut taps = Vec::with_capacity(self.taps());
        for ty in 0..g.kernel.0 {
            let Some(iy) = g.source(oy, ty, g.input.0) else { continue };
            for tx in 0..g.kernel.1 {
                if let Some(ix) = g.source(ox, tx, g.input.1) {
                    taps.push(((iy * g.input.1 + ix) * self.depth, (ty * g.kernel.1 + tx) * length));
                }
            }
        }
        taps
    }

    fn band(&self) -> Band {
        let g = &self.g;
        let columns = ((g.out.1 - 1) * g.stride + (g.kernel.1 - 1) * g.dilation + 1).div_ceil(g.stride);
        let pitch = columns * g.stride * self.depth;
        Band { rows: (BAND / (pitch * g.stride)).max(8).min(g.out.0), columns, pitch }
    }

    /// Bands of all images: image, first output row, number of them.
    fn bands(&self, band: Band) -> impl IndexedParallelIterator<Item = (usize, usize, usize)> {
        let (height, each) = (self.g.out.0, self.g.out.0.div_ceil(band.rows));
        (0..self.images * each).into_par_iter().map(move |task| {
            let from = task % each * band.rows;
            (task / each, from, band.rows.min(height - from))
        })
    }

    /// The taps of any output in a band.
    fn band_taps(&self, band: Band, length: usize) -> Vec<Tap> {
        let g = &self.g;
        (0..self.taps())
            .map(|tap| {
                let (dy, dx) = (tap / g.kernel.1 * g.dilation, tap % g.kernel.1 * g.dilation);
                let column = dx % g.stride * band.columns + dx / g.stride;
                (dy * band.pitch + column * self.depth, tap * length)
            })
            .collect()
    }

    /// Copies the input rows that `rows` output rows from `from` on read, with the border.
    fn copy<T: Vector>(&self, x: &[T], band: Band, from: usize, rows: usize, scratch: &mut Vec<T>) {
        let (g, depth) = (&self.g, self.depth);
        let (height, width) = g.input;
        let count = (rows - 1) * g.stride + (g.kernel.0 - 1) * g.dilation + 1;
        scratch.resize(count * band.pitch, T::ZERO);
        for (i, to) in scratch.chunks_exact_mut(band.pitch).enumerate() {
            let Some(iy) = (from * g.stride + i).checked_sub(g.padding).filter(|&iy| iy < height) else {
                to.fill(T::ZERO);
                continue;
            };
            let row = &x[iy * width * depth..][..width * depth];
            if g.stride == 1 {
                let left = (g.padding * depth).min(to.len());
                let n = row.len().min(to.len() - left);
                to[..left].fill(T::ZERO);
                to[left..left + n].copy_from_slice(&row[..n]);
                to[left + n..].fill(T::ZERO);
                continue;
            }
            if depth == 1 {
                for (part, to) in to.chunks_exact_mut(band.columns).enumerate() {
                    // the columns of this remainder that lie inside
                    let a = g.padding.saturating_sub(part).div_ceil(g.stride).min(to.len());
                    let b = (width + g.padding).saturating_sub(part).div_ceil(g.stride).clamp(a, to.len());
                    to[..a].fill(T::ZERO);
                    to[b..].fill(T::ZERO);
                    if a < b {
                        let row = &row[a * g.stride + part - g.padding..];
                        to[a..b].iter_mut().zip(row.iter().step_by(g.stride)).for_each(|(to, &x)| *to = x);
                    }
                }
                continue;
            }
            for (j, to) in to.chunks_exact_mut(depth).enumerate() {
                let column = j % band.columns * g.stride + j / band.columns;
                match column.checked_sub(g.padding).filter(|&ix| ix < width) {
                    Some(ix) => to.copy_from_slice(&row[ix * depth..][..depth]),
                    None => to.fill(T::ZERO),
                }
            }
        }
    }
}

/// The least common multiple.
fn period(depth: usize, lanes: usize) -> usize {
    let (mut a, mut b) = (depth, lanes);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    depth / a * lanes
}

/// `x` convolved with `w` (`[C, taps]`), the bias unless it is empty, and the tail.
pub(crate) fn convolve<T: Vector>(x: &[T], w: &[T], bias: &[T], m: &Maps, tail: &TailData<'_, T>) -> Vec<T> {
    let n = m.images * m.sizes().1;
    if n == 0 {
        return Vec::new();
    }
    #[allow(unsafe_code)]
    // SAFETY: all of them write every row of every image, without reading any before.
    unsafe {
        written(n, |y| {
            if m.in_slabs::<T>() {
                depthwise_slab::forward((x, w, bias), &m.g, m.layout, tail, y);
            } else if m.depth < lanes::<T>() {
                convolve_bands(x, w, m, tail, y);
            } else {
                convolve_rows(x, w, m, tail, y);
            }
        })
    }
}

fn convolve_rows<T: Vector>(x: &[T], w: &[T], m: &Maps, tail: &TailData<'_, T>, y: &mut [T]) {
    let (g, c) = (&m.g, m.depth);
    let period = period(c, lanes::<T>());
    let mut table = Vec::new();
    m.repeat(w, period, &mut table);
    let (table, arch) = (&table[..], arch());
    let (a, b) = m.interior();
    let n = g.out.1 * c;
    let inner = (b - a) * c;
    let done = inner / period * period;
    // of each image, groups of rows
    let groups = g.out.0.div_ceil(ROWS);
    let shared = Shared::new(y);
    (0..m.images * groups).into_par_iter().for_each(|task| {
        let (image, from) = (task / groups, task % groups * ROWS);
        let rows = ROWS.min(g.out.0 - from);
        let x = &x[image * m.sizes().0..][..m.sizes().0];
        let at = image * m.sizes().1 + from * n;
        #[allow(unsafe_code)]
        // SAFETY: groups have rows of their own.
        let y = unsafe { shared.part(at, rows * n) };
        let whole = rows == ROWS && from >= g.padding && from - g.padding + ROWS + g.kernel.0 - 1 <= g.input.0;
        let together = whole && a < b && RowSums::<T>::knows(g);
        if together {
            let start = ((from - g.padding) * g.input.1 + a - g.padding) * c;
            for (skip, count, width) in [(0, done / period, period), (done, 1, inner - done)] {
                arch.dispatch(RowSums {
                    y: Shared::new(y),
                    at: a * c + skip,
                    x,
                    w: table,
                    start: &[],
                    first: (start + skip, 0),
                    kernel: g.kernel,
                    pitch: (g.input.1 * c, n),
                    tap: (c, period),
                    count: if width == 0 { 0 } else { count },
                    step: (period, period),
                    width,
                });
            }
        }
        for (row, y) in y.chunks_exact_mut(n).enumerate() {
            let oy = from + row;
            for ox in (0..a).chain(b..g.out.1) {
                let (y, taps) = (&mut y[ox * c..][..c], &m.inside(oy, ox, period)[..]);
                arch.dispatch(Sums { y, x, w: table, taps, count: 1, out_step: c, in_step: c, width: c });
            }
            if a < b && !together {
                let mut taps = m.inside(oy, a, period);
                let y = &mut y[a * c..b * c];
                let (out_step, in_step) = (c, g.stride * c);
                if g.stride > 1 {
                    arch.dispatch(Sums { y, x, w: table, taps: &taps, count: b - a, out_step, in_step, width: c });
                    continue;
                }
                let (whole, rest) = y.split_at_mut(done);
                arch.dispatch(Sums {
                    y: whole,
                    x,
                    w: table,
                    taps: &taps,
                    count: done / period,
                    out_step: period,
                    in_step: period,
                    width: period,
                });
                taps.iter_mut().for_each(|t| t.0 += done);
                let width = rest.len();
                arch.dispatch(Sums { y: rest, x, w: table, taps: &taps, count: 1, out_step, in_step, width });
            }
        }
        tail.across_channels(y, 0, c, at);
    });
}

fn convolve_bands<T: Vector>(x: &[T], w: &[T], m: &Maps, tail: &TailData<'_, T>, y: &mut [T]) {
    let (g, c, lanes) = (&m.g, m.depth, lanes::<T>());
    let (arch, band, period) = (arch(), m.band(), period(c, lanes));
    // longer by a vector, because the last one of a row may begin anywhere in the period
    let length = period + lanes;
    let taps = m.band_taps(band, length);
    let n = g.out.1 * c;
    let count = n / period;
    let done = count * period;
    // what is left at the end of a row: where it begins (not in the middle of what is done if it is a vector), and its taps
    let start = if n - done < lanes && n >= lanes { n - lanes } else { done };
    let last: Vec<Tap> = taps.iter().map(|t| (t.0 + start, t.1 + start % c)).collect();
    let shared = Shared::new(y);
    m.bands(band).for_each_init(
        || (Vec::new(), Vec::new()),
        |(scratch, table), (image, from, rows)| {
            m.copy(&x[image * m.sizes().0..][..m.sizes().0], band, from, rows, scratch);
            m.repeat(m.filters(w, image), length, table);
            let at = image * m.sizes().1 + from * n;
            #[allow(unsafe_code)]
            // SAFETY: bands have rows of their own.
            let y = unsafe { shared.part(at, rows * n) };
            // several rows at a time as long as there are as many, and whole vectors
            let together = if RowSums::<T>::knows(g) && n >= lanes { rows / ROWS * ROWS } else { 0 };
            let (first, later) = y.split_at_mut(together * n);
            for (i, y) in first.chunks_exact_mut(ROWS * n).enumerate() {
                for (from, count, width) in [(0, count, period), (start, 1, n - start)] {
                    if count == 0 || from == n {
                        continue;
                    }
                    arch.dispatch(RowSums {
                        y: Shared::new(y),
                        at: from,
                        x: scratch,
                        w: table,
                        start: &[],
                        first: (i * ROWS * band.pitch + from, from % c),
                        kernel: g.kernel,
                        pitch: (band.pitch, n),
                        tap: (c, length),
                        count,
                        step: (period, period),
                        width,
                    });
                }
            }
            for (row, y) in later.chunks_exact_mut(n).enumerate() {
                let x = &scratch[(together + row) * g.stride * band.pitch..];
                let step = period;
                if count > 0 {
                    arch.dispatch(Sums {
                        y: &mut y[..done],
                        x,
                        w: table,
                        taps: &taps,
                        count,
                        out_step: step,
                        in_step: step,
                        width: period,
                    });
                }
                if done < n {
                    let width = n - start;
                    let y = &mut y[start..];
                    arch.dispatch(Sums { y, x, w: table, taps: &last, count: 1, out_step: step, in_step: step, width });
                }
            }
            match m.layout {
                Layout::Nchw => tail.along_pixels(y, image % g.inputs, at),
                Layout::Nhwc => tail.across_channels(y, 0, c, at),
            }
        },
    );
}

/// The gradient of the weights, `[C, taps]`, of maps of less than a vector of channels.
pub(crate) fn weight_gradient<T: Vector>(x: &[T], dy: &[T], m: &Maps) -> Vec<T> {
    let (g, c) = (&m.g, m.depth);
    if x.is_empty() || dy.is_empty() {
        return vec![T::ZERO; g.inputs * m.taps()];
    }
    let (arch, band, period) = (arch(), m.band(), period(c, lanes::<T>()));
    let taps = m.band_taps(band, period);
    let n = g.out.1 * c;
    let count = n / period;
    let done = count * period;
    let last: Vec<Tap> = taps.iter().map(|t| (t.0 + done, t.1)).collect();
    let parts: Vec<(usize, Vec<T>)> = m
        .bands(band)
        .map_init(Vec::new, |scratch, (image, from, rows)| {
            m.copy(&x[image * m.sizes().0..][..m.sizes().0], band, from, rows, scratch);
            let mut table = vec![T::ZERO; m.taps() * period];
            let dy = &dy[image * m.sizes().1 + from * n..][..rows * n];
            for (row, y) in dy.chunks_exact(n).enumerate() {
                let (x, step) = (&scratch[row * g.stride * band.pitch..], period);
                let w = &mut table[..];
                if count > 0 {
                    arch.dispatch(Gradient {
                        w,
                        x,
                        y,
                        taps: &taps,
                        count,
                        out_step: step,
                        in_step: step,
                        width: period,
                    });
                }
                if done < n {
                    let (w, y, width) = (&mut table[..], &y[done..], n - done);
                    arch.dispatch(Gradient { w, x, y, taps: &last, count: 1, out_step: step, in_step: step, width });
                }
            }
            // [taps, period] to [depth, taps]
            let mut part = vec![T::ZERO; c * m.taps()];
            for (i, &t) in table.iter().enumerate() {
                part[i % period % c * m.taps() + i / period] += t;
            }
            (image, part)
        })
        .collect();
    let mut dw = vec![T::ZERO; g.inputs * m.taps()];
    for (image, part) in parts {
        let start = image * part.len() % dw.len();
        for (d, p) in dw[start..].iter_mut().zip(part) {
            *d += p;
        }
    }
    dw
}
