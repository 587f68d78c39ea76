//! Random numbers that a seed reproduces on every machine; candle's CPU generator cannot be seeded.

pub use seg_layers::Uniform;

use candle_core::{Device, Result, Shape, Tensor};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A generator of which a seed tells every number (ChaCha8).
#[derive(Clone, Debug)]
pub struct Seeded(ChaCha8Rng);

impl Seeded {
    /// The generator of this seed. Ranks of one training take different ones.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }
}

impl Uniform for Seeded {
    fn uniform(&mut self, shape: &Shape, device: &Device) -> Result<Tensor> {
        // 24 bits: as many as an f32 below 1 holds evenly
        let values: Vec<f32> =
            (0..shape.elem_count()).map(|_| (self.0.next_u32() >> 8) as f32 / (1 << 24) as f32).collect();
        Tensor::from_vec(values, shape, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_tells_the_numbers() -> Result<()> {
        let draw = |seed| Seeded::new(seed).uniform(&Shape::from((3, 1000)), &Device::Cpu)?.to_vec2::<f32>();
        assert_eq!(draw(7)?, draw(7)?);
        assert_ne!(draw(7)?, draw(8)?);
        let all: Vec<f32> = draw(7)?.concat();
        assert!(all.iter().all(|u| (0. ..1.).contains(u)));
        let mean = all.iter().sum::<f32>() / all.len() as f32;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        Ok(())
    }
}
