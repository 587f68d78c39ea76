//! Running means of weights.

use crate::{Result, TrainError};
use candle_core::{Tensor, Var};
use std::collections::BTreeMap;

/// Exponential moving averages of the trained weights, in their own type.
#[derive(Debug)]
pub struct Ema {
    decay: f64,
    means: BTreeMap<String, (Var, Tensor)>,
}

/// Beginning of the names under which the averages are saved.
const PREFIX: &str = "ema.";

impl Ema {
    /// Averages that begin at the weights as they are; `decay` is what is kept at each step, in 0..1.
    ///
    /// # Errors
    /// A decay out of its range.
    pub fn new(decay: f64, vars: impl IntoIterator<Item = (String, Var)>) -> Result<Self> {
        if !(0. ..1.).contains(&decay) {
            return Err(TrainError::Setting { name: "ema", got: decay, expected: "at least 0 and below 1" });
        }
        let mean = |(name, var): (String, Var)| {
            let mean = var.as_tensor().copy()?;
            Ok((name, (var, mean)))
        };
        Ok(Self { decay, means: vars.into_iter().map(mean).collect::<Result<_>>()? })
    }

    /// After step number `step`, from 1: early averages forget faster (timm's and torch's usual warm-up, `(1 + step) / (10 + step)`).
    ///
    /// # Errors
    /// Candle's.
    pub fn follow(&mut self, step: u64) -> Result<()> {
        let decay = self.decay.min((1. + step as f64) / (10. + step as f64));
        for (var, mean) in self.means.values_mut() {
            *mean = ((&*mean * decay)? + (var.as_detached_tensor() * (1. - decay))?)?;
        }
        Ok(())
    }

    /// The averages by the weights' names.
    pub fn weights(&self) -> BTreeMap<String, Tensor> {
        self.means.iter().map(|(name, (_, mean))| (name.clone(), mean.clone())).collect()
    }

    /// What is saved.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        self.means.iter().map(|(name, (_, mean))| (format!("{PREFIX}{name}"), mean.clone())).collect()
    }

    /// Goes on from what was saved.
    ///
    /// # Errors
    /// A weight that is missing there, or has another shape; nothing is changed then.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let mut loaded = Vec::with_capacity(self.means.len());
        for (name, (_, mean)) in &self.means {
            let name = format!("{PREFIX}{name}");
            let Some(tensor) = state.get(&name) else {
                return Err(TrainError::State { name, problem: "is missing".into() });
            };
            if tensor.shape() != mean.shape() {
                let problem = format!("has shape {:?}, expected {:?}", tensor.dims(), mean.dims());
                return Err(TrainError::State { name, problem });
            }
            loaded.push(tensor.to_dtype(mean.dtype())?.to_device(mean.device())?);
        }
        self.means.values_mut().zip(loaded).for_each(|((_, mean), loaded)| *mean = loaded);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn averages_lag_behind_and_go_on() -> Result<()> {
        let var = Var::new(&[0f64], &Device::Cpu)?;
        let mut ema = Ema::new(0.5, [("w".to_owned(), var.clone())])?;
        let value = |ema: &Ema| -> Result<f64> { Ok(ema.weights()["w"].to_vec1::<f64>()?[0]) };
        var.set(&Tensor::new(&[1f64], &Device::Cpu)?)?;
        ema.follow(1)?; // keeps 2/11
        assert!((value(&ema)? - 9. / 11.).abs() < 1e-12);
        let mut other = Ema::new(0.5, [("w".to_owned(), var.clone())])?;
        other.load_state(&ema.state())?;
        ema.follow(100)?;
        other.follow(100)?;
        assert_eq!(value(&ema)?, value(&other)?);
        assert!((value(&ema)? - (0.5 * 9. / 11. + 0.5)).abs() < 1e-12);
        assert!(other.load_state(&BTreeMap::new()).unwrap_err().to_string().contains("ema.w"));
        assert!(Ema::new(1., []).is_err());
        Ok(())
    }
}
