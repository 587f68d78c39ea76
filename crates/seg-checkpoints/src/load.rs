//! Loading a model strictly, with a report of everything that does not fit.

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::identify::identify;
use crate::report::{LoadReport, ShapeMismatch, TypeMismatch};
use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// What a load tolerates. The default tolerates nothing.
///
/// Patterns are whole components: `memory_attention` covers `memory_attention.layers.0…` but not
/// `memory_attention_2`; with a `*` at the end (`obj_ptr_*`) they cover every name that begins so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadPolicy {
    optional: Vec<String>,
    unused: Vec<String>,
    allow_extra: bool,
    expected: Option<String>,
    first_only: bool,
}

impl LoadPolicy {
    /// Every tensor that the model requests must be in the file, and every tensor of the file must be requested.
    pub fn strict() -> Self {
        Self::default()
    }

    /// Tensors that may be missing from the file. The model then gets zeros of the requested shape, and the report
    /// lists them as [`LoadReport::zero_filled`]. A model that can do without a part altogether should ask
    /// `vb.contains_tensor(…)` and not request it.
    pub fn optional<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.optional.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// Tensors of the file that the model is known not to use (MobileSAM's classifier head, SAM 2's memory in an
    /// image model). They are listed as [`LoadReport::ignored`].
    pub fn unused<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.unused.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// Accepts any tensor that the model does not use.
    pub fn allow_extra(mut self) -> Self {
        self.allow_extra = true;
        self
    }

    /// The first tensor that does not fit ends the building, instead of all of them being gathered: for sizes that come from the file itself, of
    /// which nothing is to be made that its tensors do not bear out.
    pub fn ends_at_first_misfit(mut self) -> Self {
        self.first_only = true;
        self
    }

    /// The model that the caller wants, by its name in the manifest (`sam2.1-tiny`). A file that is certainly another
    /// one is refused even when every requested tensor is there.
    pub fn expect(mut self, model: impl Into<String>) -> Self {
        self.expected = Some(model.into());
        self
    }
}

fn covers(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|p| match p.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name
            .strip_prefix(p.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || p.ends_with('.')),
    })
}

#[derive(Default)]
struct Record {
    requested: BTreeSet<String>,
    missing: BTreeSet<String>,
    zero_filled: BTreeSet<String>,
    probed: BTreeSet<String>,
    mis_shaped: BTreeMap<String, ShapeMismatch>,
    mis_typed: BTreeMap<String, TypeMismatch>,
    /// Reading the file itself failed.
    failed: Option<Error>,
}

impl Record {
    /// The model will be thrown away: reading on would be a waste.
    fn hopeless(&self) -> bool {
        !(self.missing.is_empty() && self.mis_shaped.is_empty() && self.mis_typed.is_empty()) || self.failed.is_some()
    }
}

/// Reads from the file and writes down what was asked. After the first misfit it answers with placeholders, so that
/// the model's constructor goes on and all misfits are known at the end.
struct Recorder {
    checkpoint: Checkpoint,
    optional: Vec<String>,
    first_only: bool,
    record: Arc<Mutex<Record>>,
}

