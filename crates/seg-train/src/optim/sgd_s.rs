//! Gradient descent with momentum and stable weight decay.

use super::{Slot, slots};
use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};
use candle_nn::Optimizer;

/// Settings of [`SgdS`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParamsSgdS {
    /// Learning rate.
    pub lr: f64,
    /// How much of the last direction stays; below 1.
    pub momentum: f64,
    /// How little of a new gradient enters the direction.
    pub dampening: f64,
    /// Weight decay, before it is multiplied by what momentum makes of the learning rate.
    pub weight_decay: f64,
    /// Looks a step ahead along the direction.
    pub nesterov: bool,
}

impl Default for ParamsSgdS {
    fn default() -> Self {
        Self { lr: 0.1, momentum: 0., dampening: 0., weight_decay: 0., nesterov: false }
    }
}

/// SGD with momentum whose weight decay is scaled by `(1 − dampening) / (1 − momentum)`, as the updates are in the long run
/// (Xie et al., "Stable Weight Decay Regularization", arXiv 2011.11152).
#[derive(Debug)]
pub struct SgdS {
    slots: Vec<Slot<Option<Tensor>>>,
    params: ParamsSgdS,
}

impl Optimizer for SgdS {
    type Config = ParamsSgdS;

    fn new(vars: Vec<Var>, params: ParamsSgdS) -> Result<Self> {
        if !(0. ..1.).contains(&params.momentum) {
            candle_core::bail!("SgdS: momentum is {}, expected 0 or more and below 1", params.momentum);
        }
        Ok(Self { slots: slots(vars, |_| Ok(None))?, params })
    }

    fn step(&mut self, grads: &GradStore) -> Result<()> {
        let ParamsSgdS { lr, momentum, dampening, weight_decay, nesterov } = self.params;
        for Slot { var, state } in &mut self.slots {
            let Some(grad) = grads.get(var) else { continue };
            let decay = lr * weight_decay * (1. - dampening) / (1. - momentum);
            let mut direction = grad.clone();
            if momentum != 0. {
                let kept = match state.take() {
                    None => grad.clone(),
                    Some(kept) => ((kept * momentum)? + (grad * (1. - dampening))?)?,
                };
                direction = if nesterov { (grad + (&kept * momentum)?)? } else { kept.clone() };
                *state = Some(kept);
            }
            var.set(&((var.as_tensor() * (1. - decay))? - (direction * lr)?)?)?;
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
