//! Models that look for what a sentence says, by name.

use std::path::Path;

use seg_checkpoints::{Checkpoint, LoadReport, identify};

use super::{Architecture, LoadOptions, ModelName};
use crate::error::{Error, Result};
use crate::mpg_sam2::{self, MpgSam2Predictor};

impl ModelName {
    /// Loads the model with its tokenizer, strictly: see [`mpg_sam2::load`].
    ///
    /// # Errors
    /// As there, and a model that takes no text, or a file that is certainly of another model.
    pub fn open_referring(
        self,
        path: &Path,
        tokenizer: Option<&Path>,
        options: &LoadOptions,
    ) -> Result<(MpgSam2Predictor, LoadReport)> {
        let Self::MpgSam2(_) = self else { return Err(Error::NotReferring { model: self.as_str() }) };
        let (expected, file) = (self.weights(), Checkpoint::open(path)?);
        if let Some(made) = Architecture::of(&file)? {
            // what it says itself holds
            let note = self.made_of(&file).map(|_| self.size_notes(&made))?;
            let (model, mut report) = mpg_sam2::load(path, tokenizer, options)?;
            report.notes.extend(note);
            return Ok((model, report));
        }
        match identify(&file) {
            Some(found) if !found.may_be(expected) => {
                Err(Error::OtherBase { path: path.to_path_buf(), found: found.to_string(), expected })
            }
            _ => mpg_sam2::load(path, tokenizer, options),
        }
    }
}
