//! Gradients of one step: sums over the passes that make it up.

use crate::Result;
use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, TensorId, Var};
use std::collections::HashMap;

/// The gradients of variables, summed over passes.
#[derive(Debug, Default)]
pub struct Gradients(HashMap<TensorId, Tensor>);

impl Gradients {
    /// What one backward pass found for `vars`.
    ///
    /// # Errors
    /// Candle's.
    pub fn of<'v>(pass: &GradStore, vars: impl IntoIterator<Item = &'v Var>) -> Result<Self> {
        let mut gradients = Self::default();
        gradients.add(pass, vars)?;
        Ok(gradients)
    }

    /// Adds what a backward pass found for `vars`; the rest of it is not looked at.
    ///
    /// # Errors
    /// Candle's.
    pub fn add<'v>(&mut self, pass: &GradStore, vars: impl IntoIterator<Item = &'v Var>) -> Result<()> {
        for var in vars {
            let Some(grad) = pass.get(var) else { continue };
            let sum = match self.0.get(&var.id()) {
                Some(sum) => (sum + grad)?,
                None => grad.clone(),
            };
            self.0.insert(var.id(), sum);
        }
        Ok(())
    }

    /// The gradient of a variable; `None` where no pass has reached it.
    pub fn get(&self, var: &Var) -> Option<&Tensor> {
        self.0.get(&var.id())
    }

    /// The norm of the gradients of `vars`, all of them seen as one vector. Infinite or no number where one of theirs is.
    ///
    /// # Errors
    /// Candle's.
    pub fn norm<'v>(&self, vars: impl IntoIterator<Item = &'v Var>) -> Result<f64> {
        let mut squares = 0.;
        for grad in vars.into_iter().filter_map(|var| self.get(var)) {
            squares += grad.sqr()?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        }
        Ok(squares.sqrt())
    }

    /// Puts `gradient` in place of that of a variable: what an all-reduce does.
    pub fn set(&mut self, var: &Var, gradient: Tensor) {
        self.0.insert(var.id(), gradient);
    }
}

/// The factor that brings gradients of norm `norm` down to `max_norm`, 1 where they are not above it (torch's `clip_grad_norm_`).
pub fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    /// torch's, so that a norm of zero has a quotient.
    const SMALLEST: f64 = 1e-6;
    (max_norm / (norm + SMALLEST)).min(1.)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn passes_add_up() -> Result<()> {
        let vars = [Var::new(&[1f64, 2.], &Device::Cpu)?, Var::new(0f64, &Device::Cpu)?];
        let mut gradients = Gradients::default();
        for factor in [3., 1.] {
            gradients.add(&(vars[0].as_tensor() * factor)?.sum_all()?.backward()?, &vars)?;
        }
        assert_eq!(gradients.get(&vars[0]).map(|g| g.to_vec1::<f64>()).transpose()?, Some(vec![4., 4.]));
        assert!(gradients.get(&vars[1]).is_none());
        assert!((gradients.norm(&vars)? - 32f64.sqrt()).abs() < 1e-12);
        assert!((clip_factor(10., 1.) - 0.1).abs() < 1e-7 && clip_factor(0.5, 1.) == 1.);
        gradients.set(&vars[1], Tensor::new(2f64, &Device::Cpu)?);
        assert!((gradients.norm(&vars)? - 6.).abs() < 1e-12);
        Ok(())
    }
}
