//! Prompts in, masks out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::HeaderName;
use schemars::JsonSchema;
use seg_data::{RgbImage, Rle};
use seg_models::registry::{ModelKind, ModelName, Segmenter};
use seg_models::{ImageEmbedding, MaskCleanup, MaskPrompt, Prompts};
use serde::{Deserialize, Serialize};

use super::common::{Click, MaskRef, Referred, Seen, Wish, clicks, embedding, picture_of, referred};
use super::results;
use crate::pipeline::{self, Asked, CoarseRecord, Mask, MaskRecord, Pipeline, Segmented, Words};
use crate::serve::App;
use crate::serve::cleaned::Cleaned;
use crate::serve::events::Teller;
use crate::serve::input::Json;
use crate::serve::item::Recipe;
use crate::serve::models::Job;
use crate::serve::problem::{Code, Problem, Result};
use crate::serve::queue::{Class, Turn};
use crate::serve::route::{Answer, Ctx};

/// Longest side of a preview, in pixels.
const PREVIEW_SIDE: u32 = 1024;

/// What a model is asked.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MaskRequest {
    pub model: Option<String>,
    /// Clicks on the object (1) or not on it (0).
    pub points: Vec<Click>,
    /// Left, top, right, bottom.
    pub r#box: Option<[f32; 4]>,
    /// A mask to start from, of any size with the image's shape.
    pub mask: Option<MaskRef>,
    /// Pi-SAM: clicks on errors of the mask of the box, each building on those before it.
    pub refine: Vec<Click>,
    /// Three candidates in place of one mask.
    pub multimask: bool,
    /// Holes of up to so many pixels of the decoder's mask are filled.
    pub fill_holes: u32,
    /// Specks of up to so many pixels of the decoder's mask are removed.
    pub remove_sprinkles: u32,
    /// For the mask under a moving pointer.
    pub preview: bool,
}

/// A mask.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MaskAnswer {
    /// Its name for later requests; previews have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    #[serde(flatten)]
    pub mask: MaskRecord,
    /// Whether the mask is a probability: `rle` is then what is above one half.
    pub soft: bool,
}

/// Where the time went.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Seconds {
    /// Waiting for a turn.
    pub queue: f64,
    pub embed: f64,
    pub predict: f64,
}

/// Masks, best first.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MasksAnswer {
    pub model: &'static str,
    /// Of the image, in pixels.
    pub width: u32,
    pub height: u32,
    pub masks: Vec<MaskAnswer>,
    /// What the first of two stages found, as `hrseg segment --json` tells it.
    pub coarse: Option<CoarseRecord>,
    pub notes: Vec<String>,
    pub seconds: Seconds,
}

pub async fn masks(ctx: Ctx, Json(asked): Json<MaskRequest>) -> Result<Answer<MasksAnswer>> {
    let job = if asked.refine.is_empty() { Job::Click } else { Job::Correct };
    let (name, loaded) = ctx.app.models.get(asked.model.as_deref(), job)?;
    let seen = ctx.picture().await?;
    let question = Question::new(&ctx.app, name, &seen, &asked)?;
    // one that takes text alone has said so by now
    let pipeline =
        loaded.pipeline.clone().ok_or_else(|| Problem::internal(format_args!("{name} without a pipeline")))?;
    let class = match asked.preview {
        true => Class::Preview(format!("{}/{}", seen.item.id, seen.frame)),
        false => Class::Click,
    };
    let wish = pipeline.encoder().map(|(encoder, _)| Wish::new(&ctx.app, &seen.picture, encoder));
    let (app, of) = (Arc::clone(&ctx.app), seen.clone());
    let answer =
        ctx.compute(class, move |turn| question.answer(&app, turn, &pipeline, wish.as_ref(), &of, asked.preview));
    let answer = answer.await?;
    let best = answer.masks.first().and_then(|mask| Some((mask.result.clone()?, mask.mask.predicted_iou)));
    match best {
        Some((result, iou)) if ctx.wants_png() => {
            let file = results::file(&ctx, &seen, &result).await?;
            let file = file.header(HeaderName::from_static("hrseg-result"), &result);
            Ok(Answer::File(match iou {
                Some(iou) => file.header(HeaderName::from_static("hrseg-predicted-iou"), &iou.to_string()),
                None => file,
            }))
        }
        _ => Ok(Answer::Json(answer)),
    }
}

/// A request that the model can take.
struct Question {
    recipe: Recipe,
    notes: Vec<String>,
}

