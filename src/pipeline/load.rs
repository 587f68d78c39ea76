//! From a model's name to a model in memory.

use std::path::Path;
use std::sync::Arc;

use seg_checkpoints::{Checkpoint, LoadReport};
use seg_models::PromptableSegmenter;
use seg_models::registry::{LoadOptions, ModelKind, ModelName};

use super::error::Result;
use super::{Pipeline, Watch};

/// Where a pipeline's weights are.
#[derive(Clone, Default)]
pub struct Sources<'a> {
    /// The model's: a file, a folder that has it, or `hub:owner/repo/file`; by default the manifest's sources.
    pub weights: Option<&'a str>,
    /// The first of two stages.
    pub first_stage: FirstStage<'a>,
    /// The checkpoint of SAM that Pi-SAM's encoder is from, where `weights` has none; by default the manifest's sources.
    pub base: Option<&'a str>,
}

/// The first of two stages; other models do not look at it.
#[derive(Clone, Default)]
pub enum FirstStage<'a> {
    /// The usual one of the model, loaded from the manifest's sources.
    #[default]
    Usual,
    /// To be loaded: the model, or the usual one, and where its weights are.
    Load(Option<ModelName>, Option<&'a str>),
    /// In memory already.
    Loaded(ModelName, Arc<dyn PromptableSegmenter>),
    /// None: every question brings its coarse mask.
    Absent,
}

impl Pipeline {
    /// Finds or fetches the weights and loads the model; `watch` hears what they lack.
    ///
    /// # Errors
    /// Weights that cannot be had or are of another model.
    pub fn load(name: ModelName, sources: &Sources<'_>, options: &LoadOptions, watch: &dyn Watch) -> Result<Self> {
        let path = watch.find(name.weights(), sources.weights)?;
        let two = name.kind() == ModelKind::TwoStage;
        let first = if two { first_stage(name, &sources.first_stage, options, watch)? } else { None };
        let base = match name {
            ModelName::PiSam(_) if !holds_encoder(&path)? => {
                let sam = name.base().map_or("sam-vit-b", ModelName::weights);
                Some(watch.find(sam, sources.base)?)
            }
            _ => None,
        };
        watch.stage(&format!("loading {name}"));
        let (segmenter, reports) = name.open(&path, base.as_deref(), options)?;
        tell(&reports, watch);
        let pipeline = Self::new(name, segmenter);
        Ok(match first {
            Some((name, model)) => pipeline.with_first_stage(name, model),
            None => pipeline,
        })
    }
}

/// The first stage of `name`, if it is to have one.
fn first_stage(
    name: ModelName,
    wanted: &FirstStage<'_>,
    options: &LoadOptions,
    watch: &dyn Watch,
) -> Result<Option<(ModelName, Arc<dyn PromptableSegmenter>)>> {
    let (first, weights) = match wanted {
        FirstStage::Absent => return Ok(None),
        FirstStage::Loaded(first, model) => return Ok(Some((*first, Arc::clone(model)))),
        FirstStage::Usual => (name.base(), None),
        FirstStage::Load(first, weights) => (first.or_else(|| name.base()), *weights),
    };
    let Some(first) = first else { return Ok(None) };
    let file = watch.find(first.weights(), weights)?;
    watch.stage(&format!("loading {first}"));
    let (model, report) = first.load(&file, options)?;
    tell(&[report], watch);
    Ok(Some((first, model.into())))
}

/// Whether a file of Pi-SAM has SAM's encoder beside the decoder.
fn holds_encoder(path: &Path) -> Result<bool> {
    Ok(Checkpoint::open(path)?.keys().any(|key| key.starts_with("image_encoder.")))
}

/// Says what a file lacked, and what it is good for.
pub fn tell(reports: &[LoadReport], watch: &dyn Watch) {
    for report in reports {
        if !report.zero_filled.is_empty() {
            watch.lacking(report);
            continue;
        }
        watch.loaded(report);
        report.notes.iter().for_each(|note| watch.note(note));
    }
}
