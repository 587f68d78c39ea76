//! What can go wrong in training.

use candle_core::Shape;

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
    /// The model failed.
    #[error(transparent)]
    Model(#[from] seg_models::Error),
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
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
