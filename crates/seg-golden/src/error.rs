//! The error of this crate.

use std::path::PathBuf;

/// What can be wrong with a case, its files, or the names that a model asks for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the case could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the case is larger than a case can be.
    #[error("{}: {bytes} bytes, expected at most {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The largest size that is read.
        limit: u64,
    },
    /// The JSON is not a case.
    #[error("{}: not a case description: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The safetensors file beside the JSON is damaged.
    #[error("{}: not a safetensors file: {source}", path.display())]
    SafeTensors {
        /// The file.
        path: PathBuf,
        /// Why.
        source: safetensors::SafeTensorError,
    },
    /// A stored tensor has a type that comparisons do not read.
    #[error("tensor {name}: stored as {dtype}, expected one of F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL")]
    Dtype {
        /// The tensor.
        name: String,
        /// Its stored type.
        dtype: String,
    },
    /// A field of the JSON is missing or is not what a runner needs.
    #[error("case {case}: field {field}: {problem}")]
    Field {
        /// The case.
        case: String,
        /// The field, as a path such as `values.prompts`.
        field: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// The names that the model asked for are not the official ones.
    #[error("{0}")]
    Names(String),
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
