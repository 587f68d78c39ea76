//! Vectors of either element type for kernels that hold their sums in registers, weights packed for them, and scratch memory.
//!
//! A kernel is a struct with [`pulp::WithSimd`], generic over the instruction set; it is compiled once for each (AVX-512, AVX2 with FMA, NEON,
//! portable) and chosen at run time.
#![allow(unsafe_code)]

use crate::float::Float;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::cell::RefCell;

/// An element type with vectors.
pub(crate) trait Lanes: Float {
    type V<S: Simd>: Copy;
    fn splat<S: Simd>(s: S, x: Self) -> Self::V<S>;
    /// `a * b + c`, rounded once where the processor can.
    fn mul_add<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>, c: Self::V<S>) -> Self::V<S>;
    fn plus<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    fn minus<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    fn times<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;

    /// Writes a 4 × 4 block with rows and columns exchanged; rows are `from` elements apart where it stands, `to` where it goes.
    ///
    /// # Safety
    /// The block can be read at `x`, and written at `y`.
    #[inline(always)]
    unsafe fn turn(x: *const Self, from: usize, y: *mut Self, to: usize) {
        for i in 0..4 {
            for j in 0..4 {
                // SAFETY: as the caller promises.
                unsafe { *y.add(j * to + i) = *x.add(i * from + j) };
            }
        }
    }

    /// Elements of a vector.
    #[inline(always)]
    fn lanes<S: Simd>() -> usize {
        size_of::<Self::V<S>>() / size_of::<Self>()
    }
}

macro_rules! lanes {
    ($t:ident, $v:ident, $splat:ident, $fma:ident, $add:ident, $sub:ident, $mul:ident $(, $turn:item)?) => {
        impl Lanes for $t {
            type V<S: Simd> = S::$v;
            #[inline(always)]
            fn splat<S: Simd>(s: S, x: Self) -> Self::V<S> {
                s.$splat(x)
            }
            #[inline(always)]
            fn mul_add<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>, c: Self::V<S>) -> Self::V<S> {
                s.$fma(a, b, c)
            }
            #[inline(always)]
            fn plus<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S> {
                s.$add(a, b)
            }
            #[inline(always)]
            fn minus<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S> {
                s.$sub(a, b)
            }
            #[inline(always)]
            fn times<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S> {
                s.$mul(a, b)
            }
            $($turn)?
        }
    };
}
lanes!(
    f32,
    f32s,
    splat_f32s,
    mul_add_e_f32s,
    add_f32s,
    sub_f32s,
    mul_f32s,
    /// With the shuffles that every x86-64 processor has.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn turn(x: *const f32, from: usize, y: *mut f32, to: usize) {
        use std::arch::x86_64::{_MM_TRANSPOSE4_PS, _mm_loadu_ps, _mm_storeu_ps};
        // SAFETY: as the caller promises; SSE belongs to x86-64.
        unsafe {
            let mut a = _mm_loadu_ps(x);
            let mut b = _mm_loadu_ps(x.add(from));
            let mut c = _mm_loadu_ps(x.add(2 * from));
            let mut d = _mm_loadu_ps(x.add(3 * from));
            _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
            _mm_storeu_ps(y, a);
            _mm_storeu_ps(y.add(to), b);
            _mm_storeu_ps(y.add(2 * to), c);
            _mm_storeu_ps(y.add(3 * to), d);
        }
    }
);
lanes!(f64, f64s, splat_f64s, mul_add_e_f64s, add_f64s, sub_f64s, mul_f64s);

/// # Safety
/// A whole vector can be read at `p`, aligned or not.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd, T: Lanes>(p: *const T) -> T::V<S> {
    // SAFETY: as the caller promises; a vector is so many elements one after the other.
    unsafe { p.cast::<T::V<S>>().read_unaligned() }
}

/// # Safety
/// A whole vector can be written at `p`, aligned or not.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd, T: Lanes>(p: *mut T, v: T::V<S>) {
    // SAFETY: as the caller promises.
    unsafe { p.cast::<T::V<S>>().write_unaligned(v) }
}

/// Writes a matrix with rows and columns exchanged: `rows` × `columns`, rows `from` elements apart in `x`, to `columns` rows `to` apart.
#[inline(always)]
pub(crate) fn turn<T: Lanes>((rows, columns): (usize, usize), x: &[T], from: usize, y: &mut [T], to: usize) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!((columns - 1) * to + rows <= y.len());
    // SAFETY: the elements lie inside, as asserted.
    unsafe { turn_to((rows, columns), x, from, y.as_mut_ptr(), to) };
}

