//! Objects through a video: what is pointed at, or what a sentence says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use schemars::JsonSchema;
use seg_models::mpg_sam2::MpgSam2Predictor;
use seg_models::registry::ModelName;
use seg_models::sam2::video::{Direction, FrameMasks, Sam2VideoPredictor, SessionOptions, VideoFrame, VideoSession};
use seg_models::{MaskPrompt, Prompts};
use serde::{Deserialize, Serialize};

use super::common::{Click, MaskRef, clicks, picture_of, referred};
use crate::pipeline::frames::{self, ObjectRecord, Ways};
use crate::serve::App;
use crate::serve::events::{Stage, Teller};
use crate::serve::input::Json;
use crate::serve::item::Item;
use crate::serve::models::Job;
use crate::serve::problem::{Code, Problem, Result};
use crate::serve::queue::{Class, Turn};
use crate::serve::route::{Answer, Ctx};

/// Most prompts of a video.
const MOST_PROMPTS: usize = 10_000;

/// What is to be followed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PropagateRequest {
    #[serde(default)]
    pub model: Option<String>,
    #[serde(default)]
    pub direction: Ways,
    /// The frame from which on frames are told; by default the first that has a prompt (backward: the last).
    #[serde(default)]
    pub from: Option<usize>,
    /// The last frame that is told, in either of the two directions.
    #[serde(default)]
    pub to: Option<usize>,
    pub prompts: Vec<PromptOn>,
}

/// What is pointed at on a frame. Prompts of one object on one frame are one; a mask stands alone.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptOn {
    /// From 0.
    pub frame: usize,
    /// 1 to 255.
    pub object: u8,
    #[serde(default)]
    pub points: Vec<Click>,
    /// Left, top, right, bottom.
    #[serde(default)]
    pub r#box: Option<[f32; 4]>,
    #[serde(default)]
    pub mask: Option<MaskRef>,
}

/// What is looked for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DescribeRequest {
    #[serde(default)]
    pub model: Option<String>,
    /// What it is, in words.
    pub text: String,
    /// Cuts the video into clips of so many frames that know nothing of each other.
    #[serde(default)]
    pub clip: Option<usize>,
    /// The number that the object shall have: 1 to 255, by default 1.
    #[serde(default)]
    pub object: Option<u8>,
}

/// A frame that is done.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Told {
    pub frame: usize,
    /// Frames told so far, this one too.
    pub done: usize,
    /// Frames to be told.
    pub of: usize,
    /// How long the others will take.
    pub seconds_left: f64,
    pub objects: Vec<ObjectRecord>,
}

/// All frames are done.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Tracked {
    /// How many were told.
    pub frames: usize,
    pub seconds: f64,
    /// Of whoever does not listen to events: all frames in the order in which they were done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<Told>,
    /// Frames that could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<usize>,
    pub notes: Vec<String>,
}

type Asked = BTreeMap<usize, BTreeMap<u8, Prompts>>;

pub async fn propagate(ctx: Ctx, Json(asked): Json<PropagateRequest>) -> Result<Answer<Tracked>> {
    let (name, loaded) = ctx.app.models.get(asked.model.as_deref(), Job::Video)?;
    let Some(predictor) = loaded.video.clone() else {
        let why = match name {
            ModelName::Sam2(..) => "the weights that are served are good for images, not for video",
            _ => "expected a model that tracks, sam2-... or sam2.1-...",
        };
        return Err(Problem::new(Code::InvalidPrompt, format!("{name} has no memory: {why}")).at("model"));
    };
    let item = ctx.item(true)?;
    let (prompts, plan) = plan(&ctx.app, &item, &asked)?;
    let app = Arc::clone(&ctx.app);
    let collect = !ctx.wants_events();
    ctx.told(Class::Long, move |turn, teller| {
        let report = Report::new(turn, teller, plan.iter().filter(|step| step.told).count(), collect);
        Tracking { app, item, predictor: &predictor, report, encoded: None }.run(prompts, &plan)
    })
    .await
}

/// A frame to be tracked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    frame: usize,
    direction: Direction,
    told: bool,
}

