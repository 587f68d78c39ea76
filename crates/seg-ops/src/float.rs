//! The two element types that kernels compute in.

use candle_core::{CpuStorage, DType};

/// f32 or f64: what the kernels are generic over. Half types are widened to f32 before, and narrowed after.
pub(crate) trait Float:
    Copy
    + Default
    + PartialOrd
    + Send
    + Sync
    + 'static
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + std::ops::AddAssign
    + std::ops::MulAssign
    + std::iter::Sum
{
    const ZERO: Self;
    const ONE: Self;
    const NEG_INFINITY: Self;
    const TYPE: DType;
    /// The elements of a storage of this type.
    fn elements(storage: &CpuStorage) -> Option<&[Self]>;
    /// The elements of a storage of this type, to be written.
    fn elements_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;
    /// The reverse.
    fn storage(elements: Vec<Self>) -> CpuStorage;
    fn of(x: f64) -> Self;
    fn of_usize(x: usize) -> Self;
    fn as_f64(self) -> f64;
    /// `self * a + b` in one rounding; to be used under [`crate::cpu::simd`], where it is one instruction.
    fn fma(self, a: Self, b: Self) -> Self;
    /// `exp(self)` for `self <= 0`, written so that loops over it vectorise (f32: relative error below 3e-7; f64: the library's).
    fn exp_of_negative(self) -> Self;
    /// `erfc(self)` for `self >= 0` given `exp(-self²)` (f32: absolute error below 3e-7 and vectorisable; f64: the library's).
    fn erfc_of_positive(self, gauss: Self) -> Self;
    fn floor(self) -> Self;
    fn abs(self) -> Self;
    fn sqrt(self) -> Self;
    /// The natural logarithm, the library's.
    fn ln(self) -> Self;
    fn max(self, other: Self) -> Self;
    fn min(self, other: Self) -> Self;
}

macro_rules! float {
    ($t:ty, $variant:ident) => {
        const ZERO: Self = 0.;
        const ONE: Self = 1.;
        const NEG_INFINITY: Self = <$t>::NEG_INFINITY;
        const TYPE: DType = DType::$variant;
        fn elements(storage: &CpuStorage) -> Option<&[Self]> {
            match storage {
                CpuStorage::$variant(s) => Some(s),
                _ => None,
            }
        }
        fn elements_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
            match storage {
                CpuStorage::$variant(s) => Some(s),
                _ => None,
            }
        }
        fn storage(elements: Vec<Self>) -> CpuStorage {
            CpuStorage::$variant(elements)
        }
        #[inline(always)]
        fn of(x: f64) -> Self {
            x as $t
        }
        #[inline(always)]
        fn of_usize(x: usize) -> Self {
            x as $t
        }
        #[inline(always)]
        fn as_f64(self) -> f64 {
            f64::from(self)
        }
        #[inline(always)]
        fn fma(self, a: Self, b: Self) -> Self {
            self.mul_add(a, b)
        }
        #[inline(always)]
        fn floor(self) -> Self {
            self.floor()
        }
        #[inline(always)]
        fn abs(self) -> Self {
            self.abs()
        }
        #[inline(always)]
        fn sqrt(self) -> Self {
            self.sqrt()
        }
        #[inline(always)]
        fn ln(self) -> Self {
            self.ln()
        }
        #[inline(always)]
        fn max(self, other: Self) -> Self {
            if self > other { self } else { other }
        }
        #[inline(always)]
        fn min(self, other: Self) -> Self {
            if self < other { self } else { other }
        }
    };
}

impl Float for f32 {
    float!(f32, F32);

    /// `2^n · e^r` with `n` the nearest integer to `x / ln 2` and a polynomial in `r`.
    #[inline(always)]
    fn exp_of_negative(self) -> Self {
        // below this the result is not a normal number: flushed to 0
        const LEAST: f32 = -87.3;
        // 1.5 · 2^23: adding it rounds to an integer, which then stands in the low bits
        const ROUND: f32 = 12_582_912.;
        // written so that a NaN stays one
        let x = if self < LEAST { LEAST } else { self };
        let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        // ln 2 in two parts, so that x - n ln 2 loses nothing
        let r = n.mul_add(-0.693_359_4, x);
        let r = n.mul_add(2.121_944_4e-4, r);
        let p = 1.987_569_1e-4_f32;
        let p = p.mul_add(r, 1.398_2e-3);
        let p = p.mul_add(r, 8.333_452e-3);
        let p = p.mul_add(r, 4.166_579_6e-2);
        let p = p.mul_add(r, 1.666_666_5e-1);
        let p = p.mul_add(r, 0.5);
        let p = p.mul_add(r * r, r) + 1.;
        let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
        if self < LEAST { 0. } else { p * power }
    }

    /// Abramowitz and Stegun, 7.1.26.
    #[inline(always)]
    fn erfc_of_positive(self, gauss: Self) -> Self {
        let t = 1. / self.mul_add(0.327_591_1, 1.);
        let p = 1.061_405_4_f32;
        let p = p.mul_add(t, -1.453_152);
        let p = p.mul_add(t, 1.421_413_8);
        let p = p.mul_add(t, -0.284_496_72);
        let p = p.mul_add(t, 0.254_829_6);
        p * t * gauss
    }
}

impl Float for f64 {
    float!(f64, F64);

    #[inline(always)]
    fn exp_of_negative(self) -> Self {
        self.exp()
    }

    #[inline(always)]
    fn erfc_of_positive(self, _: Self) -> Self {
        candle_core::cpu::erf::erfc_f64(self)
    }
}
