//! `hrseg track`: a video in, masks of its objects on every frame out.

mod args;
mod output;
mod prompts;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use seg_data::{DataError, DecodeLimits, Frames, RgbImage};
use seg_models::MaskCleanup;
use seg_models::registry::LoadOptions;
use seg_models::sam2::video::{Direction, Sam2VideoPredictor, SessionOptions, VideoFrame, VideoSession};

pub use args::TrackArgs;
use args::Ways;
use output::{Outputs, Record};
use prompts::PromptsByFrame;

use super::common::say;
use super::progress::Progress;
use super::segment::{load, watch_interrupts};
use super::{Common, Outcome, UsageError};

/// What is remembered is written after so many frames, and at an interrupt.
const SAVE_EVERY: usize = 16;

/// Runs the verb.
pub fn run(args: &TrackArgs, common: &Common) -> anyhow::Result<Outcome> {
    args.check().map_err(UsageError)?;
    let limits = DecodeLimits::default();
    let prompts = prompts::gather(args, &limits)?;
    let interrupted = watch_interrupts("frame")?;
    let frames = Frames::open(&args.input, &limits, None)?;
    let mut job = Job::new(args, &limits, &frames, prompts, interrupted)?;
    if args.resume && job.all_there() {
        say(format_args!("all {} frames are there already", job.order.len()));
        return Ok(Outcome::Done);
    }
    job.refuse_existing()?;
    let mut progress = Progress::new(job.order.len(), common.json).of("frames");
    for note in frames.notes() {
        progress.message(&format!("note: {}: {note}", args.input.display()));
    }
    let outcome = job.run(common, &mut progress)?;
    drop(progress);
    if let Some(damage) = frames.damage() {
        say(format_args!("error: {damage}: tracked up to there, {} frames", frames.len()));
        return Ok(Outcome::SomeFailed);
    }
    Ok(outcome)
}

/// The outer error ends the run, the inner one is a frame that cannot be read.
type Readable<T> = anyhow::Result<Result<T, DataError>>;

/// One video.
struct Job<'a> {
    args: &'a TrackArgs,
    limits: &'a DecodeLimits,
    frames: &'a Frames,
    names: Vec<OsString>,
    prompts: PromptsByFrame,
    /// Frames in the order in which they are tracked.
    order: Vec<(usize, Direction)>,
    outputs: Outputs,
    interrupted: Arc<AtomicBool>,
    /// The frame encoded last: prompts and tracking share it.
    encoded: Option<(usize, RgbImage, VideoFrame)>,
}

impl<'a> Job<'a> {
    fn new(
        args: &'a TrackArgs,
        limits: &'a DecodeLimits,
        frames: &'a Frames,
        prompts: PromptsByFrame,
        interrupted: Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        let count = frames.len();
        if let Some(frame) = prompts.keys().find(|frame| **frame >= count) {
            let message =
                format!("a prompt is on frame {frame}, expected 0 to {}: there are {count} frames", count - 1);
            return Err(UsageError(message).into());
        }
        let first = prompts.keys().next().copied().unwrap_or(0);
        let last = prompts.keys().next_back().copied().unwrap_or(0);
        let forward = |from: usize| (from..count).map(|frame| (frame, Direction::Forward));
        let backward = |to: usize| (0..to).rev().map(|frame| (frame, Direction::Backward));
        let order = match args.direction {
            Ways::Both => forward(first).chain(backward(first)).collect(),
            Ways::Forward => forward(first).collect(),
            Ways::Backward => backward(last + 1).collect(),
        };
        let names = (0..count).map(|frame| frames.name(frame).unwrap_or_default()).collect();
        let outputs = Outputs::new(args);
        Ok(Self { args, limits, frames, names, prompts, order, outputs, interrupted, encoded: None })
    }

