//! Adam and AdamW whose state can be read, written and gone on with.

use super::Gradients;
use crate::{Result, TrainError};
use candle_core::{DType, Device, Tensor, Var};
use seg_checkpoints::GroupedVariables;
use seg_ops::AdamStep;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Settings of [`Adam`]; those that are not written are torch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamParams {
    /// Decays of the running means of the gradient and of its square, each in 0..1.
    pub betas: [f64; 2],
    /// Added to the root of the mean square, above 0.
    pub eps: f64,
    /// Whether weights decay by themselves (AdamW), or decay is added to the gradient (Adam's L2 penalty).
    pub decoupled: bool,
}

impl Default for AdamParams {
    fn default() -> Self {
        Self { betas: [0.9, 0.999], eps: 1e-8, decoupled: true }
    }
}

impl AdamParams {
    /// # Errors
    /// Settings out of their range.
    pub fn check(&self) -> Result<()> {
        for (name, beta) in [("betas[0]", self.betas[0]), ("betas[1]", self.betas[1])] {
            if !(0. ..1.).contains(&beta) {
                return Err(TrainError::Setting { name, got: beta, expected: "at least 0 and below 1" });
            }
        }
        if self.eps.is_nan() || self.eps <= 0. {
            return Err(TrainError::Setting { name: "eps", got: self.eps, expected: "above 0" });
        }
        Ok(())
    }
}

/// Adam or AdamW over groups of weights, each with its factor on the learning rate and its own weight decay.
///
/// Each weight counts its own steps, as torch does: one that a backward pass does not reach is left alone, its state too.
#[derive(Debug)]
pub struct Adam {
    params: AdamParams,
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    name: String,
    var: Var,
    lr_factor: f64,
    weight_decay: f64,
    first: Tensor,
    second: Tensor,
    steps: u64,
}

/// Beginnings of the names under which [`Adam::state`] gives the running means: of the gradient, and of its square.
const MOMENTS: [&str; 2] = ["adam.first.", "adam.second."];
/// Beginning of the names of the counts of steps.
const STEPS: &str = "adam.steps.";

impl Adam {
    /// For `groups`, as [`seg_checkpoints::TrainingWeights::grouped`] gives them.
    ///
    /// # Errors
    /// Settings out of their range.
    pub fn new(groups: Vec<GroupedVariables>, params: AdamParams) -> Result<Self> {
        params.check()?;
        let mut slots = Vec::new();
        for (group, vars) in groups {
            for (name, var) in vars {
                let (first, second) = (var.zeros_like()?, var.zeros_like()?);
                let (lr_factor, weight_decay) = (group.lr_factor, group.weight_decay);
                slots.push(Slot { name, var, lr_factor, weight_decay, first, second, steps: 0 });
            }
        }
        Ok(Self { params, slots })
    }

    /// One step at the learning rate `lr` (before the groups' factors); gradients count `grad_scale` times.
    ///
    /// # Errors
    /// Gradients of another shape or type than their weights.
    pub fn step(&mut self, gradients: &Gradients, lr: f64, grad_scale: f64) -> Result<()> {
        let AdamParams { betas: [beta1, beta2], eps, decoupled } = self.params;
        for slot in &mut self.slots {
            let Some(grad) = gradients.get(&slot.var) else { continue };
            let step = AdamStep {
                lr: lr * slot.lr_factor,
                beta1,
                beta2,
                eps,
                weight_decay: slot.weight_decay,
                decoupled,
                step: slot.steps + 1,
                grad_scale,
            };
            seg_ops::adam_step(slot.var.as_tensor(), grad, &slot.first, &slot.second, &step)?;
            slot.steps += 1;
        }
        Ok(())
    }

