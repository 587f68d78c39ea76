//! Vectors of f32 and f64 under one name, for kernels whose blocking must stand in registers. They run inside [`pulp::WithSimd::with_simd`], which picks
//! AVX-512, AVX2, NEON or single numbers.
#![allow(unsafe_code)]

use crate::float::Float;
use pulp::Simd;

/// An element type with vectors.
pub(crate) trait Vector: Float {
    /// Its vector.
    type V<S: Simd>: Copy;

    /// Sixteen ones, sixteen zeros: read from the middle, a mask for any number of elements.
    const MASK: &'static [Self; 32];

    /// Elements of a vector.
    #[inline(always)]
    fn lanes<S: Simd>() -> usize {
        size_of::<Self::V<S>>() / size_of::<Self>()
    }

    /// All the same.
    fn splat<S: Simd>(s: S, x: Self) -> Self::V<S>;

    /// `a + b`.
    fn plus<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;

    /// `a - b`.
    fn minus<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;

    /// `a * b`.
    fn times<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;

    /// `a * b + c`, rounded once where the processor can.
    fn multiply_add<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>, c: Self::V<S>) -> Self::V<S>;

    /// The greater of two.
    fn greater<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;

    /// The sum of a vector's elements.
    fn total<S: Simd>(s: S, a: Self::V<S>) -> Self;

    /// The greatest of a vector's elements.
    fn greatest<S: Simd>(s: S, a: Self::V<S>) -> Self;

    /// [`Float::exp_of_negative`].
    fn exp<S: Simd>(s: S, x: Self::V<S>) -> Self::V<S>;

    /// Less than a vector, zeros after it.
    fn load_part<S: Simd>(s: S, from: &[Self]) -> Self::V<S>;

    /// As many elements of a vector as `to` has.
    fn store_part<S: Simd>(s: S, to: &mut [Self], v: Self::V<S>);

    /// Writes a vector past the caches, where a whole row is written that nobody reads soon; see [`settle`].
    ///
    /// # Safety
    /// [`Self::lanes`] elements from `to` on can be written, and `to` is a multiple of 16 bytes.
    #[inline(always)]
    unsafe fn stream<S: Simd>(to: *mut Self, v: Self::V<S>) {
        #[cfg(target_arch = "x86_64")]
        if size_of::<Self::V<S>>() >= 16 {
            use std::arch::x86_64::{__m128, _mm_stream_ps};
            let parts = std::ptr::from_ref(&v).cast::<__m128>();
            for i in 0..size_of::<Self::V<S>>() / 16 {
                // SAFETY: as the caller promises; a vector is a whole number of such parts, and SSE belongs to x86-64.
                unsafe { _mm_stream_ps(to.cast::<f32>().add(4 * i), parts.add(i).read_unaligned()) };
            }
            return;
        }
        // SAFETY: as the caller promises.
        unsafe { Self::store::<S>(to, v) }
    }

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

    /// All zeros.
    #[inline(always)]
    fn zeros<S: Simd>(s: S) -> Self::V<S> {
        Self::splat(s, Self::ZERO)
    }

    /// `n` ones, then zeros.
    #[inline(always)]
    fn ones<S: Simd>(n: usize) -> Self::V<S> {
        assert!(n <= 16 && Self::lanes::<S>() <= 16);
        // SAFETY: 16 - n and the lanes are 32 at most.
        unsafe { Self::load(Self::MASK.as_ptr().add(16 - n)) }
    }

    /// Reads a vector.
    ///
    /// # Safety
    /// [`Self::lanes`] elements from `from` on can be read; they need no alignment.
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const Self) -> Self::V<S> {
        // SAFETY: as the caller promises; vectors are plain numbers.
        unsafe { from.cast::<Self::V<S>>().read_unaligned() }
    }

    /// Writes a vector.
    ///
    /// # Safety
    /// [`Self::lanes`] elements from `to` on can be written; they need no alignment.
    #[inline(always)]
    unsafe fn store<S: Simd>(to: *mut Self, v: Self::V<S>) {
        // SAFETY: as the caller promises.
        unsafe { to.cast::<Self::V<S>>().write_unaligned(v) }
    }
}

