//! Weights for a [`VarBuilder`], made on request, with a record of what was asked for.

use crate::error::{Error, Result};
use crate::fill::fill;
use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::{SimpleBackend, VarBuilder};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A tensor of a state dict: its key and its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedShape {
    /// The key, such as `image_encoder.trunk.pos_embed`.
    pub name: String,
    /// The shape; empty for a single number.
    pub shape: Vec<usize>,
}

/// Which names were asked for, with the shape that was expected.
#[derive(Debug, Clone, Default)]
struct Requests(Arc<Mutex<BTreeMap<String, Vec<usize>>>>);

impl Requests {
    fn record(&self, name: &str, shape: &[usize]) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.insert(name.to_string(), shape.to_vec());
    }

    fn snapshot(&self) -> Vec<NamedShape> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.iter().map(|(name, shape)| NamedShape { name: name.clone(), shape: shape.clone() }).collect()
    }
}

/// The fill rule as a backend of a [`VarBuilder`]: each tensor is generated when the model asks for it.
///
/// Clones share their record of requests, so keep one to check the names after the model is built:
///
/// ```
/// use candle_core::{DType, Device};
/// use seg_golden::{GeneratedWeights, NamedShape};
///
/// let official = vec![NamedShape { name: "fc.weight".into(), shape: vec![4, 3] }];
/// let weights = GeneratedWeights::new("").official(official.clone());
/// let vb = weights.var_builder(DType::F32, &Device::Cpu);
/// vb.pp("fc").get((4, 3), "weight")?;
/// weights.check_names(&official, &[])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct GeneratedWeights {
    salt: String,
    prefix: String,
    scale: Vec<(String, f32)>,
    add: Vec<(String, f32)>,
    zeroed: Vec<String>,
    official: Arc<BTreeMap<String, Vec<usize>>>,
    requests: Requests,
}

impl GeneratedWeights {
    /// The fill rule under `salt`.
    pub fn new(salt: impl Into<String>) -> Self {
        Self { salt: salt.into(), ..Self::default() }
    }

    /// Put `prefix` before each requested name when filling: a part of a model, built alone, is filled under its place in
    /// the whole model. The record of requests keeps the names without it.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Multiply the tensors whose name contains `part` by `factor` after the fill. Several calls add up.
    #[must_use]
    pub fn scaled(mut self, part: impl Into<String>, factor: f32) -> Self {
        self.scale.push((part.into(), factor));
        self
    }

    /// Add `value` to every element of the tensor called `name` after the fill. Several calls add up.
    #[must_use]
    pub fn shifted(mut self, name: impl Into<String>, value: f32) -> Self {
        self.add.push((name.into(), value));
        self
    }

    /// Give zeros for the tensors whose name ends with `ending`. Several calls add up.
    #[must_use]
    pub fn zeroed(mut self, ending: impl Into<String>) -> Self {
        self.zeroed.push(ending.into());
        self
    }

    /// The official state dict: `contains_tensor` answers from it, and tensors of open shape take theirs from it.
    #[must_use]
    pub fn official(mut self, list: Vec<NamedShape>) -> Self {
        self.official = Arc::new(list.into_iter().map(|n| (n.name, n.shape)).collect());
        self
    }

