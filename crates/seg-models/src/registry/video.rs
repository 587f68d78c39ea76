//! Models that follow objects through a video, by name.

use std::path::Path;

use seg_checkpoints::{Checkpoint, LoadReport, load_strict};

use super::{Architecture, LoadOptions, ModelName};
use crate::error::{Error, Result};
use crate::sam2::video::{Sam2VideoModel, Sam2VideoPredictor};

impl ModelName {
    /// Loads the video predictor from a complete official checkpoint, strictly. Of `options.cleanup` the area of holes counts.
    ///
    /// # Errors
    /// A model without a memory, a file without one ([`Error::NotForVideo`]), or a file that cannot be read or is not of this model.
    pub fn open_video(self, path: &Path, options: &LoadOptions) -> Result<(Sam2VideoPredictor, LoadReport)> {
        let Self::Sam2(..) = self else { return Err(Error::NoMemory { model: self.as_str() }) };
        let checkpoint = Checkpoint::open(path)?;
        let (made, said) = self.made_of(&checkpoint)?;
        let note = self.size_notes(&made);
        let missing = Self::absent_video_parts(&made, &checkpoint);
        let Architecture::Sam2(mut cfg) = made else { return Err(Error::NoMemory { model: self.as_str() }) };
        if !missing.is_empty() && checkpoint.keys().any(|key| key.starts_with("sam_mask_decoder.")) {
            return Err(Error::NotForVideo { path: path.to_owned(), missing });
        }
        cfg.tracking.fill_hole_area = options.cleanup.max_hole_area;
        let policy = self.expectation(said);
        let build = |vb: candle_nn::VarBuilder<'static>| Sam2VideoModel::new(&cfg, vb);
        let (model, mut report) = load_strict(&checkpoint, options.dtype, &options.device, &policy, build)?;
        report.notes.extend(note);
        Ok((Sam2VideoPredictor::new(model, options.dtype, &options.device), report))
    }
}
