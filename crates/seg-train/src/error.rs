//! What can go wrong in training.

use candle_core::Shape;
use std::path::{Path, PathBuf};

/// Why a loss or an optimiser refused.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Two lists that belong together differ in length.
    #[error("{what}: {got} of them, expected {expected}")]
    Count {
        /// What was counted.
        what: &'static str,
        /// How many there were.
        got: usize,
        /// How many there should have been.
        expected: usize,
    },
    /// A tensor has a shape that the loss cannot use.
    #[error("{tensor}: shape {got:?}, expected {expected}")]
    Shape {
        /// Which tensor.
        tensor: &'static str,
        /// Its shape.
        got: Shape,
        /// The right shape, in words.
        expected: String,
    },
    /// A setting makes no sense.
    #[error("{name} is {got}, expected {expected}")]
    Setting {
        /// Which setting.
        name: &'static str,
        /// Its value.
        got: f64,
        /// Values that would have been right, in words.
        expected: &'static str,
    },
    /// A saved state does not fit the run.
    #[error("{name} of the saved state {problem}")]
    State {
        /// Which tensor or entry.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Gradients do not reach what is to be trained, or reach what is not.
    #[error("{}", probe_text(*trained, problems))]
    Probe {
        /// Weights that are declared as trained.
        trained: usize,
        /// What is wrong with each.
        problems: Vec<String>,
    },
    /// The loss is no number any more, or its gradient.
    #[error("step {step}: {what} is {value}, expected a finite number; examples: {examples}")]
    NotFinite {
        /// The step, from 1.
        step: u64,
        /// The loss or a norm.
        what: String,
        /// Its value.
        value: f64,
        /// Names of the batch's examples.
        examples: String,
    },
    /// A recipe that cannot be followed.
    #[error("{recipe}: {problem}")]
    Recipe {
        /// File or name of the recipe.
        recipe: String,
        /// What is wrong, with the key.
        problem: String,
    },
    /// A run that cannot begin or go on.
    #[error("{}: {problem}", path.display())]
    Run {
        /// Folder or file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Processes that cannot train together.
    #[error("{problem}")]
    Processes {
        /// Why, and what to do.
        problem: String,
    },
    /// Another process of the training has failed, and says why.
    #[error("another process of this training has failed; its own message says why")]
    Elsewhere,
    /// The operating system refused something.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Examples that cannot be had.
    #[error(transparent)]
    Data(Box<seg_data::DataError>),
    /// Weights that cannot be read or written.
    #[error(transparent)]
    Weights(Box<seg_checkpoints::Error>),
    /// A score that cannot be computed.
    #[error(transparent)]
    Score(Box<seg_metrics::Error>),
    /// The model failed.
    #[error(transparent)]
    Model(Box<seg_models::Error>),
    /// A tensor operation failed.
    #[error("{}", first_line(.0))]
    Candle(#[from] candle_core::Error),
}

macro_rules! boxed {
    ($($variant:ident: $from:ty),*) => {
        $(impl From<$from> for TrainError {
            fn from(error: $from) -> Self {
                Self::$variant(Box::new(error))
            }
        })*
    };
}

boxed!(Data: seg_data::DataError, Weights: seg_checkpoints::Error, Score: seg_metrics::Error, Model: seg_models::Error);

impl TrainError {
    /// For `map_err` of an operation on a file.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, action, source }
    }
}

/// Without the backtrace that candle writes behind its message.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// At most this many names are told.
const NAMED: usize = 8;

fn probe_text(trained: usize, problems: &[String]) -> String {
    if trained == 0 {
        return "nothing would be trained: no weight of the model is declared as trained".into();
    }
    let more = match problems.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("gradients are lost: {}{more}", problems[..problems.len().min(NAMED)].join("; "))
}

/// Refuses a tensor of another shape.
pub(crate) fn expect_shape(tensor: &'static str, got: &candle_core::Tensor, dims: &[usize]) -> crate::Result<()> {
    match got.dims() == dims {
        true => Ok(()),
        false => Err(TrainError::Shape { tensor, got: got.shape().clone(), expected: format!("{dims:?}") }),
    }
}

impl From<TrainError> for candle_core::Error {
    fn from(error: TrainError) -> Self {
        match error {
            TrainError::Candle(error) => error,
            other => Self::wrap(other),
        }
    }
}