/// [`turn`] to where only these elements may be touched.
///
/// # Safety
/// They can be written.
#[inline(always)]
pub(crate) unsafe fn turn_to<T: Lanes>((rows, columns): (usize, usize), x: &[T], from: usize, y: *mut T, to: usize) {
    assert!((rows - 1) * from + columns <= x.len());
    let x = x.as_ptr();
    let (whole_rows, whole_columns) = (rows / 4 * 4, columns / 4 * 4);
    // SAFETY: as asserted, and as the caller promises.
    unsafe {
        // along the side whose rows are far apart: these may share few sets of the cache
        if from > to {
            for i in (0..whole_rows).step_by(4) {
                for j in (0..whole_columns).step_by(4) {
                    T::turn(x.add(i * from + j), from, y.add(j * to + i), to);
                }
            }
        } else {
            for j in (0..whole_columns).step_by(4) {
                for i in (0..whole_rows).step_by(4) {
                    T::turn(x.add(i * from + j), from, y.add(j * to + i), to);
                }
            }
        }
        for i in 0..rows {
            let first = if i < whole_rows { whole_columns } else { 0 };
            for j in first..columns {
                *y.add(j * to + i) = *x.add(i * from + j);
            }
        }
    }
}

/// Runs a kernel for this processor.
#[inline(always)]
pub(crate) fn run<K: WithSimd>(kernel: K) -> K::Output {
    arch().dispatch(kernel)
}

#[cfg(not(test))]
#[inline(always)]
fn arch() -> Arch {
    Arch::new()
}

/// In tests, the instruction set that [`force`] has chosen, if this processor has it.
#[cfg(test)]
fn arch() -> Arch {
    match FORCED.load(std::sync::atomic::Ordering::Relaxed) {
        1 => Arch::Scalar,
        #[cfg(target_arch = "x86_64")]
        2 => pulp::x86::V3::try_new().map_or_else(Arch::new, Arch::V3),
        _ => Arch::new(),
    }
}

#[cfg(test)]
static FORCED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// 0: the best that this processor has, 1: no vectors, 2: AVX2 with FMA. For all threads.
#[cfg(test)]
pub(crate) fn force(instructions: u8) {
    FORCED.store(instructions, std::sync::atomic::Ordering::Relaxed);
}

struct Width<T>(std::marker::PhantomData<T>);

impl<T: Lanes> WithSimd for Width<T> {
    type Output = usize;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        T::lanes::<S>()
    }
}

/// Elements of this processor's vectors.
pub(crate) fn lanes<T: Lanes>() -> usize {
    run(Width::<T>(std::marker::PhantomData))
}

/// How a row of `width` elements is cut into panels of two vectors; the last one may have a single vector, and its end may be padding.
#[derive(Clone, Copy)]
pub(crate) struct Panels {
    pub width: usize,
    pub lanes: usize,
}

impl Panels {
    pub fn new<T: Lanes>(width: usize) -> Self {
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
    pub fn pack<T: Lanes>(self, depth: usize, at: impl Fn(usize, usize) -> T + Sync) -> Vec<T> {
        const FEW: usize = 1 << 14;
        let mut out = vec![T::ZERO; self.size(depth)];
        let fill = |(i, out): (usize, &mut [T])| {
            let (start, len) = (self.start(i), self.len(i));
            for (k, out) in out.chunks_exact_mut(self.vectors(i) * self.lanes).enumerate() {
                for (j, out) in out[..len].iter_mut().enumerate() {
                    *out = at(k, start + j);
                }
            }
        };
        let panel = (depth * 2 * self.lanes).max(1);
        if out.len() > FEW {
            out.par_chunks_mut(panel).enumerate().for_each(fill);
        } else {
            out.chunks_mut(panel).enumerate().for_each(fill);
        }
        out
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<f64>> = const { RefCell::new(Vec::new()) };
}

/// `n` elements of this thread's scratch memory: what they hold is left from an earlier use.
pub(crate) fn with_scratch<T: Lanes, R>(n: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    // taken out for the time of the call, so that a call inside it gets memory of its own
    let mut v = SCRATCH.with(|s| s.take());
    let words = (n * size_of::<T>()).div_ceil(size_of::<f64>());
    if v.len() < words {
        v = vec![0.; words];
    }
    // SAFETY: f64 has at least the alignment of T (f32 or f64), whose every pattern of bits is a value; `n` elements fit into `words`.
    let slice = unsafe { std::slice::from_raw_parts_mut(v.as_mut_ptr().cast::<T>(), n) };
    let result = f(slice);
    SCRATCH.with(|s| s.replace(v));
    result
}
