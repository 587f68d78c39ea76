//! Who is told how the work goes on.

use std::path::PathBuf;

use seg_checkpoints::{FetchOptions, LoadReport, resolve};

use super::error::Result;

/// Is told how the work goes on. `&()` does not listen.
pub trait Watch {
    /// What is being done right now, in a word or two.
    fn stage(&self, _what: &str) {}

    /// Something that the user should know.
    fn note(&self, _note: &str) {}

    /// A checkpoint was read, and had all that is needed.
    fn loaded(&self, _report: &LoadReport) {}

    /// A checkpoint was read that has less than the model: the rest is zero.
    fn lacking(&self, report: &LoadReport) {
        self.note(report.to_string().trim_end());
    }

    /// Finds the checkpoint called `name` in the manifest: where `given` says, in the cache, or fetched.
    ///
    /// # Errors
    /// When it is nowhere to be had.
    fn find(&self, name: &str, given: Option<&str>) -> Result<PathBuf> {
        Ok(resolve(name, given, &FetchOptions::from_env()?)?.path)
    }
}

impl Watch for () {}
