//! From a model's name to a model in memory.

use seg_checkpoints::{FetchOptions, Origin, resolve};
use seg_models::PromptableSegmenter;
use seg_models::registry::LoadOptions;

use super::SegmentArgs;
use crate::cli::progress::Progress;

/// Finds or fetches the weights and loads the model; says where they came from and what they lack.
pub fn load_model(
    args: &SegmentArgs,
    options: &LoadOptions,
    progress: &Progress,
) -> anyhow::Result<Box<dyn PromptableSegmenter>> {
    let fetch = FetchOptions::from_env()?;
    let resolved = progress.paused(|| resolve(args.model.as_str(), args.weights.as_deref(), &fetch))?;
    match &resolved.origin {
        Origin::Fetched(source) => {
            progress.message(&format!("weights: {} from {source}", resolved.path.display()));
        }
        Origin::Cache => tracing::info!("weights: {} (cached)", resolved.path.display()),
        Origin::Given => tracing::info!("weights: {}", resolved.path.display()),
    }
    progress.stage("loading the model");
    let (model, report) = args.model.load(&resolved.path, options)?;
    if report.zero_filled.is_empty() && report.notes.is_empty() {
        tracing::info!("{report}");
    } else {
        progress.message(report.to_string().trim_end());
    }
    Ok(model)
}
