//! Vectors of f32 and f64 under one name, for kernels whose blocking must stand in registers. They run inside [`pulp::WithSimd::with_simd`], which picks
//! AVX-512, AVX2, NEON or single numbers.
#![allow(unsafe_code)]

use crate::float::Float;
use pulp::Simd;

/// An element type with vectors.
pub(crate) trait Vector: Float {
    /// Its vector.
    type V<S: Simd>: Copy;

    /// Elements of a vector.
    #[inline(always)]
    fn lanes<S: Simd>() -> usize {
        size_of::<Self::V<S>>() / size_of::<Self>()
    }

    /// All zeros.
    fn zeros<S: Simd>(s: S) -> Self::V<S>;

    /// `a * b + c` in one rounding.
    fn multiply_add<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>, c: Self::V<S>) -> Self::V<S>;

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

impl Vector for f32 {
    type V<S: Simd> = S::f32s;

    #[inline(always)]
    fn zeros<S: Simd>(s: S) -> S::f32s {
        s.splat_f32s(0.)
    }

    #[inline(always)]
    fn multiply_add<S: Simd>(s: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
        s.mul_add_f32s(a, b, c)
    }
}

impl Vector for f64 {
    type V<S: Simd> = S::f64s;

    #[inline(always)]
    fn zeros<S: Simd>(s: S) -> S::f64s {
        s.splat_f64s(0.)
    }

    #[inline(always)]
    fn multiply_add<S: Simd>(s: S, a: S::f64s, b: S::f64s, c: S::f64s) -> S::f64s {
        s.mul_add_f64s(a, b, c)
    }
}

/// Elements of the widest vector of this processor.
pub(crate) fn lanes<T: Vector>() -> usize {
    struct Lanes<T>(std::marker::PhantomData<T>);
    impl<T: Vector> pulp::WithSimd for Lanes<T> {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            T::lanes::<S>()
        }
    }
    pulp::Arch::new().dispatch(Lanes::<T>(std::marker::PhantomData))
}
