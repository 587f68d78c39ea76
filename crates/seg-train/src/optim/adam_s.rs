//! Adam with stable weight decay.

use super::{Slot, bias_correction, moving_average, slots, total};
use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};
use candle_nn::Optimizer;

/// Settings of [`AdamS`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParamsAdamS {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the running average of gradients.
    pub beta1: f64,
    /// Decay of the running average of squared gradients.
    pub beta2: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// Weight decay, before it is divided by the gradients' size.
    pub weight_decay: f64,
}

impl Default for ParamsAdamS {
    fn default() -> Self {
        Self { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 1e-4 }
    }
}

/// Adam whose weight decay is divided by the root of the mean squared gradient, so that it stays in step with the updates
/// (Xie et al., "Stable Weight Decay Regularization", arXiv 2011.11152).
#[derive(Debug)]
pub struct AdamS {
    slots: Vec<Slot<Moments>>,
    params: ParamsAdamS,
}

#[derive(Debug)]
struct Moments {
    step: u32,
    first: Tensor,
    second: Tensor,
}

impl Optimizer for AdamS {
    type Config = ParamsAdamS;

    fn new(vars: Vec<Var>, params: ParamsAdamS) -> Result<Self> {
        let state = |x: &Tensor| Ok(Moments { step: 0, first: x.zeros_like()?, second: x.zeros_like()? });
        Ok(Self { slots: slots(vars, state)?, params })
    }

    fn step(&mut self, grads: &GradStore) -> Result<()> {
        let ParamsAdamS { lr, beta1, beta2, eps, weight_decay } = self.params;
        let mut reached = Vec::new();
        let (mut sum, mut count) = (0., 0);
        for Slot { var, state } in &mut self.slots {
            let Some(grad) = grads.get(var) else { continue };
            state.step += 1;
            state.first = moving_average(&state.first, grad, beta1)?;
            state.second = moving_average(&state.second, &grad.sqr()?, beta2)?;
            sum += total(&state.second)? / bias_correction(beta2, state.step);
            count += grad.elem_count();
            reached.push((var, state));
        }
        let size = (sum / count.max(1) as f64).sqrt();
        for (var, state) in reached {
            // without any gradient there is no update for the decay to keep in step with
            if weight_decay != 0. && size > 0. {
                var.set(&(var.as_tensor() * (1. - weight_decay * lr / size))?)?;
            }
            let denominator = ((&state.second / bias_correction(beta2, state.step))?.sqrt()? + eps)?;
            let update = (&state.first / denominator)?;
            var.set(&(var.as_tensor() - (update * (lr / bias_correction(beta1, state.step)))?)?)?;
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
