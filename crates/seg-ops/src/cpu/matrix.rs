//! Matrix products of strided blocks, and writing to one slice from several tasks. What is `unsafe` in the crate
//! starts here: the kernels take disjoint parts of a [`Shared`] slice.
#![allow(unsafe_code)]

use crate::float::Float;
use gemm::Parallelism;
use std::marker::PhantomData;

/// A read-only matrix inside a slice: element `(i, j)` is `data[i * rows + j * columns]`.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a, T> {
    pub data: &'a [T],
    /// Elements from one row to the next.
    pub rows: usize,
    /// Elements from one column to the next.
    pub columns: usize,
}

impl<'a, T> Mat<'a, T> {
    /// Rows of `stride` elements, one after the other.
    pub fn new(data: &'a [T], stride: usize) -> Self {
        Self { data, rows: stride, columns: 1 }
    }

    /// Rows and columns exchanged.
    pub fn t(self) -> Self {
        Self { data: self.data, rows: self.columns, columns: self.rows }
    }

    /// The same matrix from row `i` on.
    pub fn skip_rows(self, i: usize) -> Self {
        Self { data: self.data.get(i * self.rows..).unwrap_or(&[]), ..self }
    }

    /// Whether m × n elements are there.
    pub fn holds(&self, m: usize, n: usize) -> bool {
        m == 0 || n == 0 || (m - 1) * self.rows + (n - 1) * self.columns < self.data.len()
    }
}

/// A slice of which several tasks write different elements.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a `&mut [T]` in parts; whoever takes a part promises that no other task touches it meanwhile.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), life: PhantomData }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The first element.
    #[inline(always)]
    pub fn start(&self) -> *mut T {
        self.start
    }

    /// `len` elements from `from` on.
    ///
    /// # Safety
    /// While the result lives, nobody else may read or write any of these elements.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub unsafe fn part(&self, from: usize, len: usize) -> &'a mut [T] {
        assert!(from.checked_add(len).is_some_and(|to| to <= self.len));
        // SAFETY: inside the slice, as asserted; not aliased, as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }
}

impl<T: super::vector::Vector> Shared<'_, T> {
    /// Writes a matrix of `rows` × `columns`, its rows `from` elements apart in `x`, with rows and columns exchanged: its columns become rows, `to` elements
    /// apart, from element `at` on.
    ///
    /// # Safety
    /// Nobody else may read or write any of these elements (not those between the rows) meanwhile.
    #[inline(always)]
    pub unsafe fn turned(&self, (rows, columns): (usize, usize), x: &[T], from: usize, at: usize, to: usize) {
        if rows == 0 || columns == 0 {
            return;
        }
        assert!(at + (columns - 1) * to + rows <= self.len && rows <= to);
        // SAFETY: inside the slice, as asserted; not aliased, as the caller promises.
        unsafe { super::turn::turn_to((rows, columns), x, from, self.start.add(at), to) };
    }

    /// Writes elements `step` apart, from element `at` on.
    ///
    /// # Safety
    /// Nobody else may read or write any of these elements (not those between them) meanwhile.
    #[inline(always)]
    pub unsafe fn spread(&self, x: &[T], at: usize, step: usize) {
        assert!(x.is_empty() || at + (x.len() - 1) * step < self.len);
        for (i, &x) in x.iter().enumerate() {
            // SAFETY: inside the slice, as asserted; not aliased, as the caller promises.
            unsafe { *self.start.add(at + i * step) = x };
        }
    }
}

/// What becomes of the elements already there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// They are overwritten, never read.
    Nothing,
    /// The product is added to them.
    Sum,
}

/// `y (+)= alpha · a b` on the calling thread: `y` is m × n, its rows `stride` apart; `a` m × k, `b` k × n.
pub(crate) fn product<T: Float>(
    (m, n, k): (usize, usize, usize),
    y: &mut [T],
    stride: usize,
    keep: Keep,
    alpha: T,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
) {
    // SAFETY: `y` is borrowed mutably as a whole.
    unsafe { product_shared((m, n, k), Shared::new(y), 0, stride, keep, alpha, a, b, Parallelism::None) }
}

/// [`product`] on all threads.
pub(crate) fn product_threaded<T: Float>(
    (m, n, k): (usize, usize, usize),
    y: &mut [T],
    stride: usize,
    keep: Keep,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
) {
    // SAFETY: `y` is borrowed mutably as a whole.
    unsafe { product_shared((m, n, k), Shared::new(y), 0, stride, keep, T::ONE, a, b, Parallelism::Rayon(0)) }
}

/// [`product`] into a block of a shared slice whose first element is `from`.
///
/// # Safety
/// Nobody else may touch the block's elements (not those between its rows) meanwhile.
pub(crate) unsafe fn product_shared<T: Float>(
    (m, n, k): (usize, usize, usize),
    y: Shared<'_, T>,
    from: usize,
    stride: usize,
    keep: Keep,
    alpha: T,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    parallelism: Parallelism,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(stride >= n || m == 1);
    assert!(from + (m - 1) * stride + n <= y.len && a.holds(m, k) && b.holds(k, n));
    // SAFETY: every element read or written lies inside its slice, as asserted (for k = 0 nothing is read); the rows of `y` do not overlap, and
    // the caller keeps others away. T is f32 or f64, which gemm knows.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y.start.add(from),
            1,
            stride as isize,
            keep == Keep::Sum,
            a.data.as_ptr(),
            a.columns as isize,
            a.rows as isize,
            b.data.as_ptr(),
            b.columns as isize,
            b.rows as isize,
            T::ONE,
            alpha,
            false,
            false,
            false,
            parallelism,
        );
    }
}
