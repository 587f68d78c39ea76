//! The inner loops of a depthwise convolution.
//!
//! Eight outputs that have the same weights stand in eight registers; a tap's weights are read once for all eight, and each product reads its input
//! straight from the first-level cache. Which outputs share weights is the caller's affair: pixels of one channels-last row (or groups of them whose
//! channels together fill whole vectors), vectors of one row of a plane.
#![allow(unsafe_code)]

use super::matrix::Shared;
use super::vector::Vector;
use pulp::{Simd, WithSimd};

/// Where a tap reads its input and its weights.
pub(crate) type Tap = (usize, usize);

/// The sums `y[o · out_step + j] = Σ x[tap.0 + o · in_step + j] · w[tap.1 + j]` for `o` below `count` and `j` below `width`.
pub(crate) struct Sums<'a, T> {
    pub y: &'a mut [T],
    pub x: &'a [T],
    pub w: &'a [T],
    pub taps: &'a [Tap],
    pub count: usize,
    pub out_step: usize,
    pub in_step: usize,
    pub width: usize,
}

/// The reverse for the weights: `w[tap.1 + j] += Σ x[tap.0 + o · in_step + j] · y[o · out_step + j]` over `o`.
pub(crate) struct Gradient<'a, T> {
    pub w: &'a mut [T],
    pub x: &'a [T],
    pub y: &'a [T],
    pub taps: &'a [Tap],
    pub count: usize,
    pub out_step: usize,
    pub in_step: usize,
    pub width: usize,
}

/// Panics where a tap would leave its slice.
#[inline(always)]
fn check(
    (y, x, w): (usize, usize, usize),
    taps: &[Tap],
    count: usize,
    (out_step, in_step): (usize, usize),
    width: usize,
) {
    assert!((count - 1) * out_step + width <= y, "outputs");
    for &(from, weights) in taps {
        assert!(from + (count - 1) * in_step + width <= x && weights + width <= w, "taps");
    }
}

impl<T: Vector> WithSimd for Sums<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        if self.count == 0 || self.width == 0 {
            return;
        }
        check(
            (self.y.len(), self.x.len(), self.w.len()),
            self.taps,
            self.count,
            (self.out_step, self.in_step),
            self.width,
        );
        let lanes = T::lanes::<S>();
        if self.width < lanes {
            return self.singly();
        }
        let mut at = 0;
        while at + 8 <= self.count {
            self.row::<S, 8>(s, at);
            at += 8;
        }
        if at + 4 <= self.count {
            self.row::<S, 4>(s, at);
            at += 4;
        }
        if at + 2 <= self.count {
            self.row::<S, 2>(s, at);
            at += 2;
        }
        if at < self.count {
            self.last(s, at);
        }
    }
}

impl<T: Vector> Sums<'_, T> {
    /// Outputs `at..at + N`, vector by vector; the last vector covers part of the one before where the width is not a multiple.
    #[inline(always)]
    fn row<S: Simd, const N: usize>(&mut self, s: S, at: usize) {
        let lanes = T::lanes::<S>();
        let mut j = 0;
        while j < self.width {
            let from = j.min(self.width - lanes);
            self.block::<S, N>(s, at, from);
            j = from + lanes;
        }
    }

    #[inline(always)]
    fn block<S: Simd, const N: usize>(&mut self, s: S, at: usize, j: usize) {
        let mut sums = [T::zeros(s); N];
        // SAFETY: `check` has seen that all of this lies inside the slices, for `at + N <= count` and `j + lanes <= width`.
        unsafe {
            let x = self.x.as_ptr().add(at * self.in_step + j);
            let w = self.w.as_ptr().add(j);
            for &(from, weights) in self.taps {
                let w = T::load::<S>(w.add(weights));
                let x = x.add(from);
                for (o, sum) in sums.iter_mut().enumerate() {
                    *sum = T::multiply_add(s, T::load::<S>(x.add(o * self.in_step)), w, *sum);
                }
            }
            let y = self.y.as_mut_ptr().add(at * self.out_step + j);
            for (o, sum) in sums.into_iter().enumerate() {
                T::store::<S>(y.add(o * self.out_step), sum);
            }
        }
    }

    /// An output alone: four vectors of it at a time, so that no product waits for the one before.
    #[inline(always)]
    fn last<S: Simd>(&mut self, s: S, at: usize) {
        let lanes = T::lanes::<S>();
        let mut j = 0;
        while j + 4 * lanes <= self.width {
            let mut sums = [T::zeros(s); 4];
            // SAFETY: as in `block`.
            unsafe {
                let x = self.x.as_ptr().add(at * self.in_step + j);
                let w = self.w.as_ptr().add(j);
                for &(from, weights) in self.taps {
                    let (x, w) = (x.add(from), w.add(weights));
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum = T::multiply_add(s, T::load::<S>(x.add(i * lanes)), T::load::<S>(w.add(i * lanes)), *sum);
                    }
                }
                let y = self.y.as_mut_ptr().add(at * self.out_step + j);
                for (i, sum) in sums.into_iter().enumerate() {
                    T::store::<S>(y.add(i * lanes), sum);
                }
            }
            j += 4 * lanes;
        }
        while j < self.width {
            let from = j.min(self.width - lanes);
            self.block::<S, 1>(s, at, from);
            j = from + lanes;
        }
    }

    /// Less than a vector.
    #[inline(always)]
    fn singly(&mut self) {
        for o in 0..self.count {
            for j in 0..self.width {
                let mut sum = T::ZERO;
                for &(from, weights) in self.taps {
                    sum = self.x[from + o * self.in_step + j].fma(self.w[weights + j], sum);
                }
                self.y[o * self.out_step + j] = sum;
            }
        }
    }
}

