//! `hrseg segment`: images in, masks out.

pub(super) mod args;
mod everything;
pub(super) mod load;
mod objects;
mod output;
mod run_file;
mod together;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use seg_data::output::Overwrite;
use seg_data::{DataError, DecodeLimits, load_mask};
use seg_models::registry::LoadOptions;
use seg_models::{AutomaticMaskConfig, MaskCleanup, MaskPrompt, Prompts};

pub use args::SegmentArgs;
use load::OfImage;
use output::{Done, Outputs};

use super::common::{in_one_line, say};
use super::progress::Progress;
use super::{Common, Outcome, UsageError};
use crate::pipeline::everything::EverythingRecord;
use crate::pipeline::prompts::{AskedImage, PromptFile};
use crate::pipeline::{CANDIDATES, Photo, Pipeline, PromptRecord, Record, Watch};

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
    let prompts = args.file.read(args.model).map_err(UsageError)?;
    let files: Vec<objects::Asked> = match prompts.as_ref().zip(args.file.path.as_deref()) {
        Some((prompts, name)) => {
            let (asked, notes) = objects::matched(files, prompts, name).map_err(UsageError)?;
            // once of a run in parts
            let told = args.shard.is_none_or(|shard| shard.index == 1);
            notes.iter().filter(|_| told).for_each(|note| say(format_args!("note: {note}")));
            asked
        }
        None => files.into_iter().map(|file| (file, None)).collect(),
    };
    let files: Vec<objects::Asked> = match args.shard {
        Some(shard) => (0..).zip(files).filter(|(at, _)| shard.has(*at)).map(|(_, file)| file).collect(),
        None => files,
    };
    let mut session = Session::new(args, common)?;
    session.check_run_file()?;
    let mut progress = Progress::new(files.len(), common.json);
    let mut failed = 0usize;
    let mut skipped = 0usize;
    let mut done = 0usize;
    for (file, asked) in &files {
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
        match session.done(file, *asked, &progress) {
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
    session.write_run_file(prompts.as_ref())?;
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
    /// Where everything is looked for: how.
    everything: Option<AutomaticMaskConfig>,
    limits: DecodeLimits,
    pipeline: OnceCell<Pipeline>,
    quiet: bool,
    /// JSONs of the images that are done, where they are put together.
    records: Vec<PathBuf>,
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
                cleanup: args.everything.cleanup(args.model).unwrap_or(MaskCleanup {
                    max_hole_area: args.fill_holes,
                    max_sprinkle_area: args.remove_sprinkles,
                }),
                ..args.mgd.options()
            },
            prompts: args.prompts(mask),
            everything: args.everything.settings(args.model).map_err(UsageError)?,
            limits,
            pipeline: OnceCell::new(),
            quiet: common.json,
            records: Vec::new(),
        })
    }

    fn overwrite(&self) -> Overwrite {
        if self.args.force || self.args.resume { Overwrite::Replace } else { Overwrite::Refuse }
    }

    /// Before anything is computed.
    fn check_run_file(&self) -> anyhow::Result<()> {
        let path = run_file::path(&self.args.output, self.args.shard);
        let many = self.everything.is_some() || self.args.file.path.is_some();
        if many
            && self.args.formats.contains(&args::Format::Rle)
            && self.overwrite() == Overwrite::Refuse
            && path.exists()
        {
            anyhow::bail!("{} is there already; --force writes over it, --resume goes on", path.display());
        }
        Ok(())
    }

    /// One JSON of all images, behind the last.
    fn write_run_file(&self, prompts: Option<&PromptFile>) -> anyhow::Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        let (path, overwrite) = (run_file::path(&self.args.output, self.args.shard), self.overwrite());
        let known = prompts.map(|file| file.categories.clone()).filter(|known| !known.is_empty());
        let categories = known.unwrap_or_else(run_file::one_category);
        match prompts {
            Some(_) => run_file::write::<objects::Written>(&path, &self.records, &categories, overwrite),
            None => run_file::write::<EverythingRecord>(&path, &self.records, &categories, overwrite),
        }?;
        say(format_args!("all masks: {}", path.display()));
        Ok(())
    }

    /// The model, which is loaded for the first image.
    fn pipeline(&self, progress: &Progress) -> Result<&Pipeline, Failure> {
        if let Some(pipeline) = self.pipeline.get() {
            return Ok(pipeline);
        }
        let loaded = Pipeline::load(self.args.model, &self.args.sources(), &self.options, progress);
        let loaded = loaded.map_err(|error| Failure::Model(error.into()))?;
        Ok(self.pipeline.get_or_init(|| loaded))
    }

    /// Whether an image's results are there already and may stay.
    fn is_done(&self, file: &Path, expected: &[PathBuf]) -> Result<bool, Failure> {
        let present: Vec<&PathBuf> = expected.iter().filter(|path| path.exists()).collect();
        // an empty file is what a full disk leaves
        let whole = present.iter().filter(|path| path.metadata().is_ok_and(|found| found.len() > 0)).count();
        if self.args.resume && whole == expected.len() {
            return Ok(true);
        }
        if let (Some(first), Overwrite::Refuse) = (present.first(), self.overwrite()) {
            let message = format!(
                "{}: the result {} is there already; --force writes over it, --resume leaves it",
                file.display(),
                first.display()
            );
            return Err(anyhow::Error::msg(message).into());
        }
        Ok(false)
    }

    /// One image of a run that has a JSON of all; `None` as in [`Session::segment`]. `files` are those that it will have, `work` writes them and says so in a line.
    fn of_run(
        &mut self,
        file: &Path,
        progress: &Progress,
        files: impl FnOnce(&Outputs) -> Vec<PathBuf>,
        work: impl FnOnce(&Self, &Outputs, &Photo, &OfImage<'_>) -> Result<String, Failure>,
    ) -> Result<Option<String>, Failure> {
        let outputs = Outputs::new(&self.args.output, file, &self.args.formats, self.args.model.kind());
        let (expected, record) = (files(&outputs), outputs.path("json"));
        let line = match self.is_done(file, &expected)? {
            true => None,
            false => {
                let watch = OfImage { name: file.display().to_string(), progress };
                Some(work(self, &outputs, &self.photo(file, &watch)?, &watch)?)
            }
        };
        self.records.extend(expected.contains(&record).then_some(record));
        Ok(line)
    }

    /// All masks of one image.
    fn find_everything(
        &mut self,
        file: &Path,
        settings: &AutomaticMaskConfig,
        progress: &Progress,
    ) -> Result<Option<String>, Failure> {
        self.of_run(file, progress, together::files, |session, outputs, photo, watch| {
            let mut tell = |done: usize, of: usize| {
                watch.stage(&format!("{done} of {of} clicks"));
                true
            };
            let (model, name) = (session.args.model, &watch.name);
            let pipeline = session.pipeline(progress)?;
            watch.stage("encoding");
            let found = pipeline.everything(photo.seen(), None, settings, &mut tell);
            let masks = found.with_context(|| name.clone())?.unwrap_or_default();
            let record = EverythingRecord::new(name.clone(), photo.dimensions(), model, settings, &masks);
            let ((), written) = session
                .written(|put| together::make(outputs, photo, masks.iter().map(|mask| &mask.rle), &record, put))?;
            match session.quiet {
                true => Ok(record.line(names(&written))?),
                false => Ok(everything::line(&record, &shown(&written))),
            }
        })
    }

    /// The objects of one image that a file asks about.
    fn find_objects(
        &mut self,
        file: &Path,
        asked: &AskedImage,
        progress: &Progress,
    ) -> Result<Option<String>, Failure> {
        let files = |outputs: &Outputs| objects::files(outputs, asked);
        self.of_run(file, progress, files, |session, outputs, photo, watch| {
            let (model, name) = (session.args.model, &watch.name);
            let (prompts, notes) = objects::prompts(asked, photo).with_context(|| name.clone())?;
            notes.iter().for_each(|said| watch.note(said));
            let pipeline = session.pipeline(progress)?;
            let work = objects::Work { name: name.clone(), model, asked, photo, prompts: &prompts };
            let make = |put: output::Put<'_>| work.make(pipeline, outputs, watch, put).with_context(|| name.clone());
            let (record, written) = session.written(make)?;
            match session.quiet {
                true => Ok(record.line(names(&written))?),
                false => Ok(objects::line(&record, &shown(&written))),
            }
        })
    }

    /// Does one image, as the user has asked; `None` when its results are there already and may stay.
    fn done(
        &mut self,
        file: &Path,
        asked: Option<&AskedImage>,
        progress: &Progress,
    ) -> Result<Option<String>, Failure> {
        match (asked, self.everything.clone()) {
            (Some(asked), _) => self.find_objects(file, asked, progress),
            (None, Some(settings)) => self.find_everything(file, &settings, progress),
            (None, None) => self.segment(file, progress),
        }
    }

    fn photo(&self, file: &Path, watch: &OfImage<'_>) -> Result<Photo, Failure> {
        watch.stage("reading");
        let photo = Photo::open(file, &self.limits, self.args.photo.colours)?;
        photo.notes().for_each(|said| watch.note(said));
        Ok(photo)
    }

    /// Writes an image's files as `make` puts them.
    fn written<T>(
        &self,
        make: impl FnOnce(output::Put<'_>) -> anyhow::Result<T>,
    ) -> Result<(T, Vec<PathBuf>), Failure> {
        // not before there is something to put in it; without it no image can be done
        seg_data::output::create_folder(&self.args.output).map_err(|e| Failure::Model(e.into()))?;
        output::write_all(self.overwrite(), make).map_err(|error| match disk_full(&error) {
            true => Failure::Model(error), // the next image would fare no better
            false => Failure::Image(error),
        })
    }

    /// Does one image; `None` when its results are there already and may stay.
    fn segment(&mut self, file: &Path, progress: &Progress) -> Result<Option<String>, Failure> {
        let outputs = Outputs::new(&self.args.output, file, &self.args.formats, self.args.model.kind());
        if self.is_done(file, &outputs.files(if self.args.multimask { CANDIDATES } else { 1 }))? {
            return Ok(None);
        }
        let watch = OfImage { name: file.display().to_string(), progress };
        let here = || file.display().to_string();
        let photo = self.photo(file, &watch)?;
        let (prompts, moved) = photo.place(&self.prompts).with_context(here)?;
        moved.iter().for_each(|said| watch.note(said));
        let pipeline = self.pipeline(progress)?;
        let segmented = pipeline.segment(photo.seen(), &prompts, &watch).with_context(here)?;
        segmented.notes.iter().for_each(|said| watch.note(said));
        let mask = self.args.mask.as_ref().map(|path| path.display().to_string());
        let asked = PromptRecord::new(&prompts, mask);
        let record = Record::new(here(), photo.dimensions(), self.args.model, asked, &segmented);
        let done = Done { photo: &photo, prompts: &prompts, segmented: &segmented, record: &record };
        let ((), written) = self.written(|put| outputs.make(&done, put))?;
        if self.overwrite() == Overwrite::Replace {
            outputs.remove_stale(segmented.masks.len());
        }
        let line = match self.quiet {
            true => record.line(names(&written))?,
            false => line(&record, segmented.told.as_deref(), &written),
        };
        Ok(Some(line))
    }
}

fn names(written: &[PathBuf]) -> Vec<String> {
    written.iter().map(|path| path.display().to_string()).collect()
}

/// The file to look at, behind an arrow.
fn shown(written: &[PathBuf]) -> String {
    let ending = |ending: &str| written.iter().find(|path| path.to_string_lossy().ends_with(ending));
    let shown = ending("compare.png").or_else(|| ending("overlay.png")).or(written.first());
    shown.map_or(String::new(), |path| format!("  ->  {}", path.display()))
}

/// One line for a person; `told` is what there is to say of two stages.
fn line(record: &Record, told: Option<&str>, written: &[PathBuf]) -> String {
    let shown = shown(written);
    let (iou, share) = record.masks.first().map_or((None, 0.0), |mask| (mask.predicted_iou, mask.area_share));
    let judged = match (iou, told) {
        (Some(iou), _) => format!("predicted IoU {iou:.3}, "),
        (None, Some(told)) => format!("{told}, "),
        (None, None) => String::new(),
    };
    format!("{}: {judged}{:.1} % of the image{shown}", record.image, 100.0 * share)
}

fn disk_full(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref(), Some(DataError::DiskFull { .. })))
}
