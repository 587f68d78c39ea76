//! Objects that the user points at.

use anyhow::Context as _;
use seg_data::{DataError, RgbImage};
use seg_models::MaskCleanup;
use seg_models::registry::LoadOptions;
use seg_models::sam2::video::{Direction, Sam2VideoPredictor, SessionOptions, VideoFrame, VideoSession};

use super::prompts::{self, PromptsByFrame};
use super::video::{Lines, Video};
use super::{Job, SAVE_EVERY};
use crate::cli::progress::Progress;
use crate::cli::{Common, Outcome, UsageError};
use crate::pipeline::frames;

/// The outer error ends the run, the inner one is a frame that cannot be read.
type Readable<T> = anyhow::Result<Result<T, DataError>>;

/// Objects with clicks, boxes or masks on some frames.
pub struct Clicks<'a> {
    video: &'a Video<'a>,
    prompts: PromptsByFrame,
    /// Frames in the order in which they are tracked.
    order: Vec<(usize, Direction)>,
    /// The frame encoded last: prompts and tracking share it.
    encoded: Option<(usize, RgbImage, VideoFrame)>,
}

impl Job for Clicks<'_> {
    fn order(&self) -> Vec<usize> {
        self.order.iter().map(|(frame, _)| *frame).collect()
    }

    fn run(&mut self, common: &Common, progress: &mut Progress) -> anyhow::Result<Outcome> {
        let predictor = self.load_model(common, progress)?;
        self.video.outputs.create_folders()?;
        let (mut session, start) = self.begin(&predictor, progress)?;
        (0..start).for_each(|_| progress.step());
        let mut failed = 0;
        for step in start..self.order.len() {
            if self.video.is_interrupted() {
                self.save(&mut session, step)?;
                return Ok(self.video.tell_interrupted(step, self.order.len()));
            }
            if step > start && step % SAVE_EVERY == 0 {
                self.save(&mut session, step)?;
            }
            match self.frame(&mut session, step, progress)? {
                Ok(lines) => progress.result(lines.choose(common.json))?,
                Err(error) => {
                    failed += 1;
                    progress.message(&format!("error: {error:#}: left out"));
                }
            }
            progress.step();
        }
        self.video.finish(failed, progress)
    }
}

impl<'a> Clicks<'a> {
    pub fn new(video: &'a Video<'a>, prompts: PromptsByFrame) -> anyhow::Result<Self> {
        let count = video.frames.len();
        if let Some(frame) = prompts.keys().find(|frame| **frame >= count) {
            let expected = match count {
                1 => "0: there is one frame".to_owned(),
                _ => format!("0 to {}: there are {count} frames", count - 1),
            };
            let message = format!("a prompt is on frame {frame}, expected {expected}");
            return Err(UsageError(message).into());
        }
        let first = prompts.keys().next().copied().unwrap_or(0);
        let last = prompts.keys().next_back().copied().unwrap_or(0);
        let order = frames::order(video.args.direction.directions(), (first, last), count, None);
        Ok(Self { video, prompts, order, encoded: None })
    }

    fn load_model(&self, common: &Common, progress: &Progress) -> anyhow::Result<Sam2VideoPredictor> {
        let cleanup = MaskCleanup { max_hole_area: self.video.args.fill_holes, max_sprinkle_area: 0 };
        let options = LoadOptions { cleanup, ..LoadOptions::default() };
        self.video.load(options, common, progress, |model, path, options| model.open_video(path, options))
    }

    /// A session with all prompts given, or the one that was saved; and the first step that is not done.
    fn begin<'p>(
        &mut self,
        predictor: &'p Sam2VideoPredictor,
        progress: &Progress,
    ) -> anyhow::Result<(VideoSession<'p>, usize)> {
        let options = SessionOptions { num_frames: Some(self.video.frames.len()), ..SessionOptions::default() };
        let state = self.video.outputs.state();
        if self.video.args.resume && state.exists() {
            let (session, notes) = predictor.restore(&state, options)?;
            let done = self.video.check_notes(&notes)?;
            return Ok((session, usize::min(done, self.order.len())));
        }
        let mut session = predictor.session(options);
        let mut prompts = std::mem::take(&mut self.prompts);
        for (index, objects) in prompts.iter_mut().rev() {
            progress.stage(&format!("prompts on frame {index}"));
            let (image, frame) = self
                .encode(predictor, *index)?
                .map_err(|error| anyhow::Error::from(error).context(format!("frame {index} has prompts")))?;
            for (object, prompts) in objects {
                let at = || format!("object {object} on frame {index}");
                let (clamped, moved) = prompts.clamped(image.width(), image.height()).with_context(at)?;
                for note in moved {
                    progress.message(&format!("note: {}: {note}", at()));
                }
                *prompts = clamped.into_owned();
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
        let image = match self.video.picture(index) {
            Ok(image) => image,
            Err(error) => return Ok(Err(error)),
        };
        let frame = predictor.encode(&image)?;
        self.encoded = Some((index, image.clone(), frame.clone()));
        Ok(Ok((image, frame)))
    }

    /// Tracks a frame and writes its results.
    fn frame(&mut self, session: &mut VideoSession<'_>, step: usize, progress: &Progress) -> Readable<Lines> {
        let (index, direction) = self.order[step];
        progress.stage(&format!("frame {index}"));
        let (image, frame) = match self.encode(session.predictor(), index)? {
            Ok(encoded) => encoded,
            Err(error) => return Ok(Err(error)),
        };
        let masks = session.track(index, &frame, direction)?;
        Ok(Ok(self.video.write(index, &image, &masks, &prompts::drawn(self.prompts.get(&index)))?))
    }

    /// Writes what is remembered, with `done` steps behind it.
    fn save(&self, session: &mut VideoSession<'_>, done: usize) -> anyhow::Result<()> {
        session
            .save(self.video.outputs.state(), &self.video.notes(done))
            .context("cannot save the state of the tracking")
    }
}
