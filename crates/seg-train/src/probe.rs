//! The proof, before the first step, that gradients reach what is to be trained and nothing else.

use crate::{Result, TrainError};
use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use seg_checkpoints::{TrainingWeights, fits};
use seg_data::training::{Dice, Place};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a recipe says about gradients that the paper itself lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Exceptions {
    /// Patterns of weights that are declared as trained, and that no gradient reaches in the published training either.
    pub without_gradient: Vec<String>,
    /// Patterns of frozen weights for which a gradient is computed all the same (it costs time; nothing moves them).
    pub frozen_with_gradient: Vec<String>,
}

/// What the probe has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Trained weights with a gradient.
    pub reached: usize,
    /// Trained weights without one, as the recipe says.
    pub excepted: usize,
    /// Frozen weights without one.
    pub still: usize,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reached, excepted, still } = self;
        write!(f, "gradients reach {reached} weights")?;
        if *excepted > 0 {
            write!(f, "; {excepted} more get none, as the recipe says (`probe.without_gradient`)")?;
        }
        write!(f, "; {still} stay as they are")
    }
}

/// Computes one gradient, by `loss`, and looks at it: every trained weight must have a finite one that is not zero everywhere, and no frozen one any.
///
/// The weights are moved a little for it and put back to the same bits: a layer that begins at zero hides what lies before it.
///
/// # Errors
/// [`TrainError::Probe`] with the names that fail; errors of `loss`. The weights are put back then, too.
pub fn probe(
    weights: &TrainingWeights,
    exceptions: &Exceptions,
    loss: impl FnOnce() -> Result<Tensor>,
) -> Result<Proof> {
    let trained: Vec<(String, Var)> = weights.grouped().into_iter().flat_map(|(_, vars)| vars).collect();
    let all = |pattern: &&String| !trained.is_empty() && trained.iter().all(|(name, _)| fits(pattern, name));
    if let Some(pattern) = exceptions.without_gradient.iter().find(all) {
        let problem = format!(
            "without_gradient has {pattern:?}, which excuses every weight: expected the names of those that the paper leaves without a gradient"
        );
        return Err(TrainError::Recipe { recipe: "[probe]".into(), problem });
    }
    let moved: Vec<(Var, Tensor)> = trained
        .iter()
        .map(|(_, var)| var)
        .chain(weights.statistics().iter().map(|(_, var)| var))
        .map(|var| Ok((var.clone(), var.as_tensor().copy()?)))
        .collect::<Result<_>>()?;
    for (name, var) in &trained {
        nudge(name, var)?;
    }
    let grads = loss().and_then(|loss| Ok(loss.backward()?));
    for (var, before) in &moved {
        var.set(before)?;
    }
    look(weights, &trained, exceptions, &grads?)
}

fn look(
    weights: &TrainingWeights,
    trained: &[(String, Var)],
    exceptions: &Exceptions,
    grads: &GradStore,
) -> Result<Proof> {
    let listed = |patterns: &[String], name: &str| patterns.iter().any(|pattern| fits(pattern, name));
    let mut proof = Proof::default();
    let mut problems = Vec::new();
    for (name, var) in trained {
        let found = match grads.get(var) {
            None => Some("no gradient"),
            Some(grad) => {
                // a sum of squares is no number, or infinite, where one of the numbers is
                let squares = grad.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?;
                match squares {
                    0. => Some("a gradient of zeros"),
                    squares if !squares.is_finite() => Some("a gradient that is not finite"),
                    _ => None,
                }
            }
        };
        match found {
            None => proof.reached += 1,
            Some("no gradient" | "a gradient of zeros") if listed(&exceptions.without_gradient, name) => {
                proof.excepted += 1;
            }
            Some(problem) => problems.push(format!("{name} has {problem}")),
        }
    }
    for (name, tensor) in weights.frozen() {
        match grads.get(&tensor) {
            Some(_) if !listed(&exceptions.frozen_with_gradient, &name) => {
                problems.push(format!("{name} is frozen and has a gradient"));
            }
            _ => proof.still += 1,
        }
    }
    match trained.is_empty() || !problems.is_empty() {
        true => Err(TrainError::Probe { trained: trained.len(), problems }),
        false => Ok(proof),
    }
}

