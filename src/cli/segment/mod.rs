//! `hrseg segment`: images in, masks out.

pub(super) mod args;
pub(super) mod load;
mod output;
mod segmented;
mod stages;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use seg_data::output::Overwrite;
use seg_data::{DataError, DecodeLimits, RgbImage, load_image, load_mask};
use seg_models::registry::{LoadOptions, Segmenter};
use seg_models::{MaskCleanup, MaskPrompt, Prompts};

pub use args::SegmentArgs;
use load::{Models, load_models};
use output::{CANDIDATES, Outputs, Photo};
use segmented::{Asked, Segmented};

use super::common::{in_one_line, say};
use super::photo;
use super::progress::Progress;
use super::{Common, Outcome, UsageError};

/// Runs the verb.
pub fn run(args: &SegmentArgs, common: &Common) -> anyhow::Result<Outcome> {
    args.check().map_err(UsageError)?;
    let (files, left_out) = seg_data::inputs::expand_counting(&args.inputs).map_err(|e| UsageError(e.to_string()))?;
    if let Some(note) = left_out.note() {
        say(format_args!("note: {note}"));
    }
    let files = output::without_own_results(files, &args.output);
    seg_data::inputs::check_stems(&files).map_err(|e| UsageError(e.to_string()))?;
    let interrupted = watch_interrupts("image")?;
    let mut session = Session::new(args, common)?;
    let mut progress = Progress::new(files.len(), common.json);
    let mut failed = 0usize;
    let mut skipped = 0usize;
    let mut done = 0usize;
    for file in &files {
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
        match session.segment(file, &progress) {
            Ok(Some(line)) => {
                done += 1;
                progress.result(&line)?;
            }
            Ok(None) => skipped += 1,
            Err(Failure::Image(error)) => {
                failed += 1;
                progress.message(&format!("error: {}", in_one_line(&error)));
            }
            Err(Failure::Model(error)) => return Err(error),
        }
        progress.step();
    }
    drop(progress);
    let left = files.len() - done - skipped - failed;
    if left > 0 {
        say(format_args!("interrupted: {done} done, {left} left; go on with --resume"));
        return Ok(Outcome::SomeFailed);
    }
    if files.len() > 1 || skipped > 0 {
        say(format_args!("{done} of {} images done, {skipped} there already, {failed} failed", files.len()));
    }
    Ok(if failed == 0 { Outcome::Done } else { Outcome::SomeFailed })
}

/// Why an image has no result.
enum Failure {
    /// Something about this image; the others go on.
    Image(anyhow::Error),
    /// No image can be done.
    Model(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Image(error.into())
    }
}

/// The first Ctrl-C finishes the `unit` (image, frame) at hand, the second one ends the process.
pub(super) fn watch_interrupts(unit: &'static str) -> anyhow::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        say(format_args!("\ninterrupted: finishing the {unit} at hand; press Ctrl-C again to stop at once"));
    })
    .context("cannot watch for Ctrl-C")?;
    Ok(interrupted)
}

/// What stays the same from image to image. The model is loaded when the first image needs it, so that a wrong point or
/// a broken image is told at once.
struct Session<'a> {
    args: &'a SegmentArgs,
    options: LoadOptions,
    prompts: Prompts,
    limits: DecodeLimits,
    models: Option<Models>,
    quiet: bool,
}

impl<'a> Session<'a> {
    fn new(args: &'a SegmentArgs, common: &Common) -> anyhow::Result<Self> {
        let limits = common.limits();
        let mask = match &args.mask {
            Some(path) => {
                let read = load_mask(path, &limits)?;
                read.notes.iter().for_each(|note| say(format_args!("note: {}: {note}", path.display())));
                Some(MaskPrompt::Image(read.levels))
            }
            None => None,
        };
        Ok(Self {
            args,
            options: LoadOptions {
                dtype: common.dtype.dtype(),
                device: common.device.open()?,
                cleanup: MaskCleanup { max_hole_area: args.fill_holes, max_sprinkle_area: args.remove_sprinkles },
                ..args.mgd.options()
            },
            prompts: args.prompts(mask),
            limits,
            models: None,
            quiet: common.json,
        })
    }

