//! All masks of a picture.

use std::sync::Arc;

use schemars::JsonSchema;
use seg_models::AutomaticMaskConfig;
use serde::{Deserialize, Serialize};

use super::common::{RunLengths, Wish, embedding};
use crate::pipeline;
use crate::pipeline::everything::defaults;
use crate::serve::events::Stage;
use crate::serve::input::Json;
use crate::serve::models::Job;
use crate::serve::problem::{Code, Problem, Result};
use crate::serve::queue::Class;
use crate::serve::route::{Answer, Ctx};

/// How it is looked for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EverythingRequest {
    pub model: Option<String>,
    /// Clicks along each side, 1 to 64: 32 where it is left out.
    pub points_per_side: Option<usize>,
}

/// What was found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Everything {
    pub model: &'static str,
    /// Best first.
    pub masks: Vec<FoundMask>,
}

/// A mask that nobody asked for by name.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct FoundMask {
    pub result: String,
    pub predicted_iou: f32,
    /// How little the mask changes with the threshold, 0..1.
    pub stability_score: f32,
    /// The click that it comes from.
    pub point: [f64; 2],
    pub area: u64,
    pub area_share: f64,
    /// Left, top, width, height.
    pub bbox: [u32; 4],
    pub soft: bool,
    pub rle: RunLengths,
}

pub async fn everything(ctx: Ctx, Json(asked): Json<EverythingRequest>) -> Result<Answer<Everything>> {
    const MOST: usize = 64;
    let points_per_side = asked.points_per_side.unwrap_or(32);
    if !(1..=MOST).contains(&points_per_side) {
        let detail = format!("{points_per_side} points a side, expected 1 to {MOST}");
        return Err(Problem::new(Code::InvalidRequest, detail).at("points_per_side"));
    }
    let (name, loaded) = ctx.app.models.get(asked.model.as_deref(), Job::Everything)?;
    let seen = ctx.picture().await?;
    let (Some(pipeline), Some(official)) = (loaded.pipeline.clone(), defaults(name)) else {
        let detail = pipeline::Error::NotEverything { model: name }.to_string();
        return Err(Problem::new(Code::InvalidPrompt, detail).at("model"));
    };
    let wish = Wish::new(&ctx.app, &seen.picture, name);
    let app = Arc::clone(&ctx.app);
    ctx.told(Class::Long, move |turn, teller| {
        let photo = &seen.picture.photo;
        let (embedding, ..) = embedding(&wish, turn, &pipeline, photo, teller)?;
        let mut stopped = Ok(());
        let mut tell = |done, of| {
            stopped = teller.stage(&Stage::steps("looking", done, of)).and_then(|()| turn.step());
            stopped.is_ok()
        };
        let settings = AutomaticMaskConfig { points_per_side, ..official };
        let found = pipeline.everything(photo.seen(), Some(&embedding), &settings, &mut tell)?;
        stopped?;
        let (width, height) = photo.dimensions();
        let pixels = f64::from(width) * f64::from(height);
        let masks = found.unwrap_or_default().into_iter().map(|mask| {
            let (result, bytes) = seen.item.keep(seen.frame, mask.rle.clone(), None);
            app.store.grow(&seen.item.id, bytes);
            FoundMask {
                result,
                predicted_iou: mask.predicted_iou,
                stability_score: mask.stability_score,
                point: mask.point,
                area: mask.area,
                area_share: mask.area as f64 / pixels,
                bbox: mask.rle.bbox(),
                soft: false,
                rle: RunLengths::from(&mask.rle),
            }
        });
        Ok(Everything { model: name.as_str(), masks: masks.collect() })
    })
    .await
}
