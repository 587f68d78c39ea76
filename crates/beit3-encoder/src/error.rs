//! The error of reading a tokenizer and of using it. The encoder's errors are candle's.

use std::path::{Path, PathBuf};

/// Why a tokenizer, or a text, could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be read.
    #[error("{}: cannot read it: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than any model is.
    #[error("{name}: {bytes} bytes, the limit for a sentencepiece model is {limit}")]
    TooLarge {
        /// The file.
        name: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The file is no sentencepiece model, or a damaged one.
    #[error("{name}: not a sentencepiece model: {problem}")]
    NotAModel {
        /// The file.
        name: String,
        /// What was found, and what was expected.
        problem: String,
    },
    /// A sentencepiece model of a kind that is not read here.
    #[error("{name}: {found}, expected {expected}")]
    Unsupported {
        /// The file.
        name: String,
        /// What the model is or has.
        found: String,
        /// What can be used.
        expected: &'static str,
    },
    /// A text longer than is taken.
    #[error("a text of {bytes} bytes, the limit is {limit}")]
    TextTooLong {
        /// Its size, normalised or as given.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The model's normalisation rules contradict themselves.
    #[error("sentencepiece model: the normalisation rule for {text:?} points outside of its replacements")]
    BrokenRule {
        /// What the rule is for: the text from there on, shortened.
        text: String,
    },
}

/// The result of the tokenizer's functions.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}
