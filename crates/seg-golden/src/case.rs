//! A case: what the official code was run on, and what it gave.

use crate::backend::{GeneratedWeights, NamedShape};
use crate::compare::{Comparison, OutputSpec, Tolerance, compare};
use crate::error::{Error, Result};
use crate::stored::{Stored, read_json, read_tensors};
use candle_core::{Device, Tensor};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A state dict of the official model: its keys in order.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Module {
    /// Key, shape and type of each tensor.
    #[serde(default)]
    state_dict: Vec<(String, Vec<usize>, String)>,
}

impl Module {
    /// Key and shape of each tensor.
    pub fn names(&self) -> Vec<NamedShape> {
        self.state_dict.iter().map(|(name, shape, _)| NamedShape { name: name.clone(), shape: shape.clone() }).collect()
    }
}

/// The fields of the JSON; those that no runner uses are left out, unknown ones are passed over.
#[derive(Debug, Deserialize)]
struct Description {
    case: String,
    #[serde(default)]
    system: String,
    #[serde(default)]
    salt: String,
    #[serde(default)]
    config: Value,
    #[serde(default)]
    inputs: Value,
    #[serde(default)]
    values: Value,
    #[serde(default)]
    modules: Option<BTreeMap<String, Module>>,
    #[serde(default)]
    outputs: Option<BTreeMap<String, OutputSpec>>,
    #[serde(default)]
    tolerance: Option<Tolerance>,
    #[serde(default)]
    weights: Option<PathBuf>,
}

/// A golden case: `<name>.json`, with `<name>.safetensors` beside it.
#[derive(Debug)]
pub struct Case {
    /// Its name; the leading words are its kind.
    pub name: String,
    /// The system that it belongs to.
    pub system: String,
    /// What precedes every name in the fill rule.
    pub salt: String,
    /// The configuration that was run.
    pub config: Value,
    /// How the inputs are made.
    pub inputs: Value,
    /// Everything else that a runner needs: prompts, scores, changes to the weights.
    pub values: Value,
    path: PathBuf,
    modules: BTreeMap<String, Module>,
    outputs: BTreeMap<String, OutputSpec>,
    stored: BTreeMap<String, Stored>,
    tolerance: Option<Tolerance>,
    weights: Option<PathBuf>,
}

impl Case {
    /// Whether the file at `path` describes a case: a JSON object with a `case` field.
    pub fn is_case(path: &Path) -> bool {
        let Ok(bytes) = read_json(path) else { return false };
        matches!(serde_json::from_slice::<Value>(&bytes), Ok(Value::Object(o)) if o.get("case").is_some_and(Value::is_string))
    }

