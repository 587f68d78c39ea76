//! From a model's name to a model in memory.

use std::path::PathBuf;

use seg_checkpoints::{Checkpoint, FetchOptions, LoadReport, Origin, resolve};
use seg_models::PromptableSegmenter;
use seg_models::registry::{LoadOptions, ModelKind, ModelName, Segmenter};

use super::SegmentArgs;
use crate::cli::progress::Progress;

/// What one run needs.
pub struct Models {
    pub segmenter: Segmenter,
    /// The first of two stages, unless its mask is given.
    pub first: Option<Box<dyn PromptableSegmenter>>,
}

/// Finds or fetches the weights and loads the models; says where they came from and what they lack.
pub fn load_models(args: &SegmentArgs, options: &LoadOptions, progress: &Progress) -> anyhow::Result<Models> {
    let path = find(args.model.weights(), args.weights.as_deref(), progress)?;
    let first_stage = args.first_stage().filter(|_| args.mask.is_none());
    let mut first = None;
    let mut base = None;
    match (args.model.kind(), args.model, first_stage) {
        (ModelKind::TwoStage, _, Some(name)) => {
            let file = find(name.weights(), args.stage_one_weights.as_deref(), progress)?;
            progress.stage(&format!("loading {name}"));
            let (model, report) = name.load(&file, options)?;
            tell(&[report], progress);
            first = Some(model);
        }
        (_, ModelName::PiSam(_), _) if !holds_encoder(&path)? => {
            let sam = args.model.base().map_or("sam-vit-b", ModelName::weights);
            base = Some(find(sam, args.stage_one_weights.as_deref(), progress)?);
        }
        _ => {}
    }
    progress.stage(&format!("loading {}", args.model));
    let (segmenter, reports) = args.model.open(&path, base.as_deref(), options)?;
    tell(&reports, progress);
    Ok(Models { segmenter, first })
}

/// The checkpoint of `name`, from where the user says or else from the manifest's sources.
pub(in crate::cli) fn find(name: &str, given: Option<&str>, progress: &Progress) -> anyhow::Result<PathBuf> {
    let fetch = FetchOptions::from_env()?;
    let resolved = progress.paused(|| resolve(name, given, &fetch))?;
    match &resolved.origin {
        Origin::Fetched(source) => {
            progress.message(&format!("weights: {} from {source}", resolved.path.display()));
        }
        Origin::Cache => tracing::info!("weights: {} (cached)", resolved.path.display()),
        Origin::Given => tracing::info!("weights: {}", resolved.path.display()),
    }
    Ok(resolved.path)
}

/// Whether a file of Pi-SAM has SAM's encoder beside the decoder.
fn holds_encoder(path: &std::path::Path) -> anyhow::Result<bool> {
    Ok(Checkpoint::open(path)?.keys().any(|key| key.starts_with("image_encoder.")))
}

pub(in crate::cli) fn tell(reports: &[LoadReport], progress: &Progress) {
    for report in reports {
        if !report.zero_filled.is_empty() {
            progress.message(report.to_string().trim_end());
            continue;
        }
        tracing::info!("{report}");
        for note in &report.notes {
            progress.message(&format!("note: {note}"));
        }
    }
}
