//! The instruction set that kernels are compiled for and run with.
//!
//! A kernel is a struct with [`pulp::WithSimd`], generic over the instruction set; it is compiled once for each (AVX-512, AVX2 with FMA, NEON,
//! portable) and chosen at run time. Packing and reading ask here, so that both have the same answer.

use super::vector::Vector;
use pulp::{Arch, Simd, WithSimd};

/// Runs a kernel for this processor.
#[inline(always)]
pub(crate) fn run<K: WithSimd>(kernel: K) -> K::Output {
    arch().dispatch(kernel)
}

/// The best that this processor has.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn arch() -> Arch {
    Arch::new()
}

/// In tests, the instruction set that [`force`] has chosen, if this processor has it.
#[cfg(test)]
pub(crate) fn arch() -> Arch {
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

/// Elements of this processor's vectors.
pub(crate) fn lanes<T: Vector>() -> usize {
    struct Lanes<T>(std::marker::PhantomData<T>);
    impl<T: Vector> WithSimd for Lanes<T> {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            T::lanes::<S>()
        }
    }
    run(Lanes::<T>(std::marker::PhantomData))
}

/// Whether there are registers for 24 sums and what they are made of (AVX-512, NEON), not for half as many alone.
pub(crate) fn many_registers() -> bool {
    struct Many;
    impl WithSimd for Many {
        type Output = bool;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> bool {
            S::REGISTER_COUNT >= 32
        }
    }
    run(Many)
}