    /// A builder at the root of the state dict, for models in `dtype` on `device`.
    pub fn var_builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), dtype, device.clone())
    }

    /// The names asked for until now, in order of the alphabet, with the shapes expected.
    pub fn requested(&self) -> Vec<NamedShape> {
        self.requests.snapshot()
    }

    /// Error unless the names asked for are exactly `official`, as [`check_names`] says.
    pub fn check_names(&self, official: &[NamedShape], ignored_prefixes: &[&str]) -> Result<()> {
        check_names(&self.requested(), official, ignored_prefixes)
    }

    /// The values of the tensor `name` as a model would get it.
    fn values(&self, name: &str, dims: &[usize]) -> Vec<f32> {
        let name = format!("{}{name}", self.prefix);
        if self.zeroed.iter().any(|z| name.ends_with(z.as_str())) {
            return vec![0.0; dims.iter().product()];
        }
        let mut values = fill(&name, dims, &self.salt);
        for (_, factor) in self.scale.iter().filter(|(part, _)| name.contains(part.as_str())) {
            values.par_iter_mut().for_each(|v| *v *= factor);
        }
        for (_, add) in self.add.iter().filter(|(whole, _)| &name == whole) {
            values.par_iter_mut().for_each(|v| *v += add);
        }
        values
    }

    fn tensor(&self, name: &str, shape: Shape, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let values = self.values(name, shape.dims());
        Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)
    }
}

impl SimpleBackend for GeneratedWeights {
    fn get(&self, s: Shape, name: &str, _: Init, dtype: DType, dev: &Device) -> candle_core::Result<Tensor> {
        self.requests.record(name, s.dims());
        self.tensor(name, s, dtype, dev)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, dev: &Device) -> candle_core::Result<Tensor> {
        let Some(shape) = self.official.get(name) else {
            candle_core::bail!("tensor {name}: its shape is not given by the model and it is not in the official list");
        };
        self.requests.record(name, shape);
        self.tensor(name, Shape::from(shape.as_slice()), dtype, dev)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.official.contains_key(name)
    }
}

/// Any other source of weights, with the same record of requests: a user's checkpoint in place of the fill rule.
#[derive(Clone)]
pub struct RecordedWeights {
    inner: VarBuilder<'static>,
    requests: Requests,
}

impl RecordedWeights {
    /// Record what is asked of `inner`, a builder at the root of a state dict.
    pub fn new(inner: VarBuilder<'static>) -> Self {
        Self { inner, requests: Requests::default() }
    }

    /// A builder at the root of the state dict, for models in `dtype` on `device`.
    pub fn var_builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), dtype, device.clone())
    }

    /// The names asked for until now, with the shapes expected.
    pub fn requested(&self) -> Vec<NamedShape> {
        self.requests.snapshot()
    }
}

impl SimpleBackend for RecordedWeights {
    fn get(&self, s: Shape, name: &str, h: Init, dtype: DType, dev: &Device) -> candle_core::Result<Tensor> {
        self.requests.record(name, s.dims());
        self.inner.get_with_hints_dtype(s, name, h, dtype)?.to_device(dev)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, dev: &Device) -> candle_core::Result<Tensor> {
        let tensor = self.inner.get_unchecked_dtype(name, dtype)?.to_device(dev)?;
        self.requests.record(name, tensor.dims());
        Ok(tensor)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.inner.contains_tensor(name)
    }
}

/// Names of each sort that an error spells out; the rest are counted.
const NAMES_SHOWN: usize = 5;

