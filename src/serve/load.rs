//! Bringing models into memory.

use std::sync::Arc;

use seg_checkpoints::LoadReport;
use seg_models::registry::{LoadOptions, ModelKind, ModelName, Segmenter};
use seg_models::sam2::Sam2ImagePredictor;

use super::models::{Loaded, Others, Source};
use crate::pipeline::{FirstStage, Pipeline, Sources, Watch, tell};

/// Tells the log.
struct Log(ModelName);

impl Watch for Log {
    fn stage(&self, what: &str) {
        tracing::info!("{}: {what}", self.0);
    }

    fn note(&self, note: &str) {
        tracing::info!("{}: {note}", self.0);
    }

    fn lacking(&self, report: &LoadReport) {
        tracing::warn!("{}: {}", self.0, report.to_string().trim_end());
    }

    fn loaded(&self, report: &LoadReport) {
        tracing::info!("{report}");
    }
}

/// The model `name`, from where `given` says its weights and those of models that it needs are, or from the manifest's sources.
pub fn source(
    name: ModelName,
    options: LoadOptions,
    given: impl Fn(ModelName) -> Option<String> + Send + 'static,
) -> Source {
    // here weights are given to a name
    let told = move |error: crate::pipeline::Error| {
        error.to_string().replace("--weights FILE", &format!("--weights {name}=FILE"))
    };
    let open = move |others: Others<'_>| load(name, &options, &given, others).map_err(told);
    Source { name, open: Box::new(open) }
}

fn load(
    name: ModelName,
    options: &LoadOptions,
    given: &dyn Fn(ModelName) -> Option<String>,
    others: Others<'_>,
) -> crate::pipeline::Result<Loaded> {
    let log = Log(name);
    let weights = given(name);
    if name.kind() == ModelKind::Referring {
        let path = log.find(name.weights(), weights.as_deref())?;
        let (predictor, report) = name.open_referring(&path, None, options)?;
        tell(&[report], &log);
        return Ok(Loaded { text: Some(Arc::new(predictor)), ..Loaded::default() });
    }
    if let ModelName::Sam2(..) = name {
        let path = log.find(name.weights(), weights.as_deref())?;
        match name.open_video(&path, options) {
            Ok((predictor, report)) => {
                tell(&[report], &log);
                // one set of weights for images and for videos
                let image = predictor.model().image_model().clone();
                let image = Sam2ImagePredictor::new(image, options.cleanup, options.dtype, &options.device);
                let pipeline = Pipeline::new(name, Segmenter::Promptable(Box::new(image)));
                return Ok(Loaded { pipeline: Some(Arc::new(pipeline)), video: Some(Arc::new(predictor)), text: None });
            }
            // good for images all the same; what is wrong otherwise is told by the other way
            Err(seg_models::Error::NotForVideo { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let base = name.base();
    let of_base = base.and_then(given);
    let first_stage = match base.and_then(|base| Some((base, others(base)?))) {
        Some((base, model)) => FirstStage::Loaded(base, model),
        None => FirstStage::Load(None, of_base.as_deref()),
    };
    let sources = Sources { weights: weights.as_deref(), first_stage, base: of_base.as_deref() };
    let pipeline = Pipeline::load(name, &sources, options, &log)?;
    Ok(Loaded { pipeline: Some(Arc::new(pipeline)), ..Loaded::default() })
}