impl<T: Vector> WithSimd for Gradient<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        if self.count == 0 || self.width == 0 {
            return;
        }
        check(
            (self.y.len(), self.x.len(), self.w.len()),
            self.taps,
            self.count,
            (self.out_step, self.in_step),
            self.width,
        );
        let lanes = T::lanes::<S>();
        let whole = self.width / lanes * lanes;
        for j in (0..whole).step_by(lanes) {
            let mut at = 0;
            while at < self.taps.len() {
                at += match self.taps.len() - at {
                    1 => self.block::<S, 1>(s, at, j),
                    2 => self.block::<S, 2>(s, at, j),
                    3 => self.block::<S, 3>(s, at, j),
                    4..7 => self.block::<S, 4>(s, at, j),
                    7 => self.block::<S, 7>(s, at, j),
                    8 => self.block::<S, 8>(s, at, j),
                    _ => self.block::<S, 9>(s, at, j),
                };
            }
        }
        for &(from, weights) in self.taps {
            for j in whole..self.width {
                let mut sum = self.w[weights + j];
                for o in 0..self.count {
                    sum = self.x[from + o * self.in_step + j].fma(self.y[o * self.out_step + j], sum);
                }
                self.w[weights + j] = sum;
            }
        }
    }
}

impl<T: Vector> Gradient<'_, T> {
    /// `N` taps at a time, so that each `y` is read once for them.
    #[inline(always)]
    fn block<S: Simd, const N: usize>(&mut self, s: S, at: usize, j: usize) -> usize {
        let taps = &self.taps[at..at + N];
        let mut sums = [T::zeros(s); N];
        // SAFETY: `check` has seen that all of this lies inside the slices, for `j + lanes <= width`.
        unsafe {
            let mut starts = [self.x.as_ptr(); N];
            for (i, &(from, weights)) in taps.iter().enumerate() {
                starts[i] = self.x.as_ptr().add(from + j);
                sums[i] = T::load::<S>(self.w.as_ptr().add(weights + j));
            }
            let y = self.y.as_ptr().add(j);
            for o in 0..self.count {
                let y = T::load::<S>(y.add(o * self.out_step));
                for i in 0..N {
                    sums[i] = T::multiply_add(s, T::load::<S>(starts[i].add(o * self.in_step)), y, sums[i]);
                }
            }
            for (&(_, weights), sum) in taps.iter().zip(sums) {
                T::store::<S>(self.w.as_mut_ptr().add(weights + j), sum);
            }
        }
        N
    }
}

/// Output rows that share what they read.
pub(crate) const ROWS: usize = 4;

/// Distances known when this is compiled: outputs follow each other vector by vector and taps number by number, or both vector by vector.
const PLANE: u8 = 1;
const SLAB: u8 = 2;
/// Distances in variables.
const ANY: u8 = 0;

/// [`Sums`] for [`ROWS`] rows of a convolution without stride or dilation: each input that is read serves every row whose window it lies in.
pub(crate) struct RowSums<'a, T> {
    /// Where the sums go, from element `at` on; nobody else may touch these elements meanwhile.
    pub y: Shared<'a, T>,
    pub at: usize,
    pub x: &'a [T],
    pub w: &'a [T],
    /// What the sums begin with: as long as `width`, or empty for zeros.
    pub start: &'a [T],
    /// Where the first tap of the first output reads its input and its weights.
    pub first: Tap,
    pub kernel: (usize, usize),
    /// From a row of the input to the next, from one of the output to the next.
    pub pitch: (usize, usize),
    /// From a tap to the next: of the input, of the weights.
    pub tap: Tap,
    pub count: usize,
    /// From an output's input to the next one's, from the output itself to the next.
    pub step: (usize, usize),
    pub width: usize,
}

