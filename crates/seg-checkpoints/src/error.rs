//! The one error type of the crate.

use std::path::{Path, PathBuf};

/// What went wrong, where, and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A checkpoint file cannot be read; `fault` says why.
    #[error("{}: {fault}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Reading or writing failed in the operating system.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb phrase ("open it").
        action: &'static str,
        /// The system's own error.
        source: std::io::Error,
    },
    /// A tensor that was asked for is not in the file.
    #[error("{}: no tensor '{name}' (the file has {count} tensors)", .path.display())]
    NoTensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// How many tensors the file has.
        count: usize,
    },
    /// A tensor has another shape than the model asks for.
    #[error("{}: tensor '{name}' has shape {got:?}, expected {expected:?}", .path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The shape in the file.
        got: Vec<usize>,
        /// The shape that the model asks for.
        expected: Vec<usize>,
    },
    /// The file does not fit the model; the message is the report in one line.
    #[error("{}: {summary}", .report.path.display())]
    Mismatch {
        /// The report in one line.
        summary: String,
        /// The whole report.
        report: Box<crate::LoadReport>,
    },
    /// The model's own constructor failed for another reason than its weights.
    #[error("{}: building the model failed: {source}", .path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// candle's error.
        source: candle_core::Error,
    },
    /// candle refused an operation on a tensor that was read.
    #[error("tensor '{name}': {source}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// candle's error.
        source: candle_core::Error,
    },
    /// A value given by the user or by an environment variable makes no sense.
    #[error("{what} '{value}': {expected}")]
    Argument {
        /// What it is ("model", "source", "HF_ENDPOINT").
        what: &'static str,
        /// The value given.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// No source could deliver the weights. The message lists all attempts and the way by hand.
    #[error("{0}")]
    NotFetched(String),
    /// One source could not deliver.
    #[error("{0}")]
    Source(String),
    /// A file that was fetched is not the published one.
    #[error("{what} is not the published file: {detail}; the downloaded part was deleted")]
    Digest {
        /// File name and source.
        what: String,
        /// Expected and actual size or digest.
        detail: String,
    },
}

/// What is wrong with a checkpoint file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file is shorter than its own directory says.
    #[error("truncated: expected {expected} bytes, the file has {actual}")]
    Truncated {
        /// Length that the file's directory asks for, in bytes.
        expected: u64,
        /// Length of the file, in bytes.
        actual: u64,
    },
    /// Something else than a checkpoint.
    #[error("not a checkpoint: {0}")]
    NotACheckpoint(String),
    /// The structure contradicts itself.
    #[error("damaged: {0}")]
    Malformed(String),
    /// A limit that protects memory was reached.
    #[error("refused: {0}")]
    Limit(String),
    /// Valid, but not something this crate reads.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The operating system could not read.
    #[error("cannot read: {0}")]
    Io(#[from] std::io::Error),
}

impl Fault {
    /// Adds the file's name.
    pub(crate) fn at(self, path: &Path) -> Error {
        Error::File { path: path.to_path_buf(), fault: self }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::Malformed(detail.into())
    }

    pub(crate) fn limit(detail: impl Into<String>) -> Self {
        Self::Limit(detail.into())
    }
}

impl Error {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, action, source }
    }
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Text from a file, fit for a message of one line.
pub(crate) fn shorten(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).take(81).collect();
    if clean.chars().count() > 80 { clean.chars().take(77).chain("...".chars()).collect() } else { clean }
}
