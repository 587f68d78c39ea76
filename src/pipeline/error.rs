//! The error of the pipeline.

use seg_models::registry::ModelName;

/// Why there are no masks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be read, or a picture that cannot be made.
    #[error(transparent)]
    Data(#[from] seg_data::DataError),
    /// Weights that cannot be had.
    #[error(transparent)]
    Checkpoint(#[from] seg_checkpoints::Error),
    /// The model refused, or failed.
    #[error(transparent)]
    Model(#[from] seg_models::Error),
    /// Two stages, of which the first is not there, and no mask in its place.
    #[error("{model} has neither a first stage nor a mask")]
    NoFirstStage {
        /// The model.
        model: ModelName,
    },
    /// An image that was not encoded.
    #[error("{model} was asked about an image without its embedding")]
    NoEmbedding {
        /// The model.
        model: ModelName,
    },
    /// A model that is not asked by clicks alone.
    #[error("{model} does not look for everything, expected SAM, MobileSAM or SAM 2")]
    NotEverything {
        /// The model.
        model: ModelName,
    },
    /// A file of prompts that cannot be used.
    #[error("{file}: {problem}")]
    Prompts {
        /// The file.
        file: String,
        /// What is wrong, and where.
        problem: String,
    },
    /// A model without an answer.
    #[error("the model returned no mask")]
    NoMask,
    /// A model whose numbers overflow.
    #[error("the model gave {what} {value}: its weights or number type do not fit")]
    NotFinite {
        /// What it gave.
        what: &'static str,
        /// The number.
        value: f32,
    },
    /// A result that cannot be put into JSON.
    #[error("cannot write the record: {0}")]
    Json(#[from] serde_json::Error),
}

/// A result of the pipeline.
pub type Result<T> = std::result::Result<T, Error>;
