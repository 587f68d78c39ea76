//! Random numbers within a step, such as those of dropout, that follow from its examples alone: a resumed run draws the same.

use crate::Result;
use crate::random::Seeded;
use candle_core::{Device, Shape, Tensor};
use seg_layers::Uniform;
use std::sync::{Arc, Mutex, PoisonError};

/// A source that begins anew with every step.
#[derive(Clone)]
pub(super) struct Drawn(Arc<Mutex<Seeded>>);

impl Drawn {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Seeded::new(0))))
    }

    /// Begins with the seeds `[B, 2]` of a step's examples.
    pub(super) fn begin(&self, numbers: &Tensor) -> Result<()> {
        let numbers = numbers.flatten_all()?.to_vec1::<u32>()?;
        // FNV-1a, a word at a time
        let seed = numbers
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, word| (hash ^ u64::from(*word)).wrapping_mul(0x0100_0000_01b3));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Seeded::new(seed);
        Ok(())
    }
}

impl Uniform for Drawn {
    fn uniform(&mut self, shape: &Shape, device: &Device) -> candle_core::Result<Tensor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).uniform(shape, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learners::seed;
    use seg_data::training::Place;

    #[test]
    fn examples_tell_the_numbers() -> Result<()> {
        let device = Device::Cpu;
        let input = |index| seed(Place { seed: 1, epoch: 0, index });
        let mut drawn = Drawn::new();
        let mut draw = |numbers: &Tensor| -> Result<Vec<f32>> {
            drawn.begin(numbers)?;
            Ok(drawn.uniform(&Shape::from(8), &device)?.to_vec1()?)
        };
        let first = draw(&input(3)?)?;
        assert_ne!(first, draw(&input(4)?)?);
        assert_ne!(first, draw(&Tensor::cat(&[input(3)?, input(4)?], 0)?)?);
        assert_eq!(first, draw(&input(3)?)?);
        Ok(())
    }
}
