//! The models that are served: loaded one after the other while the server already answers.

use std::sync::{Arc, PoisonError, RwLock};

use schemars::JsonSchema;
use seg_models::PromptableSegmenter;
use seg_models::mpg_sam2::MpgSam2Predictor;
use seg_models::registry::{ModelKind, ModelName};
use seg_models::sam2::video::Sam2VideoPredictor;
use serde::Serialize;

use super::problem::{Code, Problem, Result};
use crate::pipeline::Pipeline;

/// A model in memory, as far as it is one for images, for videos, for sentences.
#[derive(Clone, Default)]
pub struct Loaded {
    /// For images.
    pub pipeline: Option<Arc<Pipeline>>,
    /// For objects that are pointed at in videos.
    pub video: Option<Arc<Sam2VideoPredictor>>,
    /// For sentences about videos.
    pub text: Option<Arc<MpgSam2Predictor>>,
}

/// Models that are in memory already: a two-stage one shares its first stage with them.
pub type Others<'a> = &'a dyn Fn(ModelName) -> Option<Arc<dyn PromptableSegmenter>>;

/// Brings a model into memory.
pub type Open = Box<dyn FnOnce(Others<'_>) -> std::result::Result<Loaded, String> + Send>;

/// A model to be served.
pub struct Source {
    /// Under which it is asked for.
    pub name: ModelName,
    /// How it comes into memory, once the server runs.
    pub open: Open,
}

enum State {
    Loading,
    Ready(Arc<Loaded>),
    Failed(String),
}

/// All of them, in the order given.
pub struct Models {
    slots: Vec<(ModelName, RwLock<State>)>,
}

/// What a model is asked to do when a request names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    Click,
    Everything,
    Exact,
    Correct,
    Subject,
    Video,
    Text,
}

/// How a model is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Promptable,
    PromptFree,
    TwoStage,
    Referring,
}

/// What a model can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    Points,
    Box,
    Mask,
    Multimask,
    Everything,
    /// Makes a coarse mask exact.
    Exact,
    /// Clicks on errors of a mask (Pi-SAM).
    Refine,
    /// Finds the object by itself.
    Subject,
    /// Follows objects through a video.
    Video,
    /// Finds what a sentence says in a video.
    Text,
}

/// Whether a model can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Readiness {
    Ready,
    Loading,
    Failed,
}

/// A model, for programs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ModelRecord {
    pub name: &'static str,
    pub kind: Kind,
    pub tasks: Vec<Task>,
    pub state: Readiness,
    /// Why it could not be loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Models whose embeddings it uses, too.
    pub shares_embedding: Vec<&'static str>,
}

/// Which model is taken for a job when a request names none; null where there is none.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Defaults {
    pub click: Option<&'static str>,
    pub everything: Option<&'static str>,
    pub exact: Option<&'static str>,
    pub correct: Option<&'static str>,
    pub subject: Option<&'static str>,
    pub video: Option<&'static str>,
    pub text: Option<&'static str>,
}

/// The models and what they are for.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ModelList {
    pub models: Vec<ModelRecord>,
    pub defaults: Defaults,
}

impl Job {
    fn task(self) -> Task {
        match self {
            Self::Click => Task::Points,
            Self::Everything => Task::Everything,
            Self::Exact => Task::Exact,
            Self::Correct => Task::Refine,
            Self::Subject => Task::Subject,
            Self::Video => Task::Video,
            Self::Text => Task::Text,
        }
    }
}

/// What a model can be asked for. That SAM 2 follows objects is held true until its weights turn out to be for images alone.
fn tasks(name: ModelName, loaded: Option<&Loaded>) -> Vec<Task> {
    let mut tasks = match (name.kind(), name) {
        (_, ModelName::PiSam(_)) => vec![Task::Box, Task::Mask, Task::Refine],
        (ModelKind::Promptable, _) => vec![Task::Points, Task::Box, Task::Mask, Task::Multimask, Task::Everything],
        (ModelKind::TwoStage, _) => vec![Task::Points, Task::Box, Task::Mask, Task::Exact],
        (ModelKind::PromptFree, _) => vec![Task::Subject],
        (ModelKind::Referring, _) => vec![Task::Text],
    };
    let video = loaded.map_or(matches!(name, ModelName::Sam2(..)), |loaded| loaded.video.is_some());
    if video {
        tasks.push(Task::Video);
    }
    tasks
}

impl Models {
    pub fn new(names: impl IntoIterator<Item = ModelName>) -> Self {
        Self { slots: names.into_iter().map(|name| (name, RwLock::new(State::Loading))).collect() }
    }

