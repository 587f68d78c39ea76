//! What a training reads: pictures or clips.

use std::sync::Arc;

use super::{ClipExamples, Examples};
use crate::Result;

/// Where a training's examples come from.
#[derive(Clone)]
pub enum Source {
    /// Pictures with masks.
    Pictures(Arc<dyn Examples>),
    /// Clips with sentences and masks.
    Clips(Arc<dyn ClipExamples>),
}

impl Source {
    /// How many there are in a pass; `None` where they never end.
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::Pictures(pictures) => pictures.len(),
            Self::Clips(clips) => clips.len(),
        }
    }

    /// Whether there are none at all.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// A digest of what the examples are made from, in hexadecimal.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn digest(&self) -> Result<String> {
        match self {
            Self::Pictures(pictures) => pictures.digest(),
            Self::Clips(clips) => clips.digest(),
        }
    }
}

impl From<Arc<dyn Examples>> for Source {
    fn from(pictures: Arc<dyn Examples>) -> Self {
        Self::Pictures(pictures)
    }
}
