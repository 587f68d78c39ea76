//! Dropout, with random numbers of the caller.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Result, Shape, Tensor};
use seg_ops::Epilogue;

/// Where random numbers come from: a generator, or a list that somebody has stored.
pub trait Uniform {
    /// f32 numbers, evenly spread over 0 ≤ u < 1.
    fn uniform(&mut self, shape: &Shape, device: &Device) -> Result<Tensor>;
}

/// Dropout as torch has it in train mode: every number is left out with the same probability, the others are divided by what is left. Modules hold one, which
/// is [`Dropout::OFF`] unless a training says otherwise. Clones draw from the same source, in the order in which the modules compute.
#[derive(Clone, Default)]
pub struct Dropout(Option<Arc<Source>>);

struct Source {
    probability: f64,
    random: Mutex<Box<dyn Uniform + Send>>,
}

impl Dropout {
    /// None.
    pub const OFF: Self = Self(None);

    /// Leaves out with `probability`.
    ///
    /// # Errors
    /// A probability outside of 0 ≤ p < 1.
    pub fn new(probability: f64, random: impl Uniform + Send + 'static) -> Result<Self> {
        if !(0. ..1.).contains(&probability) {
            candle_core::bail!("dropout: a probability of {probability}, expected 0 or more and less than 1");
        }
        if probability == 0. {
            return Ok(Self::OFF);
        }
        Ok(Self(Some(Arc::new(Source { probability, random: Mutex::new(Box::new(random)) }))))
    }

    /// Whether anything is left out.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// `x` with numbers left out.
    pub fn forward(&self, x: Tensor) -> Result<Tensor> {
        let Some(source) = &self.0 else { return Ok(x) };
        let drawn = {
            let mut random = source.random.lock().unwrap_or_else(PoisonError::into_inner);
            random.uniform(x.shape(), x.device())?
        };
        let kept = drawn.ge(source.probability)?.to_dtype(x.dtype())?;
        x * (kept * (1. / (1. - source.probability)))?
    }

    /// `x` and what `branch` makes with numbers left out. `branch` is given the epilogue of its last layer, which adds `x` in the same pass where there is no
    /// dropout.
    pub fn residual(&self, x: &Tensor, branch: impl FnOnce(Epilogue<'_>) -> Result<Tensor>) -> Result<Tensor> {
        if self.is_on() { x + self.forward(branch(Epilogue::NONE)?)? } else { branch(Epilogue::NONE.with_residual(x)) }
    }
}

impl fmt::Debug for Dropout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(source) => write!(f, "Dropout({})", source.probability),
            None => f.write_str("Dropout::OFF"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;

    /// 0, 0.1, 0.2 … 0.9, over and over.
    struct Tenths;

    impl Uniform for Tenths {
        fn uniform(&mut self, shape: &Shape, device: &Device) -> Result<Tensor> {
            let values: Vec<f32> = (0..shape.elem_count()).map(|i| (i % 10) as f32 / 10.).collect();
            Tensor::from_vec(values, shape, device)
        }
    }

    #[test]
    fn what_is_left_out_and_what_is_left() -> Result<()> {
        let x = Var::ones((2, 5), candle_core::DType::F64, &Device::Cpu)?;
        let dropout = Dropout::new(0.25, Tenths)?;
        let y = dropout.forward(x.as_tensor().clone())?;
        let left = 1. / 0.75;
        assert_eq!(y.to_vec2::<f64>()?, [[0., 0., 0., left, left], [left; 5]]);
        // gradients go the same way
        assert_eq!(y.sum_all()?.backward()?.get(&x).unwrap().to_vec2::<f64>()?, y.to_vec2::<f64>()?);
        let sum = dropout.residual(&x, |epilogue| {
            assert!(epilogue.residual.is_none());
            x.affine(2., 0.)
        })?;
        assert_eq!(sum.to_vec2::<f64>()?[0], [1., 1., 1., 1. + 2. * left, 1. + 2. * left]);
        Ok(())
    }

    #[test]
    fn off() -> Result<()> {
        let x = Tensor::ones(3, candle_core::DType::F32, &Device::Cpu)?;
        assert!(!Dropout::new(0., Tenths)?.is_on());
        assert_eq!(Dropout::OFF.forward(x.clone())?.id(), x.id());
        assert!(Dropout::new(1., Tenths).is_err() && Dropout::new(f64::NAN, Tenths).is_err());
        Ok(())
    }
}
