//! Loops compiled for the widest vectors that the CPU has.

use pulp::{Arch, Simd, WithSimd};

/// A loop that gains from wide vectors. `run` has to be `#[inline(always)]`, and so has every function it calls: only what is
/// inlined is compiled for these vectors.
pub(crate) trait Wide {
    type Output;

    fn run(self) -> Self::Output;
}

/// Runs a loop as code compiled for AVX-512, AVX2 or what the target has, whichever is the best that this CPU can. The
/// results are the same everywhere: nothing is reordered or contracted.
pub(crate) fn widest<W: Wide>(work: W) -> W::Output {
    Arch::new().dispatch(Work(work))
}

struct Work<W>(W);

impl<W: Wide> WithSimd for Work<W> {
    type Output = W::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> W::Output {
        self.0.run()
    }
}

/// 255 for what holds, 0 for what does not. Loops over such bytes have no branches.
#[inline(always)]
pub(crate) fn mask(holds: bool) -> u8 {
    u8::from(holds).wrapping_neg()
}

/// Whether any of some masks, a multiple of eight, holds.
#[inline(always)]
pub(crate) fn any(masks: &[u8]) -> bool {
    let (words, _) = masks.as_chunks();
    words.iter().fold(0, |all, word| all | u64::from_ne_bytes(*word)) != 0
}
