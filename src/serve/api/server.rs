//! What the server is and has.

use schemars::JsonSchema;
use serde::Serialize;

use crate::serve::input::NoBody;
use crate::serve::models::ModelList;
use crate::serve::page::SAMPLES;
use crate::serve::problem::Result;
use crate::serve::route::{Answer, Ctx};

/// What the server is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Info {
    pub name: &'static str,
    pub version: &'static str,
    /// Whether requests need a token.
    pub token_required: bool,
    /// Seconds that an image or video stays after it was last used.
    pub expires_in: u64,
    pub limits: Limits,
    /// Pictures to try it with.
    pub samples: Vec<Sample>,
}

/// What is refused beyond.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Limits {
    pub image_bytes: u64,
    pub video_bytes: u64,
    pub pixels: u64,
    pub frames: usize,
    /// Requests that may wait for a model.
    pub queue: usize,
    /// Seconds that a request may take.
    pub time_seconds: f64,
}

/// A picture to try it with.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Sample {
    /// From the page's address.
    pub href: &'static str,
    pub title: &'static str,
}

pub async fn info(ctx: Ctx, _: NoBody) -> Result<Answer<Info>> {
    let options = &ctx.app.options;
    Ok(Answer::Json(Info {
        name: "hrseg",
        version: env!("CARGO_PKG_VERSION"),
        token_required: ctx.app.guard.wants_token(),
        expires_in: ctx.app.store.expires_in(),
        limits: Limits {
            image_bytes: options.max_body,
            video_bytes: options.max_video,
            pixels: options.decode.max_pixels,
            frames: options.max_frames,
            queue: options.queue,
            time_seconds: options.time_limit.as_secs_f64(),
        },
        samples: SAMPLES.iter().map(|(href, title, _)| Sample { href, title }).collect(),
    }))
}

pub async fn models(ctx: Ctx, _: NoBody) -> Result<Answer<ModelList>> {
    Ok(Answer::Json(ctx.app.models.list()))
}