    fn files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.order.iter().flat_map(|(frame, _)| self.outputs.files(&self.names[*frame])).chain(self.outputs.gif())
    }

    fn all_there(&self) -> bool {
        !self.outputs.state().exists() && self.files().all(|path| path.exists())
    }

    /// Without leave, nothing is written over.
    fn refuse_existing(&self) -> anyhow::Result<()> {
        let allowed = self.args.force || self.args.resume;
        match self.files().chain([self.outputs.state()]).find(|path| !allowed && path.exists()) {
            Some(path) => anyhow::bail!(
                "{}: the result {} is there already; --force writes over it, --resume goes on behind it",
                self.args.input.display(),
                path.display()
            ),
            None => Ok(()),
        }
    }

    fn run(&mut self, common: &Common, progress: &mut Progress) -> anyhow::Result<Outcome> {
        let predictor = self.load_model(common, progress)?;
        self.outputs.create_folders()?;
        let (mut session, start) = self.begin(&predictor, progress)?;
        (0..start).for_each(|_| progress.step());
        let mut failed = 0;
        for step in start..self.order.len() {
            if self.interrupted.load(Ordering::Relaxed) {
                self.save(&mut session, step)?;
                say(format_args!(
                    "interrupted: {step} frames done, {} left; go on with --resume",
                    self.order.len() - step
                ));
                return Ok(Outcome::SomeFailed);
            }
            if step > start && step % SAVE_EVERY == 0 {
                self.save(&mut session, step)?;
            }
            match self.frame(&mut session, step, progress)? {
                Ok(line) => progress.result(&if common.json { line.0 } else { line.1 })?,
                Err(error) => {
                    failed += 1;
                    progress.message(&format!("error: {error:#}: left out"));
                }
            }
            progress.step();
        }
        if let Some(path) = self.outputs.gif() {
            progress.stage("writing the animation");
            self.outputs.write_gif(&path, &self.names, self.args.fps, self.limits)?;
            progress.result(&path.display().to_string())?;
        }
        match std::fs::remove_file(self.outputs.state()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context(format!("cannot delete {}", self.outputs.state().display()));
            }
            _ => {}
        }
        Ok(if failed == 0 { Outcome::Done } else { Outcome::SomeFailed })
    }

    fn load_model(&self, common: &Common, progress: &Progress) -> anyhow::Result<Sam2VideoPredictor> {
        let model = self.args.model;
        let path = load::find(model.weights(), self.args.weights.as_deref(), progress)?;
        progress.stage(&format!("loading {model}"));
        let options = LoadOptions {
            dtype: common.dtype.dtype(),
            device: common.device.open()?,
            cleanup: MaskCleanup { max_hole_area: self.args.fill_holes, max_sprinkle_area: 0 },
            ..LoadOptions::default()
        };
        let (predictor, report) = model.open_video(&path, &options)?;
        load::tell(&[report], progress);
        Ok(predictor)
    }

    /// A session with all prompts given, or the one that was saved; and the first step that is not done.
    fn begin<'p>(
        &mut self,
        predictor: &'p Sam2VideoPredictor,
        progress: &Progress,
    ) -> anyhow::Result<(VideoSession<'p>, usize)> {
        let options = SessionOptions { num_frames: Some(self.frames.len()), ..SessionOptions::default() };
        let state = self.outputs.state();
        if self.args.resume && state.exists() {
            let (session, notes) = predictor.restore(&state, options)?;
            let asked = prompts::fingerprint(self.args, self.frames.len());
            if notes.get("asked") != Some(&asked) {
                anyhow::bail!(
                    "{}: it is of a run with other prompts, options or frames; give the same ones, or --force to begin anew",
                    state.display()
                );
            }
            let done = notes.get("done").and_then(|done| done.parse().ok()).unwrap_or(0);
            return Ok((session, usize::min(done, self.order.len())));
        }
        let mut session = predictor.session(options);
        let prompts = std::mem::take(&mut self.prompts);
        for (index, objects) in prompts.iter().rev() {
            progress.stage(&format!("prompts on frame {index}"));
            let (_, frame) = self
                .encode(predictor, *index)?
                .map_err(|error| anyhow::Error::from(error).context(format!("frame {index} has prompts")))?;
            for (object, prompts) in objects {
                let at = || format!("object {object} on frame {index}");
                session.prompt(*index, &frame, (*object).into(), prompts).with_context(at)?;
            }
        }
        self.prompts = prompts;
        Ok((session, 0))
    }

    /// The frame `index`, encoded.
    fn encode(&mut self, predictor: &Sam2VideoPredictor, index: usize) -> Readable<(RgbImage, VideoFrame)> {
        match &self.encoded {
            Some((at, image, frame)) if *at == index => return Ok(Ok((image.clone(), frame.clone()))),
            _ => self.encoded = None,
        }
        let image = match self.frames.load(index) {
            Ok(image) => image,
            Err(error) => return Ok(Err(error)),
        };
        let frame = predictor.encode(&image)?;
        self.encoded = Some((index, image.clone(), frame.clone()));
        Ok(Ok((image, frame)))
    }

    /// Tracks a frame and writes its results: a line for a program and one for a person.
    fn frame(
        &mut self,
        session: &mut VideoSession<'_>,
        step: usize,
        progress: &Progress,
    ) -> Readable<(String, String)> {
        let (index, direction) = self.order[step];
        progress.stage(&format!("frame {index}"));
        let (image, frame) = match self.encode(session.predictor(), index)? {
            Ok(encoded) => encoded,
            Err(error) => return Ok(Err(error)),
        };
        let masks = session.track(index, &frame, direction)?;
        let name = &self.names[index];
        let record = Record::new(name, self.args.model.as_str(), &masks)?;
        let drawn = prompts::drawn(self.prompts.get(&index));
        let written = self.outputs.write(name, &image, &masks, &drawn, &record)?;
        Ok(Ok((record.json(&written)?, record.line(&written))))
    }

    /// Writes what is remembered, with `done` steps behind it.
    fn save(&self, session: &mut VideoSession<'_>, done: usize) -> anyhow::Result<()> {
        let asked = prompts::fingerprint(self.args, self.frames.len());
        let notes = BTreeMap::from([("asked".to_owned(), asked), ("done".to_owned(), done.to_string())]);
        session.save(self.outputs.state(), &notes).context("cannot save the state of the tracking")
    }
}