    /// The state by name, each tensor as it is now: what is saved. It shares no memory with the optimiser's.
    ///
    /// # Errors
    /// Candle's.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::new();
        for slot in &self.slots {
            for (beginning, moment) in MOMENTS.into_iter().zip([&slot.first, &slot.second]) {
                state.insert(format!("{beginning}{}", slot.name), moment.copy()?);
            }
            state.insert(format!("{STEPS}{}", slot.name), Tensor::new(slot.steps as i64, &Device::Cpu)?);
        }
        Ok(state)
    }

    /// Goes on from a state that [`Adam::state`] gave.
    ///
    /// # Errors
    /// A state in which a weight is missing, or has another shape; nothing is changed then.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let find = |beginning: &str, slot: &Slot| {
            let name = format!("{beginning}{}", slot.name);
            state.get(&name).ok_or(TrainError::State { name, problem: "is missing".into() })
        };
        let mut loaded = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let moment = |beginning: &str| -> Result<Tensor> {
                let tensor = find(beginning, slot)?;
                if tensor.shape() != slot.var.shape() {
                    let problem = format!("has shape {:?}, expected {:?}", tensor.dims(), slot.var.dims());
                    return Err(TrainError::State { name: format!("{beginning}{}", slot.name), problem });
                }
                // of its own memory: it will be written
                Ok(tensor.to_dtype(slot.var.dtype())?.to_device(slot.var.device())?.copy()?)
            };
            let steps = find(STEPS, slot)?.to_dtype(DType::I64)?.flatten_all()?.to_vec1::<i64>()?;
            let &[steps] = steps.as_slice() else {
                let problem = format!("is {steps:?}, expected one number");
                return Err(TrainError::State { name: format!("{STEPS}{}", slot.name), problem });
            };
            loaded.push((moment(MOMENTS[0])?, moment(MOMENTS[1])?, steps.max(0) as u64));
        }
        for (slot, (first, second, steps)) in self.slots.iter_mut().zip(loaded) {
            (slot.first, slot.second, slot.steps) = (first, second, steps);
        }
        Ok(())
    }

    /// Bytes that the state takes.
    pub fn state_bytes(&self) -> u64 {
        self.slots.iter().map(|slot| 2 * (slot.var.elem_count() * slot.var.dtype().size_in_bytes()) as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_nn::{AdamW, Optimizer, ParamsAdamW};
    use seg_checkpoints::ParameterGroup;

    fn groups(values: &[f64]) -> candle_core::Result<Vec<GroupedVariables>> {
        let var = |i: usize| Var::from_tensor(&(Tensor::new(values, &Device::Cpu)? * (i + 1) as f64)?);
        Ok(vec![
            (ParameterGroup::new("a", 1., 0.1), vec![("x".into(), var(0)?), ("y".into(), var(1)?)]),
            (ParameterGroup::new("b", 0.5, 0.), vec![("z".into(), var(2)?)]),
        ])
    }

    fn vars(groups: &[GroupedVariables]) -> Vec<Var> {
        groups.iter().flat_map(|(_, vars)| vars.iter().map(|(_, var)| var.clone())).collect()
    }

    fn gradients(vars: &[Var], step: usize) -> Result<Gradients> {
        let mut loss = Tensor::new(0f64, &Device::Cpu)?;
        for (i, var) in vars.iter().enumerate() {
            loss = (loss + ((var.sqr()? * (i + step) as f64)?.sin()?).sum_all()?)?;
        }
        let mut gradients = Gradients::default();
        gradients.add(&loss.backward()?, vars)?;
        Ok(gradients)
    }

    fn values(vars: &[Var]) -> candle_core::Result<Vec<Vec<f64>>> {
        vars.iter().map(|var| var.to_vec1()).collect()
    }

    #[test]
    fn it_is_candles() -> Result<()> {
        let (ours, theirs) = (groups(&[1., -2., 0.3])?, groups(&[1., -2., 0.3])?);
        let (ours_vars, their_vars) = (vars(&ours), vars(&theirs));
        let mut adam = Adam::new(ours, AdamParams::default())?;
        let mut candles: Vec<AdamW> = theirs
            .into_iter()
            .map(|(group, vars)| {
                let lr = 0.01 * group.lr_factor;
                let params = ParamsAdamW { lr, weight_decay: group.weight_decay, ..ParamsAdamW::default() };
                AdamW::new(vars.into_iter().map(|(_, var)| var).collect(), params)
            })
            .collect::<candle_core::Result<_>>()?;
        for step in 1..6 {
            adam.step(&gradients(&ours_vars, step)?, 0.01, 1.)?;
            let mut loss = Tensor::new(0f64, &Device::Cpu)?;
            for (i, var) in their_vars.iter().enumerate() {
                loss = (loss + ((var.sqr()? * (i + step) as f64)?.sin()?).sum_all()?)?;
            }
            let grads = loss.backward()?;
            candles.iter_mut().try_for_each(|candle| candle.step(&grads))?;
        }
        for (a, b) in values(&ours_vars)?.concat().iter().zip(values(&their_vars)?.concat()) {
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
        Ok(())
    }

    #[test]
    fn a_saved_state_goes_on_to_the_same_bits() -> Result<()> {
        let straight = groups(&[1., -2., 0.3])?;
        let straight_vars = vars(&straight);
        let mut adam = Adam::new(straight, AdamParams::default())?;
        for step in 0..3 {
            adam.step(&gradients(&straight_vars, step)?, 0.01, 1.)?;
        }
        let state = adam.state()?;
        let resumed = groups(&[0., 0., 0.])?;
        let resumed_vars = vars(&resumed);
        for (new, old) in resumed_vars.iter().zip(&straight_vars) {
            new.set(&old.as_tensor().copy()?)?;
        }
        let mut second = Adam::new(resumed, AdamParams::default())?;
        second.load_state(&state)?;
        for step in 3..6 {
            adam.step(&gradients(&straight_vars, step)?, 0.01, 1.)?;
            second.step(&gradients(&resumed_vars, step)?, 0.01, 1.)?;
        }
        assert_eq!(values(&straight_vars)?, values(&resumed_vars)?);

        let mut lacking = state.clone();
        lacking.remove("adam.second.y");
        let message = second.load_state(&lacking).unwrap_err().to_string();
        assert!(message.contains("adam.second.y") && message.contains("missing"), "{message}");
        let mut other = state;
        other.insert("adam.first.x".into(), Tensor::zeros(5, DType::F64, &Device::Cpu)?);
        assert!(second.load_state(&other).unwrap_err().to_string().contains("[5]"));
        Ok(())
    }

    #[test]
    fn a_weight_that_is_not_reached_is_left_alone() -> Result<()> {
        let groups = groups(&[1., -2., 0.3])?;
        let all = vars(&groups);
        let mut adam = Adam::new(groups, AdamParams::default())?;
        let before = values(&all)?;
        adam.step(&gradients(&all[..1], 1)?, 0.01, 1.)?;
        let after = values(&all)?;
        assert!(before[0] != after[0] && before[1..] == after[1..]);
        assert!(Adam::new(Vec::new(), AdamParams { betas: [1., 0.9], ..AdamParams::default() }).is_err());
        Ok(())
    }
}