/// Moves a weight by a thousandth of its size, or of 0.1 where it is zero, each number in its own direction.
fn nudge(name: &str, var: &Var) -> Result<()> {
    let mut dice = Dice::new(Place { seed: 0, epoch: 0, index: 0 }, name);
    let size = (var.sqr()?.mean_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?).sqrt();
    let by = 1e-3 * if size > 0. { size } else { 0.1 };
    let noise: Vec<f64> = (0..var.elem_count()).map(|_| dice.between(-by, by)).collect();
    let noise = Tensor::from_vec(noise, var.shape(), var.device())?.to_dtype(var.dtype())?;
    Ok(var.set(&(var.as_tensor() + noise)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use candle_nn::VarBuilder;
    use seg_checkpoints::{ParameterGroup, ParameterRules, Treatment};

    fn weights() -> TrainingWeights {
        let trained = Treatment::Trained(ParameterGroup::new("all", 1., 0.));
        let rules = ParameterRules::new([("head.*", trained)]);
        TrainingWeights::new(VarBuilder::zeros(DType::F32, &Device::Cpu), rules)
    }

    fn problem(exceptions: &Exceptions, loss: impl FnOnce([Tensor; 3]) -> candle_core::Result<Tensor>) -> String {
        let weights = weights();
        let vb = weights.var_builder(DType::F32, &Device::Cpu);
        let all = ["head.up", "head.down", "trunk.w"].map(|name| vb.get(3, name).expect("a weight"));
        let before = weights.state();
        let outcome = probe(&weights, exceptions, || Ok(loss(all)?));
        for (name, tensor) in weights.state() {
            let values = |t: &Tensor| t.to_vec1::<f32>().expect("numbers");
            assert_eq!(values(&tensor), values(&before[&name]), "{name} was not put back");
        }
        outcome.map_or_else(|error| error.to_string(), |proof| format!("{proof:?}"))
    }

    #[test]
    fn zeros_at_the_beginning_hide_nothing() {
        let message = problem(&Exceptions::default(), |[up, down, _]| (up * down)?.sum_all());
        assert_eq!(message, "Proof { reached: 2, excepted: 0, still: 1 }");
    }

    #[test]
    fn what_fails_is_named() {
        let none = Exceptions::default();
        let message = problem(&none, |[up, _, _]| up.sum_all());
        assert!(message.contains("head.down has no gradient") && !message.contains("head.up"), "{message}");
        let message = problem(&none, |[up, down, _]| {
            let zeros = down.zeros_like()?.detach();
            (up + (down * zeros)?)?.sum_all()
        });
        assert!(message.contains("head.down has a gradient of zeros"), "{message}");
        let message = problem(&none, |[up, down, _]| (up + (down * f64::MAX)?)?.sum_all());
        assert!(message.contains("head.down has a gradient that is not finite"), "{message}");
        let message = problem(&none, |[up, down, trunk]| ((up + down)? + trunk)?.sum_all());
        assert!(message.contains("trunk.w is frozen and has a gradient"), "{message}");
    }

    #[test]
    fn a_recipe_may_except() {
        let exceptions =
            Exceptions { without_gradient: vec!["*.down".into()], frozen_with_gradient: vec!["trunk.*".into()] };
        let message = problem(&exceptions, |[up, _, trunk]| (up + trunk)?.sum_all());
        assert_eq!(message, "Proof { reached: 1, excepted: 1, still: 1 }");
        let everything = Exceptions { without_gradient: vec!["*".into()], ..Exceptions::default() };
        assert!(problem(&everything, |[up, _, _]| up.sum_all()).contains("excuses every weight"));
    }
}
