//! Collecting the comparisons of one case, and making sure that none was forgotten.

use crate::case::Case;
use crate::compare::Comparison;
use candle_core::Tensor;
use serde::Serialize;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Every output agrees.
    Pass,
    /// An output differs, or was not compared, or the case could not be run.
    Fail,
    /// The case was not run, and need not be.
    Skip,
}

/// The result of one case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseReport {
    /// Its name.
    pub case: String,
    /// Its JSON file.
    pub path: PathBuf,
    /// How it ended.
    pub status: Status,
    /// Why it failed or was skipped, when it is not a single tensor's error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The output with the largest error, as a multiple of its tolerance.
    pub worst: Option<Comparison>,
    /// Number of outputs compared.
    pub compared: usize,
    /// The outputs that differ.
    pub failures: Vec<Comparison>,
    /// Outputs that the runner leaves out, with the reason.
    pub left_out: BTreeMap<String, String>,
    /// Wall time in seconds.
    pub seconds: f64,
}

impl CaseReport {
    /// A case that was not run.
    pub fn skipped(case: impl Into<String>, path: impl Into<PathBuf>, why: impl Into<String>) -> Self {
        Self::without_outputs(case, path, Status::Skip, why)
    }

    /// A case that could not be run.
    pub fn failed(case: impl Into<String>, path: impl Into<PathBuf>, why: impl Into<String>) -> Self {
        Self::without_outputs(case, path, Status::Fail, why)
    }

    fn without_outputs(
        case: impl Into<String>,
        path: impl Into<PathBuf>,
        status: Status,
        why: impl Into<String>,
    ) -> Self {
        Self {
            case: case.into(),
            path: path.into(),
            status,
            message: Some(why.into()),
            worst: None,
            compared: 0,
            failures: Vec::new(),
            left_out: BTreeMap::new(),
            seconds: 0.0,
        }
    }

    /// One line: status, name, the worst tensor with its error as a multiple of the tolerance, seconds.
    pub fn line(&self) -> String {
        let status = match self.status {
            Status::Pass => "PASS",
            Status::Fail => "FAIL",
            Status::Skip => "SKIP",
        };
        let mut line = format!("{status} {:<28}", self.case);
        if let Some(worst) = &self.worst {
            line.push_str(&format!(
                " {:>3} outputs, worst {} at {:.3} of the tolerance",
                self.compared, worst.name, worst.worst_ratio
            ));
        }
        if let Some(message) = &self.message {
            line.push_str(&format!(" {message}"));
        }
        if self.status != Status::Skip {
            line.push_str(&format!(" ({:.2} s)", self.seconds));
        }
        line
    }
}

/// Compares the outputs of one case as a runner produces them.
pub struct Checker<'a> {
    case: &'a Case,
    comparisons: BTreeMap<String, Comparison>,
    left_out: BTreeMap<String, String>,
    started: Instant,
}

impl<'a> Checker<'a> {
    /// Begin with `case`; the clock of the report starts here.
    pub fn new(case: &'a Case) -> Self {
        Self { case, comparisons: BTreeMap::new(), left_out: BTreeMap::new(), started: Instant::now() }
    }

    /// The case.
    pub fn case(&self) -> &'a Case {
        self.case
    }

    /// Whether the case stores the output `name`: a runner offers what its model gives, the case chooses.
    pub fn wants(&self, name: &str) -> bool {
        self.case.output(name).is_some()
    }

    /// Compare `tensor` with the stored output `name`; no effect when the case does not store it.
    pub fn tensor(&mut self, name: &str, tensor: &Tensor) {
        if self.wants(name) {
            self.comparisons.insert(name.to_string(), self.case.compare(name, tensor));
        }
    }

    /// As [`Self::tensor`], where differences up to `floor` are rounding whatever the values: the caller must have measured how much rounding does.
    pub fn tensor_above(&mut self, name: &str, tensor: &Tensor, floor: f64) {
        if self.wants(name) {
            self.comparisons.insert(name.to_string(), self.case.compare_above(name, tensor, floor));
        }
    }

    /// Record a check of something that is not a stored tensor.
    pub fn fact(&mut self, name: &str, agrees: bool, problem: impl Into<String>) {
        self.comparisons.insert(name.to_string(), Comparison::of_fact(name, agrees, problem));
    }

    /// Compare a single number, a loss or a gradient's norm, with the reference that the JSON holds: within 1e-3 of it and `floor`,
    /// the size below which the reference itself is rounding.
    pub fn number(&mut self, name: &str, actual: f64, expected: f64, floor: f64) {
        self.comparisons.insert(name.to_string(), Comparison::of_number(name, actual, expected, floor));
    }

    /// Leave the stored output `name` out, for a `reason` that is printed.
    pub fn leave_out(&mut self, name: &str, reason: impl Into<String>) {
        self.left_out.insert(name.to_string(), reason.into());
    }

    /// The report. An output that is stored but was neither compared nor left out is a failure, and so is an `outcome`
    /// that is an error.
    pub fn finish<E: Error>(mut self, outcome: Result<(), E>) -> CaseReport {
        let message = outcome.err().map(|e| with_sources(&e));
        if message.is_none() {
            for name in self.case.output_names() {
                if !self.comparisons.contains_key(name) && !self.left_out.contains_key(name) {
                    let missing = Comparison::failed(name, "stored in the case but not produced by its runner");
                    self.comparisons.insert(name.to_string(), missing);
                }
            }
        }
        let compared = self.comparisons.len();
        let nothing = (compared == 0 && message.is_none()).then(|| "the case has no outputs to compare".to_string());
        let message = message.or(nothing);
        let failures: Vec<Comparison> = self.comparisons.values().filter(|c| !c.passed).cloned().collect();
        let worst = self.comparisons.into_values().max_by(|a, b| a.worst_ratio.total_cmp(&b.worst_ratio));
        let status = if failures.is_empty() && message.is_none() { Status::Pass } else { Status::Fail };
        CaseReport {
            case: self.case.name.clone(),
            path: self.case.path().to_path_buf(),
            status,
            message,
            worst,
            compared,
            failures,
            left_out: self.left_out,
            seconds: self.started.elapsed().as_secs_f64(),
        }
    }
}

/// An error and what caused it, on one line; causes that the message already names are left out.
fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(&format!(": {cause_text}"));
        }
        source = cause.source();
    }
    text
}