    /// Read `<name>.json` and `<name>.safetensors` beside it. Outputs that are stored but not described in the JSON are
    /// taken as whole tensors.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = read_json(path)?;
        let json: Description =
            serde_json::from_slice(&bytes).map_err(|source| Error::Json { path: path.to_path_buf(), source })?;
        let stored = read_tensors(&path.with_extension("safetensors"))?;
        let mut outputs = json.outputs.unwrap_or_default();
        for (name, tensor) in stored.iter().filter(|(name, _)| !name.starts_with("input.")) {
            outputs.entry(name.clone()).or_insert_with(|| OutputSpec {
                shape: tensor.shape.clone(),
                stride: 1,
                mean: None,
                std: None,
                tolerance: None,
            });
        }
        Ok(Self {
            name: json.case,
            system: json.system,
            salt: json.salt,
            config: json.config,
            inputs: json.inputs,
            values: json.values,
            path: path.to_path_buf(),
            modules: json.modules.unwrap_or_default(),
            outputs,
            stored,
            tolerance: json.tolerance,
            weights: json.weights,
        })
    }

    /// The JSON file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The checkpoint that the case names in place of the fill rule, relative to the JSON's folder.
    pub fn weights_file(&self) -> Option<PathBuf> {
        let file = self.weights.as_ref()?;
        Some(self.path.parent().unwrap_or(Path::new("")).join(file))
    }

    /// The official keys of `module`; none when the case does not list them.
    pub fn official(&self, module: &str) -> Option<Vec<NamedShape>> {
        self.modules.get(module).map(Module::names)
    }

    /// Names of the modules whose keys are listed.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(String::as_str)
    }

    /// The weights of `module` by the fill rule: the case's salt, its changes to the fill, its official keys.
    pub fn generated(&self, module: &str) -> Result<GeneratedWeights> {
        let mut weights = GeneratedWeights::new(self.salt.clone()).official(self.official(module).unwrap_or_default());
        for (part, factor) in self.pairs("fill_scale")? {
            weights = weights.scaled(part, factor);
        }
        for (name, value) in self.pairs("weight_overrides_add")? {
            weights = weights.shifted(name, value);
        }
        Ok(weights)
    }

    /// `values.<field>` as pairs of a name and a number: an object, or a list of two-element lists.
    fn pairs(&self, field: &str) -> Result<Vec<(String, f32)>> {
        let problem = |found: &Value| {
            self.field_error(&format!("values.{field}"), format!("{found}, expected names with numbers"))
        };
        let number = |v: &Value| v.as_f64().map(|v| v as f32);
        match self.values.get(field) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Object(map)) => {
                map.iter().map(|(name, v)| Ok((name.clone(), number(v).ok_or_else(|| problem(v))?))).collect()
            }
            Some(Value::Array(list)) => list
                .iter()
                .map(|pair| {
                    let name = pair.get(0).and_then(Value::as_str);
                    let value = pair.get(1).and_then(number);
                    name.zip(value).map(|(n, v)| (n.to_string(), v)).ok_or_else(|| problem(pair))
                })
                .collect(),
            Some(other) => Err(problem(other)),
        }
    }

    /// A field of `values`, `inputs` or `config` that could not be used, as an error.
    pub fn field_error(&self, field: &str, problem: impl Into<String>) -> Error {
        Error::Field { case: self.name.clone(), field: field.to_string(), problem: problem.into() }
    }

    /// The whole input `name` (it begins with `input.`) if the case stores it: used in place of a generated one.
    pub fn stored_input(&self, name: &str, device: &Device) -> Option<candle_core::Result<Tensor>> {
        if self.outputs.contains_key(name) {
            return None;
        }
        self.stored.get(name).map(|tensor| tensor.tensor(device))
    }

    /// The stored sample of the output `name`, in order: for outputs of which a runner must know what the original chose at random.
    pub fn stored_values(&self, name: &str) -> Option<&[f64]> {
        self.stored.get(name).map(|stored| stored.values.as_slice())
    }

    /// Names of all outputs to compare.
    pub fn output_names(&self) -> impl Iterator<Item = &str> {
        self.outputs.keys().map(String::as_str)
    }

    /// What the JSON says of the output `name`.
    pub fn output(&self, name: &str) -> Option<&OutputSpec> {
        self.outputs.get(name)
    }

    /// Compare `tensor` with the stored output `name`.
    pub fn compare(&self, name: &str, tensor: &Tensor) -> Comparison {
        self.compare_above(name, tensor, 0.)
    }

    /// As [`Self::compare`], where differences up to `floor` are rounding whatever the values.
    pub(crate) fn compare_above(&self, name: &str, tensor: &Tensor, floor: f64) -> Comparison {
        let Some(spec) = self.outputs.get(name) else {
            return Comparison::failed(name, "the case has no such output");
        };
        let nothing = Stored { shape: vec![0], values: Vec::new() };
        let stored = match self.stored.get(name) {
            Some(stored) => stored,
            // an empty tensor cannot be stored: its shape is all there is to compare
            None if spec.shape.contains(&0) => &nothing,
            None => return Comparison::failed(name, "described in the JSON but not stored in the safetensors file"),
        };
        compare(name, spec, stored, (self.tolerance, floor), tensor)
    }
}
