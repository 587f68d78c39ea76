//! What all ways of tracking share: the frames, the files written, what may be written over, the end of the work.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use seg_checkpoints::LoadReport;
use seg_data::{DecodeLimits, Frames, RgbImage, render};
use seg_models::registry::{LoadOptions, ModelName};
use seg_models::sam2::video::FrameMasks;

use super::TrackArgs;
use super::output::{self, Outputs};
use super::prompts::{self, PromptsByFrame};
use crate::cli::common::say;
use crate::cli::progress::Progress;
use crate::cli::{Common, Outcome};
use crate::pipeline::frames::FrameRecord;
use crate::pipeline::{self, Photo, Watch as _};

/// Names of notes in the state.
const ASKED: &str = "asked";
const DONE: &str = "done";

/// What is said of a frame that is done.
pub struct Lines {
    program: String,
    person: String,
}

impl Lines {
    /// The one for a program, or the one for a person.
    pub fn choose(&self, program: bool) -> &str {
        if program { &self.program } else { &self.person }
    }
}

/// One video.
pub struct Video<'a> {
    pub args: &'a TrackArgs,
    pub frames: &'a Frames,
    pub names: Vec<OsString>,
    pub outputs: Outputs,
    pub limits: &'a DecodeLimits,
    /// What a state says of the prompts of its run.
    asked: String,
    interrupted: Arc<AtomicBool>,
    /// Whether it was said what becomes of the colours.
    told: AtomicBool,
}

impl<'a> Video<'a> {
    pub fn new(
        args: &'a TrackArgs,
        limits: &'a DecodeLimits,
        frames: &'a Frames,
        prompts: &PromptsByFrame,
        interrupted: Arc<AtomicBool>,
    ) -> Self {
        let asked = prompts::fingerprint(args, prompts, frames.len());
        let names = (0..frames.len()).map(|frame| frames.name(frame).unwrap_or_default()).collect();
        Self {
            args,
            frames,
            names,
            outputs: Outputs::new(args),
            limits,
            asked,
            interrupted,
            told: AtomicBool::new(false),
        }
    }

    /// The model that the user asked for, on his device, as `open` makes it of its file.
    pub fn load<P>(
        &self,
        options: LoadOptions,
        common: &Common,
        progress: &Progress,
        open: impl FnOnce(ModelName, &Path, &LoadOptions) -> seg_models::Result<(P, LoadReport)>,
    ) -> anyhow::Result<P> {
        let model = self.args.model();
        let path = progress.find(model.weights(), self.args.weights.as_deref())?;
        progress.stage(&format!("loading {model}"));
        let options = LoadOptions { dtype: common.dtype.dtype(), device: common.device.open()?, ..options };
        let (predictor, report) = open(model, &path, &options)?;
        pipeline::tell(&[report], progress);
        Ok(predictor)
    }

    /// The files of the frames `order`, and the animation.
    fn files(&self, order: &[usize]) -> impl Iterator<Item = PathBuf> {
        order.iter().flat_map(|frame| self.outputs.files(&self.names[*frame])).chain(self.outputs.gif())
    }

    /// Whether an earlier run has finished the frames `order`.
    pub fn all_there(&self, order: &[usize]) -> bool {
        !self.outputs.state().exists() && self.files(order).all(|path| path.exists())
    }

    /// Without leave, nothing is written over.
    pub fn refuse_existing(&self, order: &[usize]) -> anyhow::Result<()> {
        let allowed = self.args.force || self.args.resume;
        match self.files(order).chain([self.outputs.state()]).find(|path| !allowed && path.exists()) {
            Some(path) => anyhow::bail!(
                "{}: the result {} is there already; --force writes over it, --resume goes on behind it",
                self.args.input.display(),
                path.display()
            ),
            None => Ok(()),
        }
    }

    /// The frame `index` as the model is to see it; that its colours were converted is told once.
    pub fn picture(&self, index: usize) -> seg_data::Result<RgbImage> {
        let photo = Photo::new(self.frames.photo(index)?, self.args.photo.colours);
        if let Some(said) = photo.colours_note().filter(|_| !self.told.swap(true, Ordering::Relaxed)) {
            say(format_args!("note: frame {index}: {said}"));
        }
        Ok(photo.into_seen())
    }

    /// Whether the user has asked to stop.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Says how to go on after an interrupt.
    pub fn tell_interrupted(&self, done: usize, total: usize) -> Outcome {
        say(format_args!("interrupted: {done} frames done, {} left; go on with --resume", total - done));
        Outcome::SomeFailed
    }

    /// Writes the results of the frame `index`.
    pub fn write(
        &self,
        index: usize,
        image: &RgbImage,
        masks: &FrameMasks,
        drawn: &render::Prompts,
    ) -> anyhow::Result<Lines> {
        let name = &self.names[index];
        let record = FrameRecord::new(name.to_string_lossy().into_owned(), self.args.model().as_str(), masks)?;
        let written = self.outputs.write(name, image, masks, drawn, &record)?;
        let files = written.iter().map(|path| path.display().to_string()).collect();
        Ok(Lines { program: record.line(files)?, person: output::line(&record, &written) })
    }

    /// What a state says of the run that left it: what was asked, and how many frames were `done`.
    pub fn notes(&self, done: usize) -> BTreeMap<String, String> {
        BTreeMap::from([(ASKED.to_owned(), self.asked.clone()), (DONE.to_owned(), done.to_string())])
    }

    /// How many frames were done when a state was left; refuses that of another call.
    pub fn check_notes(&self, notes: &BTreeMap<String, String>) -> anyhow::Result<usize> {
        if notes.get(ASKED) != self.notes(0).get(ASKED) {
            anyhow::bail!(
                "{}: it is of a run with other prompts, options or frames; give the same ones, or --force to begin anew",
                self.outputs.state().display()
            );
        }
        Ok(notes.get(DONE).and_then(|done| done.parse().ok()).unwrap_or(0))
    }

    /// The animation, and no state any more.
    pub fn finish(&self, failed: usize, progress: &mut Progress) -> anyhow::Result<Outcome> {
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
}