/// Error unless `requested` is exactly `official`: nothing missing, nothing unknown, every shape equal.
///
/// Official names below `ignored_prefixes` need not be requested (parts of the model that a runner does not build), and
/// `num_batches_tracked` never is: the step counter of a batch norm takes no part in a forward pass.
pub fn check_names(requested: &[NamedShape], official: &[NamedShape], ignored_prefixes: &[&str]) -> Result<()> {
    let asked: BTreeMap<&str, &[usize]> = requested.iter().map(|n| (n.name.as_str(), n.shape.as_slice())).collect();
    let known: BTreeMap<&str, &[usize]> = official.iter().map(|n| (n.name.as_str(), n.shape.as_slice())).collect();
    let ignored = |name: &str| {
        name.ends_with("num_batches_tracked") || ignored_prefixes.iter().any(|prefix| name.starts_with(prefix))
    };
    let missing: Vec<String> =
        known.keys().filter(|n| !asked.contains_key(*n) && !ignored(n)).map(ToString::to_string).collect();
    let unknown: Vec<String> = asked.keys().filter(|n| !known.contains_key(*n)).map(ToString::to_string).collect();
    let misshaped: Vec<String> = asked
        .iter()
        .filter_map(|(name, shape)| Some((name, shape, *known.get(name)?)))
        .filter(|(_, shape, expected)| *shape != expected)
        .map(|(name, shape, expected)| format!("{name} {shape:?} (official {expected:?})"))
        .collect();
    let parts: Vec<String> = [
        ("never requested", missing),
        ("requested but not official", unknown),
        ("requested in another shape", misshaped),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .map(|(what, names)| {
        let more = names.len().saturating_sub(NAMES_SHOWN);
        let shown = names.iter().take(NAMES_SHOWN).cloned().collect::<Vec<_>>().join(", ");
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{} {what}: {shown}{rest}", names.len())
    })
    .collect();
    if parts.is_empty() {
        Ok(())
    } else {
        Err(Error::Names(format!("names differ from the official ones: {}", parts.join("; "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str, shape: &[usize]) -> NamedShape {
        NamedShape { name: name.into(), shape: shape.to_vec() }
    }

    #[test]
    fn records_and_checks_names() {
        let official = vec![
            name("a.weight", &[2, 3]),
            name("a.bias", &[2]),
            name("bn.num_batches_tracked", &[]),
            name("mem.x", &[1]),
        ];
        let weights = GeneratedWeights::new("").official(official.clone());
        let vb = weights.var_builder(DType::F32, &Device::Cpu);
        assert!(vb.contains_tensor("a.bias") && !vb.contains_tensor("a.gamma"));
        vb.pp("a").get((2, 3), "weight").unwrap();
        let error = weights.check_names(&official, &["mem."]).unwrap_err().to_string();
        assert_eq!(error, "names differ from the official ones: 1 never requested: a.bias");
        vb.get(3, "a.bias").unwrap();
        vb.get(3, "other").unwrap();
        let error = weights.check_names(&official, &["mem."]).unwrap_err().to_string();
        assert!(error.contains("1 requested but not official: other"), "{error}");
        assert!(error.contains("a.bias [3] (official [2])"), "{error}");
    }

    #[test]
    fn names_all_asked_for_pass() {
        let official = vec![name("x.weight", &[4])];
        let weights = GeneratedWeights::new("s").official(official.clone());
        weights.var_builder(DType::F32, &Device::Cpu).pp("x").get_unchecked("weight").unwrap();
        weights.check_names(&official, &[]).unwrap();
        assert!(weights.var_builder(DType::F32, &Device::Cpu).get_unchecked("y").is_err());
    }

    #[test]
    fn changes_after_the_fill() {
        let plain = GeneratedWeights::new("").values("up.fc.bias", &[3]);
        let weights = GeneratedWeights::new("")
            .scaled("fc", 2.0)
            .shifted("up.fc.bias", 1.0)
            .shifted("fc.bias", 9.0)
            .zeroed(".attention_biases");
        let changed = weights.values("up.fc.bias", &[3]);
        for (p, c) in plain.iter().zip(&changed) {
            assert_eq!(*c, p * 2.0 + 1.0);
        }
        assert_eq!(weights.values("x.attention_biases", &[1, 2]), [0.0, 0.0]);
        assert_eq!(GeneratedWeights::new("").prefix("up.").values("fc.bias", &[3]), plain);
    }

    #[test]
    fn a_file_in_place_of_the_rule_is_recorded_too() {
        let file: std::collections::HashMap<String, Tensor> =
            [("w".to_string(), Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap())].into();
        let weights = RecordedWeights::new(VarBuilder::from_tensors(file, DType::F32, &Device::Cpu));
        let vb = weights.var_builder(DType::F32, &Device::Cpu);
        assert!(vb.get(2, "w").is_ok() && vb.get(3, "w").is_err() && vb.get(2, "v").is_err());
        assert_eq!(weights.requested().len(), 2);
    }
}