/// The prompts by frame and object, and the frames in the order in which they are tracked.
fn plan(app: &App, item: &Arc<Item>, asked: &PropagateRequest) -> Result<(Asked, Vec<Step>)> {
    let refuse = |detail: String, field: String| Err(Problem::new(Code::InvalidPrompt, detail).at(field));
    let count = item.video()?.frames.len();
    if !(1..=MOST_PROMPTS).contains(&asked.prompts.len()) {
        let detail = format!("{} prompts, expected 1 to {MOST_PROMPTS}", asked.prompts.len());
        return refuse(detail, "prompts".into());
    }
    let mut prompts = Asked::new();
    for (i, on) in asked.prompts.iter().enumerate() {
        let field = format!("prompts[{i}]");
        if on.frame >= count {
            return refuse(format!("frame {}, expected 0 to {}", on.frame, count - 1), format!("{field}.frame"));
        }
        if on.object == 0 {
            return refuse("object 0, expected 1 to 255".into(), format!("{field}.object"));
        }
        let entry = prompts.entry(on.frame).or_default().entry(on.object).or_default();
        entry.points.extend(clicks(&on.points, &format!("{field}.points"))?);
        if on.r#box.is_some() && std::mem::replace(&mut entry.bbox, on.r#box).is_some() {
            return refuse(format!("two boxes for object {} on frame {}", on.object, on.frame), field);
        }
        if let Some(mask) = &on.mask {
            let mask = referred(app, item, on.frame, mask).map_err(|problem| problem.at(format!("{field}.mask")))?;
            entry.mask = Some(MaskPrompt::Image(picture_of(mask.rle())));
        }
        let alone = entry.mask.is_none() || (entry.points.is_empty() && entry.bbox.is_none());
        if !alone {
            let detail =
                format!("object {} has more than a mask on frame {}: a mask stands alone", on.object, on.frame);
            return refuse(detail, field);
        }
        if entry.mask.is_none() && entry.points.is_empty() && entry.bbox.is_none() {
            return refuse(format!("nothing for object {} on frame {}", on.object, on.frame), field);
        }
    }
    for (frame, field) in [(asked.from, "from"), (asked.to, "to")] {
        if let Some(frame) = frame.filter(|frame| *frame >= count) {
            return refuse(format!("frame {frame}, expected 0 to {}", count - 1), field.into());
        }
    }
    if asked.to.is_some() && asked.direction == Ways::Both {
        return refuse("`to` goes with forward or backward".into(), "to".into());
    }
    let first = prompts.keys().next().copied().unwrap_or(0);
    let last = prompts.keys().next_back().copied().unwrap_or(0);
    let order = frames::order(asked.direction.directions(), (first, last), count, asked.to);
    let told = |frame: usize| match (asked.direction, asked.from) {
        (Ways::Forward, Some(from)) => frame >= from,
        (Ways::Backward, Some(from)) => frame <= from,
        _ => true,
    };
    let steps = order.into_iter().map(|(frame, direction)| Step { frame, direction, told: told(frame) });
    Ok((prompts, steps.collect()))
}

/// What is told of frames as they are done.
struct Report<'a> {
    turn: &'a Turn,
    teller: &'a Teller,
    done: usize,
    of: usize,
    start: Instant,
    /// When the first frame was begun.
    frames_from: Option<Instant>,
    told: Option<Vec<Told>>,
    left_out: Vec<usize>,
    notes: Vec<String>,
}

impl<'a> Report<'a> {
    fn new(turn: &'a Turn, teller: &'a Teller, of: usize, collect: bool) -> Self {
        let told = collect.then(Vec::new);
        let (left_out, notes) = (Vec::new(), Vec::new());
        Self { turn, teller, done: 0, of, start: Instant::now(), frames_from: None, told, left_out, notes }
    }

    /// What is being done; clicks go first.
    fn stage(&mut self, stage: &Stage) -> Result<()> {
        self.teller.stage(stage)?;
        self.turn.step()
    }

    fn frame(&mut self, frame: usize, objects: Vec<ObjectRecord>) -> Result<()> {
        self.done += 1;
        let spent = self.frames_from.unwrap_or(self.start).elapsed().as_secs_f64();
        let left = spent / self.done as f64 * self.of.saturating_sub(self.done) as f64;
        let told = Told { frame, done: self.done, of: self.of, seconds_left: left, objects };
        self.teller.tell("frame", &told)?;
        self.told.iter_mut().for_each(|all| all.push(told.clone()));
        self.turn.step()
    }

    fn finish(self) -> Tracked {
        Tracked {
            frames: self.done,
            seconds: self.start.elapsed().as_secs_f64(),
            told: self.told.unwrap_or_default(),
            left_out: self.left_out,
            notes: self.notes,
        }
    }
}

struct Tracking<'a> {
    app: App,
    item: Arc<Item>,
    predictor: &'a Sam2VideoPredictor,
    report: Report<'a>,
    /// The frame encoded last: prompts and tracking share it.
    encoded: Option<(usize, VideoFrame)>,
}

