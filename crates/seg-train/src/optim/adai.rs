//! Adaptive inertia.

use super::{Slot, bias_correction, moving_average, slots, total};
use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};
use candle_nn::Optimizer;

/// How [`Adai`] makes weights smaller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WeightDecay {
    /// Added to the gradient (`Adai`).
    L2(f64),
    /// Taken off the weight, whatever the gradient (`AdaiS`).
    Decoupled(f64),
}

/// Settings of [`Adai`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParamsAdai {
    /// Learning rate; around 1, far higher than Adam's.
    pub lr: f64,
    /// How much inertia an element loses whose gradients vary as much as the average.
    pub beta0: f64,
    /// Decay of the running average of squared gradients.
    pub beta2: f64,
    /// Inertia stays below 1 by this much.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: WeightDecay,
}

impl Default for ParamsAdai {
    fn default() -> Self {
        Self { lr: 1., beta0: 0.1, beta2: 0.99, eps: 1e-3, weight_decay: WeightDecay::L2(0.) }
    }
}

/// Momentum whose inertia adapts to each element's gradients (Xie et al., "Adaptive Inertia", arXiv 2006.15815).
#[derive(Debug)]
pub struct Adai {
    slots: Vec<Slot<Inertia>>,
    params: ParamsAdai,
}

#[derive(Debug)]
struct Inertia {
    step: u32,
    average: Tensor,
    squares: Tensor,
    beta1_product: Tensor,
}

impl Optimizer for Adai {
    type Config = ParamsAdai;

    fn new(vars: Vec<Var>, params: ParamsAdai) -> Result<Self> {
        let state = |x: &Tensor| {
            Ok(Inertia { step: 0, average: x.zeros_like()?, squares: x.zeros_like()?, beta1_product: x.ones_like()? })
        };
        Ok(Self { slots: slots(vars, state)?, params })
    }

    fn step(&mut self, grads: &GradStore) -> Result<()> {
        let ParamsAdai { lr, beta0, beta2, eps, weight_decay } = self.params;
        let mut reached = Vec::new();
        let (mut sum, mut count) = (0., 0);
        for Slot { var, state } in &mut self.slots {
            let Some(grad) = grads.get(var) else { continue };
            let grad = match weight_decay {
                WeightDecay::L2(decay) if decay != 0. => (grad + (var.as_tensor() * decay)?)?,
                _ => grad.clone(),
            };
            state.step += 1;
            state.squares = moving_average(&state.squares, &grad.sqr()?, beta2)?;
            sum += total(&state.squares)? / bias_correction(beta2, state.step);
            count += grad.elem_count();
            reached.push((var, state, grad));
        }
        let mean = sum / count.max(1) as f64;
        for (var, state, grad) in reached {
            if let WeightDecay::Decoupled(decay) = weight_decay {
                var.set(&(var.as_tensor() * (1. - lr * decay))?)?;
            }
            let squares = (&state.squares / bias_correction(beta2, state.step))?;
            let beta1 = (squares / mean)?.affine(-beta0, 1.)?.clamp(0., 1. - eps)?;
            state.beta1_product = (&state.beta1_product * &beta1)?;
            state.average = ((&state.average * &beta1)? + beta1.affine(-1., 1.)?.mul(&grad)?)?;
            let average = (&state.average / state.beta1_product.affine(-1., 1.)?)?;
            var.set(&(var.as_tensor() - (average * lr)?)?)?;
        }
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        self.params.lr
    }

    fn set_learning_rate(&mut self, lr: f64) {
        self.params.lr = lr;
    }
}
