//! Rectangles of an image copied into scratch memory with the channels last and zeros around the image, so that the kernels know neither padding nor
//! layouts.

use super::turn::turn;
use super::vector::Vector;
use crate::Layout;

/// One image of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Image<'a, T> {
    pub data: &'a [T],
    pub layout: Layout,
    pub size: (usize, usize),
    pub channels: usize,
}

/// What to copy: `rows` × `columns` pixels, `step` apart, from (`top`, `left`) on, which may lie outside the image; `channels` of them from
/// `first` on.
#[derive(Clone, Copy)]
pub(crate) struct Region {
    pub top: isize,
    pub left: isize,
    pub rows: usize,
    pub columns: usize,
    pub step: usize,
    pub first: usize,
    pub channels: usize,
}

/// Pixels of a row that are turned at a time where they stand apart.
const WIDE: usize = 80;

/// Every `D`-th element; with `D` known this becomes shuffles.
#[inline(always)]
fn without_gaps<T: Vector, const D: usize>(to: &mut [T], x: &[T]) {
    let n = to.len();
    for (to, x) in to.iter_mut().zip(x.chunks_exact(D)) {
        *to = x[0];
    }
    if n > 0 {
        to[n - 1] = x[(n - 1) * D];
    }
}

/// Those of `n` places, `step` apart from `start` on, that lie in `0..len`.
pub(crate) fn inside(start: isize, step: usize, n: usize, len: usize) -> (usize, usize) {
    let from = (-start).max(0) as usize;
    let to = (len as isize - start).max(0) as usize;
    let (from, to) = (from.div_ceil(step).min(n), to.div_ceil(step).min(n));
    (from, to.max(from))
}

impl<T: Vector> Image<'_, T> {
    /// Writes the region to `out`, a pixel in `pixel` elements (those beyond the channels become zero).
    #[inline(always)]
    pub fn copy(&self, r: Region, pixel: usize, out: &mut [T]) {
        let (a, b) = inside(r.left, r.step, r.columns, self.size.1);
        let (up, down) = inside(r.top, r.step, r.rows, self.size.0);
        for (i, out) in out[..r.rows * r.columns * pixel].chunks_exact_mut(r.columns * pixel).enumerate() {
            if i < up || i >= down || a == b {
                out.fill(T::ZERO);
                continue;
            }
            out[..a * pixel].fill(T::ZERO);
            out[b * pixel..].fill(T::ZERO);
            let y = (r.top + (i * r.step) as isize) as usize;
            let x = (r.left + (a * r.step) as isize) as usize;
            let out = &mut out[a * pixel..b * pixel];
            match self.layout {
                Layout::Nhwc => self.copy_pixels(r, (y, x), pixel, out),
                Layout::Nchw => self.turn_rows(r, (y, x), pixel, out),
            }
        }
    }

    #[inline(always)]
    fn copy_pixels(&self, r: Region, (y, x): (usize, usize), pixel: usize, out: &mut [T]) {
        let row = &self.data[(y * self.size.1 + x) * self.channels + r.first..];
        if r.step == 1 && pixel == self.channels && r.channels == pixel {
            out.copy_from_slice(&row[..out.len()]);
            return;
        }
        for (out, x) in out.chunks_exact_mut(pixel).zip(row.chunks(r.step * self.channels)) {
            out[..r.channels].copy_from_slice(&x[..r.channels]);
            out[r.channels..].fill(T::ZERO);
        }
    }

    /// Channel rows to pixels.
    #[inline(always)]
    fn turn_rows(&self, r: Region, (y, x): (usize, usize), pixel: usize, out: &mut [T]) {
        let plane = self.size.0 * self.size.1;
        let n = out.len() / pixel;
        let x = &self.data[r.first * plane + y * self.size.1 + x..];
        if r.step == 1 {
            turn((r.channels, n), x, plane, out, pixel);
        } else {
            // a few channels at a time without the gaps first
            let mut rows = [T::ZERO; 4 * WIDE];
            for (j, out) in out.chunks_mut(WIDE * pixel).enumerate() {
                let n = out.len() / pixel;
                for c in (0..r.channels).step_by(4) {
                    let channels = (r.channels - c).min(4);
                    for (i, row) in rows.chunks_exact_mut(WIDE).enumerate().take(channels) {
                        let x = &x[(c + i) * plane + j * WIDE * r.step..];
                        match r.step {
                            2 => without_gaps::<T, 2>(&mut row[..n], x),
                            4 => without_gaps::<T, 4>(&mut row[..n], x),
                            _ => row[..n].iter_mut().zip(x.iter().step_by(r.step)).for_each(|(to, x)| *to = *x),
                        }
                    }
                    turn((channels, n), &rows, WIDE, &mut out[c..], pixel);
                }
            }
        }
        if pixel > r.channels {
            for out in out.chunks_exact_mut(pixel) {
                out[r.channels..].fill(T::ZERO);
            }
        }
    }
}