impl<T: Vector> RowSums<'_, T> {
    /// Whether there is code for this kernel.
    pub fn knows(g: &super::patches::Geometry) -> bool {
        g.stride == 1 && g.dilation == 1 && g.kernel.0 == g.kernel.1 && matches!(g.kernel.0, 3 | 5 | 7)
    }
}

impl<T: Vector> WithSimd for RowSums<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, s: S) {
        let lanes = T::lanes::<S>();
        if self.count == 0 || self.width == 0 {
            return;
        }
        let (kh, kw) = self.kernel;
        let reach = |step: usize| (self.count - 1) * step + self.width;
        assert!(self.width >= lanes, "less than a vector");
        assert!(self.start.is_empty() || self.start.len() >= self.width, "start");
        assert!(self.at + (ROWS - 1) * self.pitch.1 + reach(self.step.1) <= self.y.len(), "outputs");
        assert!(
            self.first.0 + (ROWS + kh - 2) * self.pitch.0 + (kw - 1) * self.tap.0 + reach(self.step.0) <= self.x.len()
                && self.first.1 + (kh * kw - 1) * self.tap.1 + self.width <= self.w.len(),
            "taps"
        );
        let distances = match (self.step.0 == lanes, self.tap.0) {
            (true, 1) => PLANE,
            (true, tap) if tap == lanes => SLAB,
            _ => ANY,
        };
        match (kh, distances) {
            (3, PLANE) => self.rows::<S, 3, PLANE>(s),
            (3, SLAB) => self.rows::<S, 3, SLAB>(s),
            (3, _) => self.rows::<S, 3, ANY>(s),
            (5, SLAB) => self.rows::<S, 5, SLAB>(s),
            (5, _) => self.rows::<S, 5, ANY>(s),
            (7, PLANE) => self.rows::<S, 7, PLANE>(s),
            (7, SLAB) => self.rows::<S, 7, SLAB>(s),
            (7, _) => self.rows::<S, 7, ANY>(s),
            _ => unreachable!("see `knows`"),
        }
    }
}

