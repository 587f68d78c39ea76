//! The slow half of a click, done beforehand.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Outcome, Wish, embedding};
use crate::serve::input::Json;
use crate::serve::models::Job;
use crate::serve::problem::{Code, Problem, Result};
use crate::serve::queue::Class;
use crate::serve::route::{Answer, Ctx};

/// Which model shall look at the picture.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddingRequest {
    pub model: Option<String>,
}

/// It has.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Embedded {
    pub model: &'static str,
    /// Whether it had before.
    pub cached: bool,
    /// How long that took; 0 where it had before.
    pub seconds: f64,
}

pub async fn embed(ctx: Ctx, Json(asked): Json<EmbeddingRequest>) -> Result<Answer<Embedded>> {
    let (name, loaded) = ctx.app.models.get(asked.model.as_deref(), Job::Click)?;
    let seen = ctx.picture().await?;
    let encoder = loaded.pipeline.as_ref().and_then(|pipeline| Some((pipeline.clone(), pipeline.encoder()?.0)));
    let Some((pipeline, encoder)) = encoder else {
        let detail = format!("{name} has no embeddings: ask it at once");
        return Err(Problem::new(Code::InvalidPrompt, detail).at("model"));
    };
    let wish = Wish::new(&ctx.app, &seen.picture, encoder);
    ctx.told(Class::Click, move |turn, teller| {
        let (_, outcome, took) = embedding(&wish, turn, &pipeline, &seen.picture.photo, teller)?;
        Ok(Embedded { model: name.as_str(), cached: outcome != Outcome::Computed, seconds: took.as_secs_f64() })
    })
    .await
}
