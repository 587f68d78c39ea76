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