impl Question {
    fn new(app: &App, name: ModelName, seen: &Seen, asked: &MaskRequest) -> Result<Self> {
        let (points, refine) = (clicks(&asked.points, "points")?, clicks(&asked.refine, "refine")?);
        let cleanup = MaskCleanup { max_hole_area: asked.fill_holes, max_sprinkle_area: asked.remove_sprinkles };
        let prompts = Prompts { points, bbox: asked.r#box, mask: None, multimask: asked.multimask };
        let what = Asked { mask: asked.mask.is_some(), ..Asked::of(&prompts, &refine) };
        let refuse = |detail: String| Problem::new(Code::InvalidPrompt, detail);
        pipeline::check(name, what, &Words::FIELDS).map_err(refuse)?;
        let plain = name.kind() == ModelKind::Promptable && !matches!(name, ModelName::PiSam(_));
        if cleanup != MaskCleanup::default() && !plain {
            return Err(refuse(format!("{name} takes no `fill_holes` and `remove_sprinkles`, expected 0")));
        }
        if asked.preview && !plain {
            return Err(
                refuse(format!("{name} gives no previews, expected a model that answers to clicks")).at("preview")
            );
        }
        let mut prompts = prompts;
        prompts.points.extend(refine);
        let (width, height) = seen.picture.photo.dimensions();
        let (placed, notes) = prompts.clamped(width, height)?;
        let prompts = placed.into_owned();
        let mask = asked.mask.as_ref().map(|mask| referred(app, &seen.item, seen.frame, mask)).transpose()?;
        let mask = mask.map(Referred::into_rle);
        Ok(Self { recipe: Recipe { model: name, prompts, mask, cleanup }, notes })
    }

    /// On the thread that computes.
    fn answer(
        self,
        app: &App,
        turn: &Turn,
        pipeline: &Arc<Pipeline>,
        wish: Option<&Wish>,
        seen: &Seen,
        preview: bool,
    ) -> Result<MasksAnswer> {
        let Self { recipe, mut notes } = self;
        let (name, photo) = (recipe.model, &seen.picture.photo);
        let image = photo.seen();
        let prompts = prompts(&recipe, image)?;
        let (embedding, took) = match wish.filter(|_| pipeline.needs_embedding(&prompts)) {
            Some(wish) => {
                let (embedding, _, took) = embedding(wish, turn, pipeline, photo, &Teller::silent())?;
                (Some(embedding), took)
            }
            None => (None, Duration::ZERO),
        };
        turn.check()?;
        let start = Instant::now();
        let cleaned = with_cleanup(pipeline, recipe.cleanup);
        let segmented = match (preview, &embedding) {
            (true, Some(embedding)) => small(&cleaned, prompts, embedding)?,
            _ => cleaned.segment_embedded(image, embedding.as_deref(), &prompts, &())?,
        };
        app.figures.predicted(name.as_str(), start.elapsed());
        let seconds = Seconds {
            queue: turn.waited.as_secs_f64(),
            embed: took.as_secs_f64(),
            predict: start.elapsed().as_secs_f64(),
        };
        notes.extend(segmented.notes);
        let keep = |mask: Mask| {
            let result = (!preview).then(|| results::keep(app, seen, &mask, &recipe));
            MaskAnswer { result, mask: MaskRecord::from(&mask), soft: mask.soft }
        };
        let coarse = segmented.coarse.as_ref().map(CoarseRecord::from);
        let masks = segmented.masks.into_iter().map(keep).collect();
        let (width, height) = image.dimensions();
        Ok(MasksAnswer { model: name.as_str(), width, height, masks, coarse, notes, seconds })
    }
}

/// What the model is asked, with its mask unpacked.
///
/// # Errors
/// A mask that has not the image's shape.
pub fn prompts(recipe: &Recipe, image: &RgbImage) -> Result<Prompts> {
    let mask = recipe.mask.as_ref().map(|mask| laid(mask, recipe.model, image)).transpose()?;
    Ok(Prompts { mask, ..recipe.prompts.clone() })
}

/// A mask as the model takes it: two-stage models want the image's size.
fn laid(mask: &Rle, name: ModelName, image: &RgbImage) -> Result<MaskPrompt> {
    let mask = picture_of(mask);
    let size = image.dimensions();
    if name.kind() != ModelKind::TwoStage || mask.dimensions() == size {
        return Ok(MaskPrompt::Image(mask));
    }
    let (width, height) = mask.dimensions();
    let scaled = f64::from(width) * f64::from(size.1) / f64::from(size.0);
    if (scaled - f64::from(height)).abs() > 1.0 + f64::from(width.max(height)) / f64::from(size.0.min(size.1)) {
        let error = seg_models::Error::MaskShape { mask: (width, height), image: size };
        return Err(Problem::from(error).at("mask"));
    }
    let enlarged = seg_data::resize_pil(&mask, size, seg_data::PilFilter::Bilinear).map_err(Problem::internal)?;
    Ok(MaskPrompt::Image(enlarged))
}

/// Masks at the size of a preview.
fn small(pipeline: &Pipeline, mut prompts: Prompts, embedding: &ImageEmbedding) -> Result<Segmented> {
    let Some((name, model)) = pipeline.encoder() else { return Err(Problem::internal("a preview without a model")) };
    let (width, height) = embedding.original_size;
    let scale = (f64::from(PREVIEW_SIDE) / f64::from(width.max(height))).min(1.0);
    let side = |v: u32| ((f64::from(v) * scale).round() as u32).max(1);
    let size = (side(width), side(height));
    let (sx, sy) = (size.0 as f32 / width as f32, size.1 as f32 / height as f32);
    prompts.points.iter_mut().for_each(|point| (point.x, point.y) = (point.x * sx, point.y * sy));
    prompts.bbox = prompts.bbox.map(|[x0, y0, x1, y1]| [x0 * sx, y0 * sy, x1 * sx, y1 * sy]);
    // the features do not depend on the size that the mask shall have
    let reduced = embedding.at_size(size);
    Ok(Segmented::of_prediction(name, size, &model.predict(&reduced, &prompts)?)?)
}

/// The pipeline with its masks cleaned up; itself without.
fn with_cleanup(pipeline: &Arc<Pipeline>, cleanup: MaskCleanup) -> Arc<Pipeline> {
    match pipeline.encoder() {
        Some((name, model)) if cleanup != MaskCleanup::default() => {
            let cleaned = Cleaned::new(Arc::clone(model), cleanup);
            Arc::new(Pipeline::new(name, Segmenter::Promptable(Box::new(cleaned))))
        }
        _ => Arc::clone(pipeline),
    }
}