macro_rules! vector {
    ($v:ident, $splat:ident, $add:ident, $sub:ident, $mul:ident, $fma:ident, $max:ident, $sum:ident, $greatest:ident, $load:ident, $store:ident) => {
        type V<S: Simd> = S::$v;
        const MASK: &'static [Self; 32] = &[
            1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 1., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.,
            0., 0., 0., 0., 0.,
        ];

        #[inline(always)]
        fn splat<S: Simd>(s: S, x: Self) -> S::$v {
            s.$splat(x)
        }
        #[inline(always)]
        fn plus<S: Simd>(s: S, a: S::$v, b: S::$v) -> S::$v {
            s.$add(a, b)
        }
        #[inline(always)]
        fn minus<S: Simd>(s: S, a: S::$v, b: S::$v) -> S::$v {
            s.$sub(a, b)
        }
        #[inline(always)]
        fn times<S: Simd>(s: S, a: S::$v, b: S::$v) -> S::$v {
            s.$mul(a, b)
        }
        #[inline(always)]
        fn multiply_add<S: Simd>(s: S, a: S::$v, b: S::$v, c: S::$v) -> S::$v {
            s.$fma(a, b, c)
        }
        #[inline(always)]
        fn greater<S: Simd>(s: S, a: S::$v, b: S::$v) -> S::$v {
            s.$max(a, b)
        }
        #[inline(always)]
        fn total<S: Simd>(s: S, a: S::$v) -> Self {
            s.$sum(a)
        }
        #[inline(always)]
        fn greatest<S: Simd>(s: S, a: S::$v) -> Self {
            s.$greatest(a)
        }
        #[inline(always)]
        fn load_part<S: Simd>(s: S, from: &[Self]) -> S::$v {
            s.$load(from)
        }
        #[inline(always)]
        fn store_part<S: Simd>(s: S, to: &mut [Self], v: S::$v) {
            s.$store(to, v);
        }
    };
}

impl Vector for f32 {
    vector!(
        f32s,
        splat_f32s,
        add_f32s,
        sub_f32s,
        mul_f32s,
        mul_add_e_f32s,
        max_f32s,
        reduce_sum_f32s,
        reduce_max_f32s,
        partial_load_f32s,
        partial_store_f32s
    );

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

    /// See [`Float::exp_of_negative`] for the numbers.
    #[inline(always)]
    fn exp<S: Simd>(s: S, x: S::f32s) -> S::f32s {
        let v = |x: f32| s.splat_f32s(x);
        // 2^-127, whose bits are those of 0; a NaN stays one
        let tiny = s.less_than_f32s(x, v(-88.));
        let x = s.select_f32s(tiny, v(-88.), x);
        let shifted = s.mul_add_f32s(x, v(std::f32::consts::LOG2_E), v(12_582_912.));
        let n = s.sub_f32s(shifted, v(12_582_912.));
        let r = s.mul_add_f32s(n, v(-0.693_359_4), x);
        let r = s.mul_add_f32s(n, v(2.121_944_4e-4), r);
        let mut p = v(1.987_569_1e-4);
        for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            p = s.mul_add_f32s(p, r, v(c));
        }
        let p = s.add_f32s(s.mul_add_f32s(p, s.mul_f32s(r, r), r), v(1.));
        let bits = s.add_u32s(s.transmute_u32s_f32s(shifted), s.splat_u32s(127));
        let power = s.transmute_f32s_u32s(s.wrapping_dyn_shl_u32s(bits, s.splat_u32s(23)));
        s.mul_f32s(p, power)
    }
}

impl Vector for f64 {
    vector!(
        f64s,
        splat_f64s,
        add_f64s,
        sub_f64s,
        mul_f64s,
        mul_add_e_f64s,
        max_f64s,
        reduce_sum_f64s,
        reduce_max_f64s,
        partial_load_f64s,
        partial_store_f64s
    );

    /// The library's, one by one.
    #[inline(always)]
    fn exp<S: Simd>(_: S, x: S::f64s) -> S::f64s {
        let mut each = [0.; 16];
        assert!(Self::lanes::<S>() <= 16);
        // SAFETY: no vector has more than 16 elements.
        unsafe {
            Self::store::<S>(each.as_mut_ptr(), x);
            for x in &mut each[..Self::lanes::<S>()] {
                *x = x.exp();
            }
            Self::load::<S>(each.as_ptr())
        }
    }
}

/// [`Vector::load`], the vectors' kind taken from `s`.
///
/// # Safety
/// A whole vector can be read from `from` on.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd, T: Vector>(_: S, from: *const T) -> T::V<S> {
    // SAFETY: as the caller promises.
    unsafe { T::load::<S>(from) }
}

/// The reverse.
///
/// # Safety
/// A whole vector can be written from `to` on.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd, T: Vector>(_: S, to: *mut T, v: T::V<S>) {
    // SAFETY: as the caller promises.
    unsafe { T::store::<S>(to, v) }
}

/// Has what is at `from` brought to the first-level cache, if it is anything.
#[inline(always)]
pub(crate) fn prefetch<T>(from: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, whatever the address; SSE belongs to x86-64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(from.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}

/// [`prefetch`] of element `at`, which may lie behind the end.
#[inline(always)]
pub(crate) fn fetch<T>(x: &[T], at: usize) {
    prefetch(x.as_ptr().wrapping_add(at));
}

/// [`fetch`], to be written soon.
#[inline(always)]
pub(crate) fn fetch_to_write<T>(y: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_ET0>(y.as_ptr().wrapping_add(at).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (y, at);
}

/// To be called behind [`Vector::stream`], before another thread is told of it.
#[inline(always)]
pub(crate) fn settle() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE belongs to x86-64.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}
