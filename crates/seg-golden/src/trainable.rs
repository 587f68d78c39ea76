//! Weights that can be trained, and the proof that training reaches them.

use crate::backend::GeneratedWeights;
use crate::fill::uniform;
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::Init;
use candle_nn::var_builder::{SimpleBackend, VarBuilder};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Parts of the names of batch norms' running statistics.
const STATISTICS: [&str; 2] = ["running_mean", "running_var"];

/// [`GeneratedWeights`] as variables, but for the frozen ones: to prove that every trainable path of a model gets the
/// right gradient, and no frozen one any.
#[derive(Debug, Clone)]
pub struct TrainableWeights {
    weights: GeneratedWeights,
    frozen: Vec<String>,
    /// Beginnings of the names that are trained; `None`: all.
    trained: Option<Vec<String>>,
    made: Arc<Mutex<Made>>,
}

#[derive(Debug, Default)]
struct Made {
    vars: BTreeMap<String, Var>,
    frozen: BTreeMap<String, Tensor>,
}

impl TrainableWeights {
    /// Every weight is trainable, but batch norms' running statistics, which no gradient changes.
    pub fn new(weights: GeneratedWeights) -> Self {
        let frozen = STATISTICS.map(String::from).to_vec();
        Self { weights, frozen, trained: None, made: Arc::default() }
    }

    /// Weights whose name contains `part` are frozen.
    pub fn freeze(mut self, part: impl Into<String>) -> Self {
        self.frozen.push(part.into());
        self
    }

    /// Weights whose name begins with none of `parts` are frozen.
    pub fn train_only<'a>(mut self, parts: impl IntoIterator<Item = &'a str>) -> Self {
        self.trained = Some(parts.into_iter().map(String::from).collect());
        self
    }

    /// Makes variables of batch norms' running statistics, though no gradient reaches them: to see what training makes of them.
    pub fn watch_statistics(mut self) -> Self {
        self.frozen.retain(|part| !STATISTICS.contains(&part.as_str()));
        self
    }

    /// The trainable variables that a model has asked for, with their names in order; no statistics.
    pub fn variables(&self) -> Vec<(String, Var)> {
        let is_statistic = |name: &str| STATISTICS.iter().any(|part| name.contains(part));
        self.lock().vars.iter().filter(|(n, _)| !is_statistic(n)).map(|(n, v)| (n.clone(), v.clone())).collect()
    }

    /// A running statistic as it is now, where [`Self::watch_statistics`] was asked for.
    pub fn statistic(&self, name: &str) -> Option<Tensor> {
        self.lock().vars.get(name).map(Var::as_detached_tensor)
    }

    /// A builder at the root of the state dict.
    pub fn var_builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), dtype, device.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is wrong with the gradients after a backward pass: variables without one, with one that is not finite or
    /// all zero (unless its name contains one of `zero_expected`), and frozen tensors with one. Empty when all is well.
    pub fn faults(&self, grads: &GradStore, zero_expected: &[&str]) -> candle_core::Result<Vec<String>> {
        let made = self.lock();
        let mut faults = Vec::new();
        for (name, var) in &made.vars {
            match grads.get(var) {
                None => faults.push(format!("{name}: no gradient")),
                Some(grad) => {
                    let size = grad.abs()?.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?;
                    if !size.is_finite() {
                        faults.push(format!("{name}: a gradient that is not finite"));
                    } else if size == 0.0 && !zero_expected.iter().any(|part| name.contains(part)) {
                        faults.push(format!("{name}: a gradient of zeros"));
                    }
                }
            }
        }
        let leaks = made.frozen.iter().filter(|(_, tensor)| grads.get(tensor).is_some());
        faults.extend(leaks.map(|(name, _)| format!("{name}: frozen, but it has a gradient")));
        Ok(faults)
    }

    /// Compares the gradient of every variable with a central difference of `loss` along a fixed random direction of
    /// that variable; use it in float64. Returns what differs by more than `tolerance` times the larger of the two (and
    /// 1e-7 of the largest derivative met, below which differences drown in rounding).
    pub fn check_directions(
        &self,
        loss: impl Fn() -> candle_core::Result<Tensor>,
        tolerance: f64,
    ) -> candle_core::Result<Vec<String>> {
        // small, so that no ReLU or maximum changes its mind on the way
        const STEP: f64 = 1e-7;
        let grads = loss()?.backward()?;
        let vars: Vec<(String, Var)> = self.lock().vars.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
        let mut pairs = Vec::with_capacity(vars.len());
        for (name, var) in &vars {
            let Some(grad) = grads.get(var) else {
                pairs.push((name, f64::NAN, 0.0));
                continue;
            };
            let noise: Vec<f64> =
                uniform(&format!("direction.{name}"), var.elem_count()).iter().map(|u| 2.0 * u - 1.0).collect();
            let direction = Tensor::from_vec(noise, var.shape(), var.device())?.to_dtype(var.dtype())?;
            let analytic = (grad * &direction)?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
            let start = var.as_tensor().copy()?;
            let at = |step: f64| -> candle_core::Result<f64> {
                var.set(&(&start + (&direction * step)?)?)?;
                loss()?.to_dtype(DType::F64)?.to_scalar::<f64>()
            };
            let numeric = (at(STEP)? - at(-STEP)?) / (2.0 * STEP);
            var.set(&start)?;
            pairs.push((name, analytic, numeric));
        }
        let largest = pairs.iter().map(|(_, a, n)| a.abs().max(n.abs())).fold(0.0, f64::max);
        let wrong = |a: f64, n: f64| {
            let difference = (a - n).abs();
            difference.is_nan() || difference > tolerance * a.abs().max(n.abs()) + 1e-7 * largest
        };
        Ok(pairs
            .into_iter()
            .filter(|&(_, a, n)| wrong(a, n))
            .map(|(name, a, n)| format!("{name}: gradient {a:e}, difference quotient {n:e}"))
            .collect())
    }
}

impl SimpleBackend for TrainableWeights {
    fn get(&self, s: Shape, name: &str, init: Init, dtype: DType, dev: &Device) -> candle_core::Result<Tensor> {
        let tensor = self.weights.get(s, name, init, dtype, dev)?;
        self.keep(name, tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, dev: &Device) -> candle_core::Result<Tensor> {
        let tensor = self.weights.get_unchecked(name, dtype, dev)?;
        self.keep(name, tensor)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.weights.contains_tensor(name)
    }
}

impl TrainableWeights {
    fn keep(&self, name: &str, tensor: Tensor) -> candle_core::Result<Tensor> {
        let mut made = self.lock();
        let trained =
            self.trained.as_ref().is_none_or(|parts| parts.iter().any(|part| name.starts_with(part.as_str())));
        if !trained || self.frozen.iter().any(|part| name.contains(part.as_str())) {
            made.frozen.insert(name.to_owned(), tensor.clone());
            return Ok(tensor);
        }
        let var = Var::from_tensor(&tensor)?;
        let tensor = var.as_tensor().clone();
        made.vars.insert(name.to_owned(), var);
        Ok(tensor)
    }
}