impl Recorder {
    /// One zero seen as many: takes no memory.
    fn placeholder(&self, name: &str, shape: &Shape, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        if self.first_only {
            return Err(candle_core::Error::CannotFindTensor { path: name.to_owned() });
        }
        Tensor::zeros((), dtype, device)?.broadcast_as(shape)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimpleBackend for Recorder {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let mut record = self.lock();
        record.requested.insert(name.to_owned());
        let Some(info) = self.checkpoint.get(name) else {
            // what is there and cannot be read must not become zeros
            if covers(&self.optional, name) && !self.checkpoint.skipped().contains_key(name) {
                record.zero_filled.insert(name.to_owned());
                return if record.hopeless() {
                    self.placeholder(name, &shape, dtype, device)
                } else {
                    Tensor::zeros(shape, dtype, device)
                };
            }
            record.missing.insert(name.to_owned());
            return self.placeholder(name, &shape, dtype, device);
        };
        if info.shape != shape.dims() {
            let mismatch =
                ShapeMismatch { name: name.to_owned(), expected: shape.dims().to_vec(), got: info.shape.clone() };
            record.mis_shaped.insert(name.to_owned(), mismatch);
        } else if info.dtype.is_float() != dtype.is_float() {
            let mismatch = TypeMismatch { name: name.to_owned(), expected: dtype, got: info.dtype };
            record.mis_typed.insert(name.to_owned(), mismatch);
        }
        if record.hopeless() {
            return self.placeholder(name, &shape, dtype, device);
        }
        drop(record); // models may be built by several threads
        match self.checkpoint.tensor(name, &Device::Cpu) {
            Ok(tensor) => tensor.to_dtype(dtype)?.to_device(device),
            Err(e) => {
                let message = e.to_string();
                self.lock().failed.get_or_insert(e);
                Err(candle_core::Error::Msg(message))
            }
        }
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let Some(info) = self.checkpoint.get(name) else {
            let mut record = self.lock();
            record.requested.insert(name.to_owned());
            record.missing.insert(name.to_owned());
            return Err(candle_core::Error::CannotFindTensor { path: name.to_owned() });
        };
        let shape = Shape::from(info.shape.clone());
        self.get(shape, name, Init::Const(0.), dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.lock().probed.insert(name.to_owned());
        self.checkpoint.get(name).is_some()
    }
}

/// Builds a model from a checkpoint and compares what the model requested with what the file holds.
///
/// `build` gets a `VarBuilder` at the root of the state dict, in `dtype` on `device`. Weights that the policy calls
/// optional and that the file lacks are zeros.
///
/// # Errors
/// [`Error::Mismatch`] with a one-line summary and the whole report when something required is missing, of another
/// shape or type, in excess, or when the file is of another model than [`LoadPolicy::expect`] says;
/// [`Error::File`] when reading fails; [`Error::Model`] when `build` fails for a reason of its own.
pub fn load_strict<M>(
    checkpoint: &Checkpoint,
    dtype: DType,
    device: &Device,
    policy: &LoadPolicy,
    build: impl FnOnce(VarBuilder<'static>) -> candle_core::Result<M>,
) -> Result<(M, LoadReport)> {
    let record = Arc::new(Mutex::new(Record::default()));
    let recorder = Recorder {
        checkpoint: checkpoint.clone(),
        optional: policy.optional.clone(),
        first_only: policy.first_only,
        record: Arc::clone(&record),
    };
    let built = build(VarBuilder::from_backend(Box::new(recorder), dtype, device.clone()));
    let record = std::mem::take(&mut *record.lock().unwrap_or_else(PoisonError::into_inner));
    if let Some(e) = record.failed {
        return Err(e);
    }
    let report = report(checkpoint, policy, &record);
    match built {
        Ok(model) if report.is_ok() => Ok((model, report)),
        Err(source)
            if report.missing.is_empty()
                && report.mis_shaped.is_empty()
                && report.mis_typed.is_empty()
                && !report.wrong_model =>
        {
            Err(Error::Model { path: checkpoint.path().to_path_buf(), source })
        }
        _ => Err(Error::Mismatch { summary: report.summary(), report: Box::new(report) }),
    }
}

fn report(checkpoint: &Checkpoint, policy: &LoadPolicy, record: &Record) -> LoadReport {
    let identity = identify(checkpoint);
    let all = || checkpoint.keys().chain(checkpoint.skipped().keys().map(String::as_str));
    let unrequested = || all().filter(|k| !record.requested.contains(*k));
    // a batch norm's counter serves torch's training alone: no model here asks for it
    let unused = |k: &str| covers(&policy.unused, k) || k.ends_with(".num_batches_tracked");
    let mut notes = checkpoint.notes().to_vec();
    notes.extend(checkpoint.stripped_prefix().map(|prefix| format!("prefix '{prefix}' taken off every name")));
    let mut wrong_model = false;
    if let (Some(found), Some(wanted)) = (&identity, &policy.expected) {
        wrong_model = !found.may_be(wanted);
        notes.extend(found.doubt(wanted));
    }
    LoadReport {
        path: checkpoint.path().to_path_buf(),
        expected: policy.expected.clone(),
        identity,
        loaded: record.requested.len().saturating_sub(
            record.missing.len() + record.zero_filled.len() + record.mis_shaped.len() + record.mis_typed.len(),
        ),
        missing: record.missing.iter().cloned().collect(),
        zero_filled: record.zero_filled.iter().cloned().collect(),
        absent: record
            .probed
            .iter()
            .filter(|n| checkpoint.get(n).is_none() && !record.requested.contains(*n))
            .cloned()
            .collect(),
        extra: unrequested().filter(|k| !unused(k)).map(str::to_owned).collect(),
        ignored: unrequested().filter(|k| unused(k)).map(str::to_owned).collect(),
        mis_shaped: record.mis_shaped.values().cloned().collect(),
        mis_typed: record.mis_typed.values().cloned().collect(),
        skipped: checkpoint.skipped().clone(),
        stripped_prefix: checkpoint.stripped_prefix().map(str::to_owned),
        nested_key: checkpoint.nested_key().map(str::to_owned),
        notes,
        hints: checkpoint.hints().to_vec(),
        wrong_model,
        extra_allowed: policy.allow_extra,
    }
}