impl<T: Vector> RowSums<'_, T> {
    #[inline(always)]
    fn rows<S: Simd, const KH: usize, const D: u8>(&mut self, s: S) {
        let lanes = T::lanes::<S>();
        let mut at = 0;
        while at < self.count {
            let left = self.count - at;
            // sixteen sums where there are registers for them
            let n = if left >= 4 && S::REGISTER_COUNT >= 32 { 4 } else { left.min(2) };
            let mut j = 0;
            while j < self.width {
                let from = j.min(self.width - lanes);
                match n {
                    4 => self.block::<S, KH, 4, D>(s, at, from),
                    2 => self.block::<S, KH, 2, D>(s, at, from),
                    _ => self.block::<S, KH, 1, D>(s, at, from),
                }
                j = from + lanes;
            }
            at += n;
        }
    }

    #[inline(always)]
    fn block<S: Simd, const KH: usize, const N: usize, const D: u8>(&mut self, s: S, at: usize, j: usize) {
        let start = match self.start {
            [] => T::zeros(s),
            // SAFETY: `with_simd` has seen that it is as long as `width`.
            start => unsafe { T::load::<S>(start.as_ptr().add(j)) },
        };
        let mut sums = [[start; N]; ROWS];
        // SAFETY: `with_simd` has seen that all of this lies inside the slices, for `at + N <= count` and `j + lanes <= width`.
        unsafe {
            let x = self.x.as_ptr().add(self.first.0 + at * self.step.0 + j);
            let w = self.w.as_ptr().add(self.first.1 + j);
            // written out, because which sums a row belongs to must be known when this is compiled
            self.input_row::<S, KH, N, D, 0>(s, x, w, &mut sums);
            self.input_row::<S, KH, N, D, 1>(s, x, w, &mut sums);
            self.input_row::<S, KH, N, D, 2>(s, x, w, &mut sums);
            self.input_row::<S, KH, N, D, 3>(s, x, w, &mut sums);
            self.input_row::<S, KH, N, D, 4>(s, x, w, &mut sums);
            self.input_row::<S, KH, N, D, 5>(s, x, w, &mut sums);
            self.input_row::<S, KH, N, D, 6>(s, x, w, &mut sums);
            self.input_row::<S, KH, N, D, 7>(s, x, w, &mut sums);
            self.input_row::<S, KH, N, D, 8>(s, x, w, &mut sums);
            self.input_row::<S, KH, N, D, 9>(s, x, w, &mut sums);
            let y = self.y.start().add(self.at + at * self.step.1 + j);
            for (r, sums) in sums.into_iter().enumerate() {
                for (o, sum) in sums.into_iter().enumerate() {
                    T::store::<S>(y.add(r * self.pitch.1 + o * self.step.1), sum);
                }
            }
        }
    }

    /// What row `I` of the input adds.
    ///
    /// # Safety
    /// `x` and `w` are where the first tap of the first of `N` outputs reads, and everything from there on is as `with_simd` has checked.
    #[inline(always)]
    unsafe fn input_row<S: Simd, const KH: usize, const N: usize, const D: u8, const I: usize>(
        &self,
        s: S,
        x: *const T,
        w: *const T,
        sums: &mut [[T::V<S>; N]; ROWS],
    ) {
        if I >= ROWS + KH - 1 {
            return;
        }
        // a known number for the commonest
        let kw = if KH == 3 { 3 } else { self.kernel.1 };
        let (step, tap) = match D {
            PLANE => (T::lanes::<S>(), 1),
            SLAB => (T::lanes::<S>(), T::lanes::<S>()),
            _ => (self.step.0, self.tap.0),
        };
        // SAFETY: as the caller promises.
        unsafe {
            let mut x = x.add(I * self.pitch.0);
            let mut w = w;
            for _ in 0..kw {
                let mut inputs = [T::zeros(s); N];
                for (o, input) in inputs.iter_mut().enumerate() {
                    *input = T::load::<S>(x.add(o * step));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    if r <= I && I < r + KH {
                        let weight = T::load::<S>(w.add((I - r) * kw * self.tap.1));
                        for (sum, &input) in sums.iter_mut().zip(&inputs) {
                            *sum = T::multiply_add(s, input, weight, *sum);
                        }
                    }
                }
                x = x.wrapping_add(tap);
                w = w.wrapping_add(self.tap.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 37 + 11) % 101) as f32 / 50. - 1.).collect()
    }

    /// Three rows of taps over rows of 60 by every kind of vector that this machine has.
    fn by<S: Simd>(s: S, kernel: usize) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let (pitch, width, count) = (80, 17, 3);
        let (x, w) = (numbers(pitch * 12), numbers(kernel * kernel * width));
        let taps: Vec<Tap> = (0..kernel * kernel).map(|t| (t / kernel * pitch + t % kernel, t * width)).collect();
        let mut single = vec![0.; 4 * 60];
        for (r, y) in single.chunks_exact_mut(60).enumerate() {
            let x = &x[r * pitch..];
            s.vectorize(Sums { y, x, w: &w, taps: &taps, count, out_step: width, in_step: width, width });
        }
        let mut together = vec![0.; 4 * 60];
        s.vectorize(RowSums {
            y: Shared::new(&mut together),
            at: 0,
            x: &x,
            w: &w,
            start: &[],
            first: (0, 0),
            kernel: (kernel, kernel),
            pitch: (pitch, 60),
            tap: (1, width),
            count,
            step: (width, width),
            width,
        });
        let mut gradient = vec![0.; w.len()];
        let y = &single;
        s.vectorize(Gradient {
            w: &mut gradient,
            x: &x,
            y,
            taps: &taps,
            count,
            out_step: width,
            in_step: width,
            width,
        });
        (single, together, gradient)
    }

    #[track_caller]
    fn same(a: &[f32], b: &[f32]) {
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            assert!((a - b).abs() <= 1e-4 * b.abs().max(1.), "element {i}: {a}, expected {b}");
        }
    }

    #[test]
    fn every_vector_gives_the_same() {
        for kernel in [3, 5, 7] {
            let expected = by(pulp::Scalar, kernel);
            same(&expected.1, &expected.0);
            #[cfg(target_arch = "x86_64")]
            {
                if let Some(s) = pulp::x86::V3::try_new() {
                    let got = by(s, kernel);
                    same(&got.0, &expected.0);
                    same(&got.1, &expected.0);
                    same(&got.2, &expected.2);
                }
                if let Some(s) = pulp::x86::V4::try_new() {
                    let got = by(s, kernel);
                    same(&got.0, &expected.0);
                    same(&got.1, &expected.0);
                    same(&got.2, &expected.2);
                }
            }
        }
    }
}