    /// Does one image; `None` when its results are there already and may stay.
    fn segment(&mut self, file: &Path, progress: &Progress) -> Result<Option<String>, Failure> {
        let outputs = Outputs::new(&self.args.output, file, &self.args.formats, self.args.model.kind());
        let expected = outputs.files(if self.args.multimask { CANDIDATES } else { 1 });
        let present: Vec<&PathBuf> = expected.iter().filter(|path| path.exists()).collect();
        // an empty file is what a full disk leaves
        let whole = present.iter().filter(|path| path.metadata().is_ok_and(|found| found.len() > 0)).count();
        if self.args.resume && whole == expected.len() {
            return Ok(None);
        }
        if let (Some(first), false, false) = (present.first(), self.args.force, self.args.resume) {
            let message = format!(
                "{}: the result {} is there already; --force writes over it, --resume leaves it",
                file.display(),
                first.display()
            );
            return Err(anyhow::Error::msg(message).into());
        }
        progress.stage(&format!("{}: reading", file.display()));
        let loaded = load_image(file, &self.limits)?;
        let (width, height) = loaded.dimensions();
        let note = |note: &str| progress.message(&format!("note: {}: {note}", file.display()));
        loaded.notes.iter().for_each(|said| note(said));
        let (converted, said) = self.args.photo.colours.of(&loaded);
        said.iter().for_each(|said| note(said));
        let (mut prompts, moved) = self.prompts.clamped(width, height).with_context(|| file.display().to_string())?;
        moved.iter().for_each(|said| note(said));
        if let Some(MaskPrompt::Image(mask)) = &prompts.mask
            && let Some((turned, said)) = photo::lay(mask, &loaded)
        {
            note(&said);
            if let Some(turned) = turned {
                prompts.to_mut().mask = Some(MaskPrompt::Image(turned));
            }
        }
        let photo = Photo { seen: converted.as_ref().unwrap_or(&loaded.image), loaded: &loaded };
        let models = match &mut self.models {
            Some(models) => models,
            empty => empty.insert(load_models(self.args, &self.options, progress).map_err(Failure::Model)?),
        };
        let segmented = masks(self.args, models, &prompts, file, photo.seen, progress)
            .with_context(|| file.display().to_string())?;
        for note in &segmented.notes {
            progress.message(&format!("note: {}: {note}", file.display()));
        }
        // not before there is something to put in it; without it no image can be done
        seg_data::output::create_folder(&self.args.output).map_err(|e| Failure::Model(e.into()))?;
        let overwrite = if self.args.force || self.args.resume { Overwrite::Replace } else { Overwrite::Refuse };
        let written = outputs.write(&photo, &segmented, overwrite).map_err(|error| match disk_full(&error) {
            true => Failure::Model(error), // the next image would fare no better
            false => Failure::Image(error),
        })?;
        let line = if self.quiet { segmented.json(&written)? } else { segmented.line(&written) };
        Ok(Some(line))
    }
}

/// Has the models look at the image, and ranks their masks.
fn masks(
    args: &SegmentArgs,
    models: &Models,
    prompts: &Prompts,
    file: &Path,
    image: &RgbImage,
    progress: &Progress,
) -> anyhow::Result<Segmented> {
    let stage = |what: &str| progress.stage(&format!("{}: {what}", file.display()));
    let asked = Asked { image: file, size: image.dimensions(), args, prompts };
    match (&models.segmenter, &models.first, &prompts.mask) {
        (Segmenter::Promptable(model), ..) => {
            stage("encoding");
            let embedding = model.embed(image)?;
            stage("decoding");
            Segmented::of_prediction(&asked, &model.predict(&embedding, prompts)?)
        }
        (Segmenter::PromptFree(model), ..) => {
            stage("segmenting");
            Segmented::of_probability(&asked, &model.predict(image)?)
        }
        (Segmenter::TwoStage(second), Some(first), _) => {
            stage("finding the object");
            let embedding = first.embed(image)?;
            stage("refining");
            Segmented::of_refinement(&asked, second.predict_embedded(first.as_ref(), image, &embedding, prompts)?)
        }
        (Segmenter::TwoStage(second), None, Some(MaskPrompt::Image(mask))) => {
            stage("refining");
            Segmented::of_refinement(&asked, second.refine_mask(image, mask)?)
        }
        (Segmenter::TwoStage(_), None, _) => anyhow::bail!("{} has neither a first stage nor a mask", args.model),
    }
}

fn disk_full(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(DataError::DiskFull { .. })))
}
