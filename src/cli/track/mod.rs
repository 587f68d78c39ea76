//! `hrseg track`: a video in, masks of its objects on every frame out.

mod args;
mod clicks;
mod output;
mod prompts;
mod sentence;
mod video;

use seg_data::Frames;

pub use args::TrackArgs;

use super::common::say;
use super::progress::Progress;
use super::segment::watch_interrupts;
use super::{Common, Outcome, UsageError};
use video::Video;

/// What is remembered is written after so many frames, and at an interrupt.
const SAVE_EVERY: usize = 16;

/// A way to say what is tracked.
trait Job {
    /// The frames in the order in which they are tracked.
    fn order(&self) -> Vec<usize>;

    /// Tracks them, from where an earlier run stopped.
    fn run(&mut self, common: &Common, progress: &mut Progress) -> anyhow::Result<Outcome>;
}

/// Runs the verb.
pub fn run(args: &TrackArgs, common: &Common) -> anyhow::Result<Outcome> {
    args.check().map_err(UsageError)?;
    let limits = common.limits();
    let mut prompts = prompts::gather(args, &limits)?;
    let interrupted = watch_interrupts("frame")?;
    let frames = Frames::open(&args.input, &limits, None)?;
    prompts::lay_masks(&mut prompts, &frames)?;
    let video = Video::new(args, &limits, &frames, &prompts, interrupted);
    let mut job: Box<dyn Job + '_> = match &args.text {
        Some(text) => Box::new(sentence::Sentence::new(&video, text)),
        None => Box::new(clicks::Clicks::new(&video, prompts)?),
    };
    let order = job.order();
    if args.resume && video.all_there(&order) {
        say(format_args!(
            "all {} frames are there already, of a run that was finished: with which prompts is not known any more; --force does \
             them again",
            order.len()
        ));
        return Ok(Outcome::Done);
    }
    video.refuse_existing(&order)?;
    let mut progress = Progress::new(order.len(), common.json).of("frames");
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
