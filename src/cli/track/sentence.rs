//! An object that a sentence tells.

use std::ops::Range;

use anyhow::Context as _;
use beit3_encoder::Tokenizer;
use seg_data::render;
use seg_models::mpg_sam2::{MpgSam2Predictor, MpgTracking};
use seg_models::registry::LoadOptions;
use seg_models::sam2::video::FrameMasks;

use super::video::Video;
use super::{Job, SAVE_EVERY};
use crate::cli::progress::Progress;
use crate::cli::{Common, Outcome};

/// A video and a sentence about it.
pub struct Sentence<'a> {
    video: &'a Video<'a>,
    text: &'a str,
    /// Frames that could not be read.
    failed: usize,
}

impl Job for Sentence<'_> {
    fn order(&self) -> Vec<usize> {
        (0..self.video.frames.len()).collect()
    }

    fn run(&mut self, common: &Common, progress: &mut Progress) -> anyhow::Result<Outcome> {
        let predictor = self.load_model(common, progress)?;
        // a text that is too long is refused before anything is written
        predictor.clip(self.text)?;
        let state = self.video.outputs.state();
        let resumed = self.video.args.resume && state.exists();
        let done = match resumed {
            true => self.video.check_notes(&seg_models::mpg_sam2::saved_notes(&state)?)?,
            false => 0,
        };
        self.video.outputs.create_folders()?;
        let (count, clip) = (self.video.frames.len(), self.video.args.clip);
        let clip = clip.map_or(count, |frames| frames as usize).max(1);
        for start in (0..count).step_by(clip) {
            let frames = start..(start + clip).min(count);
            let from = done.clamp(frames.start, frames.end);
            if from == frames.end {
                frames.for_each(|_| progress.step());
            } else if let Some(done) = self.clip(&predictor, frames, from, common, progress)? {
                return Ok(self.video.tell_interrupted(done, count));
            }
        }
        self.video.finish(self.failed, progress)
    }
}

impl<'a> Sentence<'a> {
    pub fn new(video: &'a Video<'a>, text: &'a str) -> Self {
        Self { video, text, failed: 0 }
    }

    fn load_model(&self, common: &Common, progress: &Progress) -> anyhow::Result<MpgSam2Predictor> {
        let tokenizer = self.video.args.tokenizer.as_deref();
        let predictor = self.video.load(LoadOptions::default(), common, progress, |model, path, options| {
            model.open_referring(path, tokenizer, options)
        })?;
        if predictor.tokenizer().encode(self.text)?.contains(&Tokenizer::UNK) {
            progress
                .message("note: --text has characters that the tokenizer does not know: the model does not see them");
        }
        Ok(predictor)
    }

    /// Tracks the frames of one clip, of which those before `from` are done; an interrupt gives the number of frames done.
    fn clip(
        &mut self,
        predictor: &MpgSam2Predictor,
        frames: Range<usize>,
        from: usize,
        common: &Common,
        progress: &mut Progress,
    ) -> anyhow::Result<Option<usize>> {
        let Some((readable, mut tracking)) = self.look(predictor, &frames, from, progress)? else {
            if self.video.is_interrupted() {
                return Ok(Some(from));
            }
            frames.for_each(|_| progress.step());
            return Ok(None);
        };
        for index in frames.clone() {
            if self.video.is_interrupted() {
                let done = index.max(from);
                self.save(&tracking, done)?;
                return Ok(Some(done));
            }
            if index > from && index.is_multiple_of(SAVE_EVERY) {
                self.save(&tracking, index)?;
            }
            if index >= from && readable.binary_search(&index).is_ok() {
                progress.stage(&format!("frame {index}"));
                let image =
                    self.video.picture(index).with_context(|| format!("frame {index} could be read a moment ago"))?;
                let masks = vec![tracking.segment(&image)?];
                let masks = FrameMasks { frame: index, size: image.dimensions(), masks };
                let lines = self.video.write(index, &image, &masks, &render::Prompts::default())?;
                progress.result(lines.choose(common.json))?;
            }
            progress.step();
        }
        if frames.end < self.video.frames.len() {
            self.save(&tracking, frames.end)?;
        }
        Ok(None)
    }

    /// The clip with all its frames looked at, and which of them could be; none without any, or when interrupted.
    fn look<'p>(
        &mut self,
        predictor: &'p MpgSam2Predictor,
        frames: &Range<usize>,
        from: usize,
        progress: &Progress,
    ) -> anyhow::Result<Option<(Vec<usize>, MpgTracking<'p>)>> {
        let mut clip = predictor.clip(self.text)?;
        let mut readable = Vec::with_capacity(frames.len());
        for index in frames.clone() {
            if self.video.is_interrupted() {
                return Ok(None);
            }
            progress.stage(&format!("looking at frame {index}"));
            match self.video.picture(index) {
                Ok(image) => {
                    clip.look(&image)?;
                    readable.push(index);
                }
                Err(error) => {
                    self.failed += 1;
                    progress.message(&format!("error: {error:#}: left out"));
                }
            }
        }
        if readable.is_empty() {
            return Ok(None);
        }
        progress.stage("finding the object");
        let mut tracking = clip.track()?;
        let done = readable.iter().filter(|index| **index < from).count();
        if done > 0 {
            let state = self.video.outputs.state();
            tracking.restore(&state)?;
            if tracking.next_frame() != done {
                anyhow::bail!(
                    "{}: it is of a run in which other frames could be read; --force begins anew",
                    state.display()
                );
            }
        }
        Ok(Some((readable, tracking)))
    }

    /// Writes what is remembered, with `done` frames behind it.
    fn save(&self, tracking: &MpgTracking<'_>, done: usize) -> anyhow::Result<()> {
        tracking
            .save(self.video.outputs.state(), &self.video.notes(done))
            .context("cannot save the state of the tracking")
    }
}
