//! What can be wrong with a TIFF, before the file's name is known.

use tiff::{TiffError, TiffUnsupportedError};

use crate::error::{DataError, one_line};

const FORMAT: &str = "TIFF";

#[derive(Debug)]
pub(super) enum Fault {
    Damaged(String),
    Truncated(String),
    Unsupported(String),
    /// Of the file's own decoder, with its name.
    Other(DataError),
}

impl Fault {
    pub fn of(self, name: &str) -> DataError {
        let (name, format) = (name.to_owned(), FORMAT);
        match self {
            Self::Damaged(reason) => DataError::Decode { name, format, reason },
            Self::Truncated(reason) => DataError::Truncated { name, format, reason },
            Self::Unsupported(reason) => DataError::Unsupported { name, format, reason },
            Self::Other(error) => error,
        }
    }
}

impl From<TiffError> for Fault {
    fn from(error: TiffError) -> Self {
        match error {
            TiffError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => {
                Self::Truncated("it ends in the middle of the data".into())
            }
            TiffError::UnsupportedError(TiffUnsupportedError::UnknownInterpretation) => Self::Unsupported(
                "its photometric interpretation is missing or none of a picture (a camera's raw data, LogLuv, depths)"
                    .into(),
            ),
            TiffError::UnsupportedError(what) => Self::Unsupported(one_line(&what.to_string())),
            other => Self::Damaged(one_line(&other.to_string())),
        }
    }
}