impl Tracking<'_> {
    fn run(mut self, prompts: Asked, steps: &[Step]) -> Result<Tracked> {
        let num_frames = Some(self.item.video()?.frames.len());
        let mut session = self.predictor.session(SessionOptions { num_frames, ..SessionOptions::default() });
        let of = prompts.len();
        // backwards, so that the frame where tracking begins is encoded last
        for (done, (frame, objects)) in prompts.into_iter().rev().enumerate() {
            self.report.stage(&Stage::steps("encoding", done, of))?;
            let encoded = self.encode(frame)?;
            for (object, asked) in objects {
                let at = |problem: Problem| Problem {
                    detail: format!("object {object} on frame {frame}: {}", problem.detail),
                    ..problem
                };
                let (placed, moved) =
                    asked.clamped(encoded.size.0, encoded.size.1).map_err(|error| at(error.into()))?;
                self.report
                    .notes
                    .extend(moved.into_iter().map(|note| format!("frame {frame}, object {object}: {note}")));
                session.prompt(frame, &encoded, object.into(), &placed).map_err(|error| at(error.into()))?;
            }
        }
        self.report.stage(&Stage::steps("encoding", of, of))?;
        let silent = steps.iter().filter(|step| !step.told).count();
        let mut passed = 0;
        for step in steps {
            match self.track(&mut session, step) {
                Ok(masks) if step.told => {
                    let objects = ObjectRecord::all(&masks)?;
                    self.report.frame(step.frame, objects)?;
                }
                Ok(_) => {
                    passed += 1;
                    self.report.stage(&Stage::steps("catching up", passed, silent))?;
                }
                Err(problem) if problem.code == Code::Unreadable => {
                    self.report.left_out.push(step.frame);
                    self.report.turn.step()?;
                }
                Err(problem) => return Err(problem),
            }
        }
        Ok(self.report.finish())
    }

    fn track(&mut self, session: &mut VideoSession<'_>, step: &Step) -> Result<FrameMasks> {
        if step.told && self.report.frames_from.is_none() {
            self.report.frames_from = Some(Instant::now());
        }
        let frame = self.encode(step.frame)?;
        Ok(session.track(step.frame, &frame, step.direction)?)
    }

    fn encode(&mut self, frame: usize) -> Result<VideoFrame> {
        if let Some((at, encoded)) = &self.encoded
            && *at == frame
        {
            return Ok(encoded.clone());
        }
        self.encoded = None;
        let picture = self.app.frame(&self.item, frame)?;
        let encoded = self.predictor.encode(picture.photo.seen())?;
        self.encoded = Some((frame, encoded.clone()));
        Ok(encoded)
    }
}

pub async fn describe(ctx: Ctx, Json(asked): Json<DescribeRequest>) -> Result<Answer<Tracked>> {
    let (name, loaded) = ctx.app.models.get(asked.model.as_deref(), Job::Text)?;
    let Some(predictor) = loaded.text.clone() else {
        let detail = format!("{name} takes no text, expected mpg-sam2 or mpg-sam2-tiny");
        return Err(Problem::new(Code::InvalidPrompt, detail).at("model"));
    };
    let object = asked.object.unwrap_or(1);
    let wrong = |detail: &str, field: &str| Err(Problem::new(Code::InvalidPrompt, detail).at(field));
    if object == 0 {
        return wrong("object 0, expected 1 to 255", "object");
    }
    if asked.clip == Some(0) {
        return wrong("a clip of 0 frames, expected at least 1", "clip");
    }
    if asked.text.trim().is_empty() {
        return wrong("the text is empty, expected words for the object, such as \"the dog on the left\"", "text");
    }
    let item = ctx.item(true)?;
    let count = item.video()?.frames.len();
    let app = Arc::clone(&ctx.app);
    let collect = !ctx.wants_events();
    ctx.told(Class::Long, move |turn, teller| {
        let mut report = Report::new(turn, teller, count, collect);
        let clip = asked.clip.unwrap_or(count).max(1);
        for start in (0..count).step_by(clip) {
            let clip = start..(start + clip).min(count);
            said(&app, &item, &predictor, &asked.text, object, clip, &mut report)?;
        }
        Ok(report.finish())
    })
    .await
}

/// One clip about a sentence.
fn said(
    app: &App,
    item: &Arc<Item>,
    predictor: &MpgSam2Predictor,
    text: &str,
    object: u8,
    frames: std::ops::Range<usize>,
    report: &mut Report<'_>,
) -> Result<()> {
    let mut clip = predictor.clip(text)?;
    let mut readable = Vec::with_capacity(frames.len());
    let of = frames.len();
    for (done, frame) in frames.enumerate() {
        report.stage(&Stage::steps("looking", done, of))?;
        match app.frame(item, frame) {
            Ok(picture) => {
                clip.look(picture.photo.seen())?;
                readable.push(frame);
            }
            Err(problem) if problem.code == Code::Unreadable => report.left_out.push(frame),
            Err(problem) => return Err(problem),
        }
    }
    if readable.is_empty() {
        return Ok(());
    }
    report.stage(&Stage::new("finding the object"))?;
    let mut tracking = clip.track()?;
    for frame in readable {
        report.frames_from.get_or_insert_with(Instant::now);
        let picture = app.frame(item, frame)?;
        let image = picture.photo.seen();
        let mut mask = tracking.segment(image)?;
        mask.object = object.into();
        let masks = FrameMasks { frame, size: image.dimensions(), masks: vec![mask] };
        report.frame(frame, ObjectRecord::all(&masks)?)?;
    }
    Ok(())
}
