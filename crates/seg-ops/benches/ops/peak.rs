//! The greatest rate of fused multiply-adds that this machine's vectors reach.

use pulp::{Arch, Simd, WithSimd};
use std::hint::black_box;
use std::time::Instant;

/// Seconds and floating-point operations of one run on all threads of rayon's pool: as many independent sums as the registers hold, nothing else.
pub fn fma_peak() -> (f64, f64) {
    const ROUNDS: usize = 2_000_000;
    let start = Instant::now();
    let flops = rayon::broadcast(|_| Arch::new().dispatch(Sums { rounds: black_box(ROUNDS) }));
    (start.elapsed().as_secs_f64(), flops.into_iter().sum())
}

struct Sums {
    rounds: usize,
}

impl WithSimd for Sums {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> f64 {
        // two registers are left for the factors
        if S::REGISTER_COUNT >= 32 { wide(s, self.rounds) } else { narrow(s, self.rounds) }
    }
}

/// By names: over an array the sums would not stay in registers.
macro_rules! sums {
    ($name:ident: $($sum:ident)*) => {
        #[inline(always)]
        fn $name<S: Simd>(s: S, rounds: usize) -> f64 {
            // sums that go to 1 from above: neither denormal numbers nor infinities on the way
            let (a, b) = (s.splat_f32s(black_box(0.5)), s.splat_f32s(black_box(0.5)));
            $(let mut $sum = s.splat_f32s(black_box(1.5));)*
            for _ in 0..rounds {
                $($sum = s.mul_add_f32s($sum, a, b);)*
            }
            let mut count = 0;
            $(
                black_box($sum);
                count += 1;
            )*
            (2 * count * S::F32_LANES * rounds) as f64
        }
    };
}
sums!(wide: s0 s1 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 s12 s13 s14 s15 s16 s17 s18 s19 s20 s21 s22 s23);
sums!(narrow: s0 s1 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11);
