//! Weights as training needs them: variables where they move, plain tensors where they do not.

use crate::training::{ParameterGroup, ParameterRules, Treatment};
use candle_core::{DType, Device, Result, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A group and its variables with their names.
pub type GroupedVariables = (ParameterGroup, Vec<(String, Var)>);

/// A source of weights in which [`ParameterRules`] decide what becomes a variable. Clones share the variables.
///
/// ```
/// use candle_core::{DType, Device};
/// use candle_nn::VarBuilder;
/// use seg_checkpoints::{ParameterGroup, ParameterRules, TrainingWeights, Treatment};
///
/// let rules = ParameterRules::new([("head.*", Treatment::Trained(ParameterGroup::new("head", 1.0, 0.0)))]);
/// let file = VarBuilder::zeros(DType::F32, &Device::Cpu); // or a checkpoint's
/// let weights = TrainingWeights::new(file, rules);
/// let vb = weights.var_builder(DType::F32, &Device::Cpu);
/// assert!(vb.get(2, "head.weight")?.is_variable() && !vb.get(2, "encoder.weight")?.is_variable());
/// assert_eq!(weights.grouped()[0].1.len(), 1);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone)]
pub struct TrainingWeights {
    source: VarBuilder<'static>,
    rules: ParameterRules,
    made: Arc<Mutex<Made>>,
}

#[derive(Default)]
struct Made {
    trained: BTreeMap<String, Var>,
    statistics: BTreeMap<String, Var>,
    frozen: BTreeMap<String, Tensor>,
}

impl TrainingWeights {
    /// Weights from `source`, a builder at the root of a state dict.
    pub fn new(source: VarBuilder<'static>, rules: ParameterRules) -> Self {
        Self { source, rules, made: Arc::default() }
    }

    /// A builder at the root of the state dict. A name that is asked for twice gives the same variable.
    pub fn var_builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), dtype, device.clone())
    }

    /// What models have asked for, by the groups of the rules; each group's names in order.
    pub fn grouped(&self) -> Vec<GroupedVariables> {
        let made = self.lock();
        let of = |group: &ParameterGroup| {
            let in_group = |name: &str| matches!(self.rules.treatment(name), Treatment::Trained(g) if g == group);
            made.trained.iter().filter(|(name, _)| in_group(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
        };
        self.rules.groups().into_iter().map(|group| (group.clone(), of(group))).collect()
    }

    /// The statistics that models have asked for, with their names in order.
    pub fn statistics(&self) -> Vec<(String, Var)> {
        self.lock().statistics.iter().map(|(name, var)| (name.clone(), var.clone())).collect()
    }

    /// The weights that stay as they are, with their names in order.
    pub fn frozen(&self) -> Vec<(String, Tensor)> {
        self.lock().frozen.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect()
    }

    /// The whole state dict as it is now: what is saved.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let made = self.lock();
        let moving = made.trained.iter().chain(&made.statistics).map(|(n, v)| (n.clone(), v.as_detached_tensor()));
        moving.chain(made.frozen.iter().map(|(n, t)| (n.clone(), t.clone()))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, name: &str, load: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
        let mut made = self.lock();
        let made = &mut *made;
        let moving = match self.rules.treatment(name) {
            Treatment::Trained(_) => &mut made.trained,
            Treatment::Statistic => &mut made.statistics,
            Treatment::Frozen => {
                let tensor = load()?.detach();
                made.frozen.insert(name.to_owned(), tensor.clone());
                return Ok(tensor);
            }
        };
        if let Some(var) = moving.get(name) {
            return Ok(var.as_tensor().clone());
        }
        let var = Var::from_tensor(&load()?)?;
        let tensor = var.as_tensor().clone();
        moving.insert(name.to_owned(), var);
        Ok(tensor)
    }
}

impl SimpleBackend for TrainingWeights {
    fn get(&self, shape: Shape, name: &str, hint: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let expected = shape.clone();
        let tensor =
            self.keep(name, || self.source.get_with_hints_dtype(shape, name, hint, dtype)?.to_device(device))?;
        if *tensor.shape() != expected {
            candle_core::bail!("{name}: asked for in shape {expected:?}, and before that in {:?}", tensor.shape());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        self.keep(name, || self.source.get_unchecked_dtype(name, dtype)?.to_device(device))
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.source.contains_tensor(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights() -> TrainingWeights {
        let group = |name, lr| Treatment::Trained(ParameterGroup::new(name, lr, 0.));
        let rules = ParameterRules::new([("a.*", group("first", 1.)), ("b.*", group("second", 0.1))]);
        TrainingWeights::new(VarBuilder::zeros(DType::F32, &Device::Cpu), rules)
    }

    #[test]
    fn groups_statistics_and_the_rest() -> Result<()> {
        let weights = weights();
        let vb = weights.var_builder(DType::F32, &Device::Cpu);
        for name in ["a.w", "b.w", "b.v", "b.bn.running_mean", "c.w"] {
            vb.get(3, name)?;
        }
        let names: Vec<Vec<String>> =
            weights.grouped().into_iter().map(|(_, vars)| vars.into_iter().map(|(n, _)| n).collect()).collect();
        assert_eq!(names, [vec!["a.w"], vec!["b.v", "b.w"]]);
        assert_eq!(weights.statistics()[0].0, "b.bn.running_mean");
        assert_eq!(weights.frozen()[0].0, "c.w");
        assert_eq!(weights.state().len(), 5);
        Ok(())
    }

    #[test]
    fn a_name_is_one_variable() -> Result<()> {
        let weights = weights();
        let vb = weights.var_builder(DType::F32, &Device::Cpu);
        let (first, second) = (vb.get(3, "a.w")?, vb.get(3, "a.w")?);
        assert_eq!(first.id(), second.id());
        let message = vb.get(2, "a.w").unwrap_err().to_string();
        assert!(message.contains("a.w") && message.contains("[2]") && message.contains("[3]"), "{message}");
        Ok(())
    }
}
