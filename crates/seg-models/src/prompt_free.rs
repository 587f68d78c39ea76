//! Models that need no prompt.

use seg_data::RgbImage;

use crate::error::Result;
use crate::is_net::{IsNetPredictor, ProbabilityMap};

/// A model that finds the object of an image by itself. Shared by threads as it is.
pub trait PromptFreeSegmenter: Send + Sync {
    /// The probability of each pixel to belong to the object, at the size of the image.
    fn predict(&self, image: &RgbImage) -> Result<ProbabilityMap>;
}

impl PromptFreeSegmenter for IsNetPredictor {
    fn predict(&self, image: &RgbImage) -> Result<ProbabilityMap> {
        Self::predict(self, image)
    }
}
