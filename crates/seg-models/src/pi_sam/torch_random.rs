//! PyTorch's CPU generator, so that weights that somebody left at their random beginning can be made again.

const N: usize = 624;
const M: usize = 397;

/// PyTorch's CPU generator of f32 numbers after `torch.manual_seed` (the 32-bit Mersenne Twister), as of PyTorch 2.5.
#[derive(Clone, Debug)]
pub struct TorchGenerator {
    state: [u32; N],
    /// Numbers of the present state that have been taken.
    taken: usize,
}

impl TorchGenerator {
    /// The generator after `torch.manual_seed(seed)`; as there, the lower 32 bits count.
    pub fn new(seed: u64) -> Self {
        let mut state = [0u32; N];
        state[0] = seed as u32;
        for i in 1..N {
            let last = state[i - 1];
            state[i] = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i as u32);
        }
        Self { state, taken: N }
    }

    /// The next state. The loops are short of dependencies, so that they become vectors.
    fn advance(&mut self) {
        let old = self.state;
        let twist = |a: u32, b: u32| {
            let y = (a & 0x8000_0000) | (b & 0x7fff_ffff);
            (y >> 1) ^ ((y & 1).wrapping_neg() & 0x9908_b0df)
        };
        let (first, rest) = self.state.split_at_mut(N - M); // 227
        for (i, new) in first.iter_mut().enumerate() {
            *new = old[i + M] ^ twist(old[i], old[i + 1]);
        }
        let (second, third) = rest.split_at_mut(N - M);
        for (i, new) in second.iter_mut().enumerate() {
            let at = N - M + i;
            *new = first[i] ^ twist(old[at], old[at + 1]);
        }
        for (i, new) in third.iter_mut().enumerate() {
            let at = 2 * (N - M) + i;
            // the last looks at the new state's beginning
            let next = if at + 1 < N { old[at + 1] } else { first[0] };
            *new = second[i] ^ twist(old[at], next);
        }
        self.taken = 0;
    }

    /// The next 32 random bits.
    pub fn bits(&mut self) -> u32 {
        if self.taken == N {
            self.advance();
        }
        let mut y = self.state[self.taken];
        self.taken += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// Passes over `n` numbers, state by state.
    pub fn skip(&mut self, mut n: u64) {
        while n > 0 {
            if self.taken == N {
                self.advance();
            }
            let now = n.min((N - self.taken) as u64);
            self.taken += now as usize;
            n -= now;
        }
    }

    /// `tensor.uniform_(-bound, bound)` of `n` elements.
    pub fn uniform(&mut self, n: usize, bound: f64) -> Vec<f32> {
        let (from, to) = (-bound as f32, bound as f32);
        (0..n)
            .map(|_| {
                let unit = (self.bits() & 0x00ff_ffff) as f32 / (1 << 24) as f32;
                unit * (to - from) + from
            })
            .collect()
    }

    /// A whole number below `n`, which is not 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.bits() as usize % n.max(1)
    }

    /// How many numbers `tensor.normal_()` of `n` elements takes, `n` being 16 or more.
    pub(super) fn taken_by_normal(n: usize) -> usize {
        // the last 16 are made anew where they do not fill up their group
        if n.is_multiple_of(16) { n } else { n + 16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published test value of the algorithm: the 10000th number of seed 5489.
    #[test]
    fn is_the_mersenne_twister() {
        let mut generator = TorchGenerator::new(5489);
        assert_eq!(generator.bits(), 3_499_211_612);
        generator.skip(9998);
        assert_eq!(generator.bits(), 4_123_659_995);
    }

    #[test]
    fn skipping_is_taking() {
        for n in [0, 1, 623, 624, 625, 5000] {
            let (mut a, mut b) = (TorchGenerator::new(42), TorchGenerator::new(42));
            a.skip(17);
            for _ in 0..17 {
                b.bits();
            }
            a.skip(n);
            for _ in 0..n {
                b.bits();
            }
            assert_eq!(a.bits(), b.bits(), "{n}");
        }
    }

    /// `torch.manual_seed(42); torch.rand(3)`: the generator's numbers on 0..1.
    #[test]
    fn torch_rand() {
        let mut generator = TorchGenerator::new(42);
        let rand: Vec<f32> = generator.uniform(3, 1.).iter().map(|v| (v + 1.) / 2.).collect();
        for (a, b) in rand.iter().zip([0.882_269_3, 0.915_004, 0.382_863_76]) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }
}
