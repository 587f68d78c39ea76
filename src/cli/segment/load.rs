//! How the command tells of weights.

use std::path::PathBuf;

use seg_checkpoints::{FetchOptions, LoadReport, Origin, resolve};

use crate::cli::progress::Progress;
use crate::pipeline::{Result, Watch};

impl Watch for Progress {
    fn stage(&self, what: &str) {
        Self::stage(self, what);
    }

    fn note(&self, note: &str) {
        self.message(&format!("note: {note}"));
    }

    fn loaded(&self, report: &LoadReport) {
        tracing::info!("{report}");
    }

    fn lacking(&self, report: &LoadReport) {
        self.message(report.to_string().trim_end());
    }

    fn find(&self, name: &str, given: Option<&str>) -> Result<PathBuf> {
        let fetch = FetchOptions::from_env()?;
        let resolved = self.paused(|| resolve(name, given, &fetch))?;
        match &resolved.origin {
            Origin::Fetched(source) => {
                self.message(&format!("weights: {} from {source}", resolved.path.display()));
            }
            Origin::Cache => tracing::info!("weights: {} (cached)", resolved.path.display()),
            Origin::Given => tracing::info!("weights: {}", resolved.path.display()),
        }
        Ok(resolved.path)
    }
}

/// The progress of one image: what is being done, behind its name.
pub struct OfImage<'a> {
    pub name: String,
    pub progress: &'a Progress,
}

impl Watch for OfImage<'_> {
    fn stage(&self, what: &str) {
        self.progress.stage(&format!("{}: {what}", self.name));
    }

    fn note(&self, note: &str) {
        self.progress.message(&format!("note: {}: {note}", self.name));
    }
}