    /// Loads them one after the other; `gone` says that nobody wants them any more.
    pub fn load(&self, sources: Vec<Source>, gone: &dyn Fn() -> bool) {
        for Source { name, open } in sources {
            if gone() {
                return;
            }
            let others = |wanted: ModelName| {
                let loaded = self.loaded(wanted)?;
                loaded.pipeline.as_ref()?.encoder().map(|(_, model)| Arc::clone(model))
            };
            // a model that panics while it is loaded harms no other
            let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| open(&others)));
            let state = match opened.unwrap_or_else(|_| Err("loading it broke off, by a fault of the program".into())) {
                Ok(loaded) => {
                    tracing::info!("{name} is ready");
                    State::Ready(Arc::new(loaded))
                }
                Err(why) => {
                    tracing::warn!("{name} is not served: {why}");
                    State::Failed(why)
                }
            };
            if let Some((_, slot)) = self.slots.iter().find(|(slot, _)| *slot == name) {
                *slot.write().unwrap_or_else(PoisonError::into_inner) = state;
            }
        }
    }

    fn loaded(&self, wanted: ModelName) -> Option<Arc<Loaded>> {
        let (_, slot) = self.slots.iter().find(|(name, _)| *name == wanted)?;
        match &*slot.read().unwrap_or_else(PoisonError::into_inner) {
            State::Ready(loaded) => Some(Arc::clone(loaded)),
            _ => None,
        }
    }

    /// Whether none is being loaded any more.
    pub fn settled(&self) -> bool {
        !self
            .slots
            .iter()
            .any(|(_, slot)| matches!(&*slot.read().unwrap_or_else(PoisonError::into_inner), State::Loading))
    }

    /// The model called `name`, or the usual one for `job`.
    ///
    /// # Errors
    /// A name that is not served, a model that is being loaded or could not be.
    pub fn get(&self, name: Option<&str>, job: Job) -> Result<(ModelName, Arc<Loaded>)> {
        let list = self.list();
        let served = || list.models.iter().map(|model| model.name).collect::<Vec<_>>().join(", ");
        let Some(name) = name.or_else(|| list.defaults.of(job)) else {
            let detail = format!("no model that is served does that; there are {}", served());
            return Err(Problem::new(Code::UnknownModel, detail).at("model"));
        };
        let Some((name, slot)) = self.slots.iter().find(|(slot, _)| slot.as_str() == name) else {
            // of what came from outside no more than a name's worth is repeated
            let name: String = name.chars().take(40).collect();
            let detail = format!("`{name}` is not served; there are {}", served());
            return Err(Problem::new(Code::UnknownModel, detail).at("model"));
        };
        match &*slot.read().unwrap_or_else(PoisonError::into_inner) {
            State::Ready(loaded) => Ok((*name, Arc::clone(loaded))),
            State::Loading => Err(Problem::new(Code::Loading, format!("{name} is still being loaded")).retry_after(1)),
            State::Failed(why) => {
                Err(Problem::new(Code::UnknownModel, format!("{name} could not be loaded: {why}")).at("model"))
            }
        }
    }

    /// All of them, for programs.
    pub fn list(&self) -> ModelList {
        let mut models = Vec::with_capacity(self.slots.len());
        for (name, slot) in &self.slots {
            let state = slot.read().unwrap_or_else(PoisonError::into_inner);
            let (readiness, loaded, detail) = match &*state {
                State::Ready(loaded) => (Readiness::Ready, Some(loaded.as_ref()), None),
                State::Loading => (Readiness::Loading, None, None),
                State::Failed(why) => (Readiness::Failed, None, Some(why.clone())),
            };
            let encoder = loaded.and_then(|loaded| loaded.pipeline.as_ref()?.encoder().map(|(encoder, _)| encoder));
            models.push(ModelRecord {
                name: name.as_str(),
                kind: match name.kind() {
                    ModelKind::Promptable => Kind::Promptable,
                    ModelKind::PromptFree => Kind::PromptFree,
                    ModelKind::TwoStage => Kind::TwoStage,
                    ModelKind::Referring => Kind::Referring,
                },
                tasks: tasks(*name, loaded),
                state: readiness,
                detail,
                shares_embedding: encoder
                    .filter(|encoder| encoder != name)
                    .map(ModelName::as_str)
                    .into_iter()
                    .collect(),
            });
        }
        let usable =
            |model: &&ModelRecord, job: Job| model.state != Readiness::Failed && model.tasks.contains(&job.task());
        let first = |job: Job, kind: Option<Kind>| {
            let mut fitting = models.iter().filter(|model| usable(model, job));
            fitting.find(|model| kind.is_none_or(|kind| model.kind == kind)).map(|model| model.name)
        };
        let defaults = Defaults {
            // a click is for the quick model; a two-stage one only where there is no other
            click: first(Job::Click, Some(Kind::Promptable)).or_else(|| first(Job::Click, None)),
            everything: first(Job::Everything, None),
            exact: first(Job::Exact, None),
            correct: first(Job::Correct, None),
            subject: first(Job::Subject, None),
            video: first(Job::Video, None),
            text: first(Job::Text, None),
        };
        ModelList { models, defaults }
    }
}

impl Defaults {
    fn of(&self, job: Job) -> Option<&'static str> {
        match job {
            Job::Click => self.click,
            Job::Everything => self.everything,
            Job::Exact => self.exact,
            Job::Correct => self.correct,
            Job::Subject => self.subject,
            Job::Video => self.video,
            Job::Text => self.text,
        }
    }
}
