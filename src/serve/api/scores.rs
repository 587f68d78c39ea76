//! Masks against a truth.

use std::sync::Arc;

use schemars::JsonSchema;
use seg_data::inside::decode_levels;
use seg_data::{GrayImage, MaskReader, MaskRole, Meaning, Rle};
use seg_metrics::{Evaluator, Metric, PROTOCOLS, Plane, Protocol};
use serde::{Deserialize, Serialize};

use super::common::{MaskRef, Referred, RunLengths, picture_of, referred};
use super::results::levels;
use crate::pipeline::lay;
use crate::serve::input::{Json, Upload};
use crate::serve::problem::{Code, Problem, Result};
use crate::serve::route::{Answer, Ctx};

/// What a truth is called in errors, from which it is taken out again.
const NAME: &str = "truth";

/// The figures that are told: their names, what they are called, and whether more is better.
const FIGURES: [(&str, &str, Better); 8] = [
    ("mask_iou", "IoU", Better::Higher),
    ("boundary_iou", "Boundary IoU", Better::Higher),
    ("fmeasure.max", "Max F", Better::Higher),
    ("wfm_beta1", "Weighted F", Better::Higher),
    ("smeasure.sm", "S-measure", Better::Higher),
    ("emeasure.mean", "Mean E", Better::Higher),
    ("mae", "MAE", Better::Lower),
    ("hce", "HCE", Better::Lower),
];

/// What they are measured by.
const METRICS: [Metric; 8] = [
    Metric::MaskIou,
    Metric::BoundaryIou,
    Metric::Fmeasure,
    Metric::Wfm,
    Metric::Smeasure,
    Metric::Emeasure,
    Metric::Mae,
    Metric::Hce,
];

/// A truth that is there now.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TruthAnswer {
    /// Its name.
    pub truth: String,
    /// Pixels inside.
    pub area: u64,
    /// Left, top, width, height.
    pub bbox: [u32; 4],
    pub notes: Vec<String>,
    pub rle: RunLengths,
}

pub async fn truth(ctx: Ctx, Upload(bytes): Upload) -> Result<Answer<TruthAnswer>> {
    let seen = ctx.picture().await?;
    let (limits, picture) = (ctx.app.options.decode.clone(), Arc::clone(&seen.picture));
    let (levels, rle, notes) = ctx
        .aside(move || {
            let read = decode_levels(&bytes, NAME, MaskRole::Truth, MaskReader::Meaning, &limits);
            let read = read.map_err(|error| Problem::of_file(&error, NAME))?;
            let mut notes = read.notes;
            if read.meaning != Meaning::Levels {
                notes.push(format!("it has {}", read.meaning));
            }
            let mut levels = read.levels;
            let (width, height) = picture.photo.dimensions();
            if let Some((turned, note)) = lay(&levels, &picture.photo.loaded) {
                notes.push(note);
                levels = turned.unwrap_or(levels);
            }
            if levels.dimensions() != (width, height) {
                let (w, h) = levels.dimensions();
                let detail = format!("the truth is {w}x{h} pixels, expected the size of the image, {width}x{height}");
                return Err(Problem::new(Code::Unreadable, detail));
            }
            let inside: Vec<u8> = levels.as_raw().iter().map(|&level| u8::from(level > 128)).collect();
            let rle = Rle::encode(&inside, width, height).map_err(Problem::internal)?;
            Ok((levels, rle, notes))
        })
        .await?;
    let bytes = levels.as_raw().len() as u64;
    let truth = seen.item.keep_truth(seen.frame, levels);
    ctx.app.store.grow(&seen.item.id, bytes);
    Ok(Answer::Json(TruthAnswer { truth, area: rle.area(), bbox: rle.bbox(), notes, rle: RunLengths::from(&rle) }))
}

/// Which mask against which truth.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScoresRequest {
    pub truth: String,
    pub mask: MaskRef,
    /// `default` where it is left out.
    #[serde(default)]
    pub protocol: Option<String>,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Higher,
    Lower,
}

/// A figure.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Score {
    /// As `hrseg evaluate` names it.
    pub metric: &'static str,
    /// For people.
    pub label: &'static str,
    /// Null where it is undefined.
    pub value: Option<f64>,
    pub better: Better,
}

/// The figures of a mask.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ScoresAnswer {
    pub protocol: String,
    pub scores: Vec<Score>,
}

pub async fn scores(ctx: Ctx, Json(asked): Json<ScoresRequest>) -> Result<Answer<ScoresAnswer>> {
    let name = asked.protocol.as_deref().unwrap_or("default");
    let protocol = Protocol::named(name).ok_or_else(|| {
        let detail = format!("no such protocol, expected one of {}", PROTOCOLS.join(", "));
        Problem::new(Code::InvalidRequest, detail).at("protocol")
    })?;
    let seen = ctx.picture().await?;
    let truth = seen.item.truth(seen.frame, &asked.truth).ok_or_else(|| Problem::unknown_id("truth"))?;
    let mask = referred(&ctx.app, &seen.item, seen.frame, &asked.mask)?.of_size(seen.picture.photo.dimensions())?;
    let mask = match mask {
        Referred::Kept(kept) => levels(&ctx, &seen, &kept).await?,
        Referred::Sent(rle) => ctx.aside(move || Ok(Arc::new(picture_of(&rle)))).await?,
    };
    let scores = ctx.aside(move || measure(&mask, &truth.levels, protocol)).await?;
    Ok(Answer::Json(scores))
}

fn measure(mask: &GrayImage, truth: &GrayImage, protocol: Protocol) -> Result<ScoresAnswer> {
    let evaluator = Evaluator::new(protocol, &METRICS);
    let measured = plane(mask).and_then(|mask| evaluator.measure(mask, plane(truth)?));
    let measured = measured.map_err(|error| Problem::new(Code::InvalidPrompt, error.to_string()))?;
    let score = |(metric, label, better): (&'static str, &'static str, Better)| {
        let value = measured.value(metric)?;
        Some(Score { metric, label, value: Some(value).filter(|value| value.is_finite()), better })
    };
    let scores = FIGURES.into_iter().filter_map(score).collect();
    Ok(ScoresAnswer { protocol: evaluator.protocol().name.to_string(), scores })
}

fn plane(image: &GrayImage) -> seg_metrics::Result<Plane<'_>> {
    Plane::new(image.as_raw(), image.width() as usize, image.height() as usize)
}
