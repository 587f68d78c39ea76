//! Matrices packed into panels for the tiles (see [`super::tile`]).
#![allow(unsafe_code)]

use super::processor::lanes;
use super::turn::turn_eight;
use super::vector::Vector;
use crate::float::Float;
use rayon::prelude::*;

/// Elements that `n` columns of `k` take in panels of `width`.
pub(crate) fn packed(n: usize, k: usize, width: usize) -> usize {
    n.next_multiple_of(width) * k
}

/// Rows `0..n` of a matrix (each at least `k` elements from the pointer on) as the columns of panels: panel after panel, `k` rows of `width`.
/// Columns from `n` on repeat the last one.
///
/// # Safety
/// Of each row `k` elements are there, `to` has room for [`packed`] elements, and [`super::tile::available`].
pub(crate) unsafe fn pack_columns(width: usize, n: usize, k: usize, row: impl Fn(usize) -> *const f32, to: *mut f32) {
    for column in (0..n.next_multiple_of(width)).step_by(8) {
        // SAFETY: columns below the panels' end; the rows are there.
        unsafe {
            let to = to.add(column / width * width * k + column % width);
            let rows: [*const f32; 8] = std::array::from_fn(|i| row((column + i).min(n - 1)));
            turn_eight(rows, k, to, width);
        }
    }
}

/// Rows `0..k` of a matrix (each at least `n` elements from the pointer on) as the rows of panels of `width` columns, the last one as narrow as whole
/// vectors allow (see [`last_width`]) and filled up with zeros.
///
/// # Safety
/// Of each row `n` elements are there, and `to` has room for [`packed`] elements.
pub(crate) unsafe fn pack_rows<T: Float>(
    width: usize,
    n: usize,
    k: std::ops::Range<usize>,
    height: usize,
    row: impl Fn(usize) -> *const T,
    to: *mut T,
) {
    for p in k {
        let from = row(p);
        for column in (0..n).step_by(width) {
            let (step, have) = (last_width(width, n - column), width.min(n - column));
            // SAFETY: columns below `n`, rows below the panels' height.
            unsafe {
                let to = to.add(column * height + p * step);
                let (to, from) =
                    (std::slice::from_raw_parts_mut(to, step), std::slice::from_raw_parts(from.add(column), have));
                copy(&mut to[..have], from);
                to[have..].fill(T::ZERO);
            }
        }
    }
}

/// As many elements of `from` as `to` has room for, by vectors: the library's copy is made for longer pieces.
#[inline(always)]
pub(crate) fn copy<T: Copy>(to: &mut [T], from: &[T]) {
    let from = &from[..to.len()];
    let mut pieces = to.chunks_exact_mut(8);
    for (to, from) in (&mut pieces).zip(from.chunks_exact(8)) {
        if let (Ok(to), Ok(from)) = (<&mut [T; 8]>::try_from(to), <&[T; 8]>::try_from(from)) {
            *to = *from;
        }
    }
    for (to, from) in pieces.into_remainder().iter_mut().zip(from.chunks_exact(8).remainder()) {
        *to = *from;
    }
}

/// Elements from one row to the next in a panel of [`pack_rows`] that holds `n` columns or is full.
#[inline(always)]
pub(crate) fn last_width(width: usize, n: usize) -> usize {
    if n > width / 2 { width } else { width / 2 }
}

/// How a row of `width` elements is cut into panels of two vectors; the last one may have a single vector, and its end may be padding.
#[derive(Clone, Copy)]
pub(crate) struct Panels {
    pub width: usize,
    pub lanes: usize,
}

impl Panels {
    pub fn new<T: Vector>(width: usize) -> Self {
        Self { width, lanes: lanes::<T>() }
    }

    pub fn count(self) -> usize {
        self.width.div_ceil(2 * self.lanes)
    }

    /// First element of panel `i`.
    pub fn start(self, i: usize) -> usize {
        i * 2 * self.lanes
    }

    /// Elements of panel `i` that are not padding.
    pub fn len(self, i: usize) -> usize {
        (self.width - self.start(i)).min(2 * self.lanes)
    }

    /// Vectors of panel `i`.
    pub fn vectors(self, i: usize) -> usize {
        self.len(i).div_ceil(self.lanes)
    }

    /// Elements of all panels of `depth` rows; panel `i` begins at `depth * start(i)`.
    pub fn size(self, depth: usize) -> usize {
        depth * self.width.next_multiple_of(self.lanes)
    }

    /// Rows `0..depth` of elements `at(row, column)`, panel by panel.
    pub fn pack<T: Vector>(self, depth: usize, at: impl Fn(usize, usize) -> T + Sync) -> Vec<T> {
        self.pack_by(depth, |first, width, step, to| {
            for (k, to) in to.chunks_exact_mut(step).enumerate() {
                for (j, to) in to[..width].iter_mut().enumerate() {
                    *to = at(k, first + j);
                }
            }
        })
    }

    /// Panels of `depth` rows that `fill(first column, columns, step, panel)` writes, zeros where it does not; the rows are `step` elements apart.
    pub fn pack_by<T: Vector>(self, depth: usize, fill: impl Fn(usize, usize, usize, &mut [T]) + Sync) -> Vec<T> {
        const FEW: usize = 1 << 14;
        let mut out = vec![T::ZERO; self.size(depth)];
        let fill = |(i, out): (usize, &mut [T])| fill(self.start(i), self.len(i), self.vectors(i) * self.lanes, out);
        let panel = (depth * 2 * self.lanes).max(1);
        if out.len() > FEW {
            out.par_chunks_mut(panel).enumerate().for_each(fill);
        } else {
            out.chunks_mut(panel).enumerate().for_each(fill);
        }
        out
    }
}
