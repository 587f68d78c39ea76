//! The weights of a case: by the fill rule, or from the checkpoint that it names.

use super::error::VerifyError;
use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use seg_checkpoints::Checkpoint;
use seg_golden::{Case, Checker, GeneratedWeights, NamedShape, RecordedWeights, check_names};

type Result<T> = std::result::Result<T, VerifyError>;

/// Where the weights come from; both record what the model asks for.
enum Source {
    Rule(GeneratedWeights),
    File(RecordedWeights),
}

/// The weights of one module of a case.
pub(super) struct Weights {
    source: Source,
    module: String,
    official: Option<Vec<NamedShape>>,
}

impl Weights {
    /// The weights of `module`, one of the JSON's `modules`.
    pub(super) fn of(case: &Case, module: &str) -> Result<Self> {
        Self::with(case, module, |rule| rule)
    }

    /// As [`Self::of`], with a change to how the fill rule is applied: a prefix, tensors left at zero. A checkpoint is
    /// taken as it is.
    pub(super) fn with(
        case: &Case,
        module: &str,
        change: impl FnOnce(GeneratedWeights) -> GeneratedWeights,
    ) -> Result<Self> {
        let listed = case.official(module);
        let (source, official) = match case.weights_file() {
            None => (Source::Rule(change(case.generated(module)?)), listed),
            Some(path) => {
                let checkpoint = Checkpoint::open(path)?;
                let keys = checkpoint.tensors().iter();
                let in_file = keys.map(|(name, t)| NamedShape { name: name.clone(), shape: t.shape.clone() }).collect();
                let weights = RecordedWeights::new(checkpoint.var_builder(DType::F32, &Device::Cpu));
                (Source::File(weights), Some(listed.unwrap_or(in_file)))
            }
        };
        Ok(Self { source, module: module.to_string(), official })
    }

    /// A builder at the root of the official state dict.
    pub(super) fn var_builder(&self, device: &Device) -> VarBuilder<'static> {
        match &self.source {
            Source::Rule(weights) => weights.var_builder(DType::F32, device),
            Source::File(weights) => weights.var_builder(DType::F32, device),
        }
    }

    /// Record as one fact whether the model asked for exactly the official names: those that the case lists, or else those
    /// of its checkpoint. `ignored_prefixes`: parts that the runner does not build.
    pub(super) fn check(&self, checks: &mut Checker<'_>, ignored_prefixes: &[&str]) {
        let Some(official) = &self.official else { return };
        let requested = match &self.source {
            Source::Rule(weights) => weights.requested(),
            Source::File(weights) => weights.requested(),
        };
        let outcome = check_names(&requested, official, ignored_prefixes);
        let problem = outcome.as_ref().err().map(ToString::to_string).unwrap_or_default();
        checks.fact(&format!("names of {}", self.module), outcome.is_ok(), problem);
    }
}
