//! The error of running cases.

use std::path::PathBuf;

/// Why cases, or one case, could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A folder or file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is no case was given.
    #[error("{}: not a case, expected a folder or a .json file", path.display())]
    NotACase {
        /// The file.
        path: PathBuf,
    },
    /// The case, its names or its files are at fault.
    #[error(transparent)]
    Golden(#[from] seg_golden::Error),
    /// An image operation failed.
    #[error(transparent)]
    Data(#[from] seg_data::DataError),
    /// The checkpoint that the case names cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] seg_checkpoints::Error),
    /// A metric refused an image.
    #[error(transparent)]
    Metrics(#[from] seg_metrics::Error),
    /// A whole system failed.
    #[error(transparent)]
    Model(#[from] seg_models::Error),
    /// A loss or an optimiser failed.
    #[error(transparent)]
    Train(#[from] seg_train::TrainError),
    /// A tokenizer, or a text for it, cannot be used.
    #[error(transparent)]
    Text(#[from] beit3_encoder::Error),
    /// A part of a model failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
