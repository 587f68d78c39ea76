//! How long a step of a training takes, and how much memory.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use seg_data::training::transform::Transforms;
use seg_data::training::{Example, ExamplePrompt, Examples, Place, Source};
use seg_ops::Alone;
use seg_train::learners::learner;
use seg_train::run::{Run, Scores, Stepped, Watch};

use super::recipes;
use crate::cli::bench::{disc, median, pattern};
use crate::cli::memory::{peak_rss_bytes, processor_seconds, rss_bytes};
use crate::cli::{Common, DtypeArg, Outcome, UsageError};

/// The same picture again and again, of the network's size already: making and preparing pictures is not what is timed.
struct Still(Example);

impl Still {
    fn new(side: u32) -> seg_data::Result<Self> {
        let mask = disc(side)?;
        let prompt = ExamplePrompt { coarse: Some(mask.clone()), ..ExamplePrompt::default() };
        Ok(Self(Example { name: "pattern".into(), image: pattern(side), mask, prompt: Some(prompt) }))
    }
}

impl Examples for Still {
    fn len(&self) -> Option<u64> {
        None
    }

    fn example(&self, _: Place) -> seg_data::Result<Example> {
        Ok(self.0.clone())
    }

    fn digest(&self) -> seg_data::Result<String> {
        Ok("pattern".into())
    }
}

/// Nobody.
struct Unwatched;

impl Watch for Unwatched {
    fn note(&mut self, _: &str) {}
    fn stepped(&mut self, _: &Stepped) {}
    fn measured(&mut self, _: u64, _: &Scores) {}
}

/// Times `steps` steps of the recipe behind a first one, and prints them.
pub fn time(recipe: &str, changes: &[String], steps: u32, common: &Common) -> anyhow::Result<Outcome> {
    if common.dtype != DtypeArg::F32 {
        return Err(UsageError(format!("training is in f32; leave out --dtype {}", common.dtype.name())).into());
    }
    let recipe = recipes::read(recipe, changes)?;
    if recipe.system.takes_clips() {
        let system = recipe.system.as_str();
        return Err(UsageError(format!("{system} learns from clips: time it by `hrseg train … --dry-run`")).into());
    }
    let learner =
        learner(&super::without_names(&recipe), &common.device.open()?).context("the model cannot be built")?;
    let data = Source::Pictures(Arc::new(Still::new(learner.image_size() as u32)?));
    let as_it_is = Transforms { steps: Vec::new() };
    let (system, batch) = (recipe.system.as_str(), recipe.data.batch * recipe.data.accumulate);
    let checkpointing = recipe.checkpointing;
    let (transforms, plain, out) = (as_it_is.clone(), as_it_is, PathBuf::new());
    let group = Arc::new(Alone);
    let run = Run { recipe, learner, data, transforms, plain, validation: None, embeddings: None, out, group };
    let (loaded, before) = (rss_bytes(), processor_seconds());
    let mut step_s = run.time(u64::from(steps) + 1, &mut Unwatched)?;
    let processor = processor_seconds().zip(before).map(|(after, before)| (after - before) / step_s.len() as f64);
    step_s.remove(0);
    let (middle, peak) = (median(&step_s), peak_rss_bytes());
    let mut out = std::io::stdout().lock();
    if common.json {
        let report = serde_json::json!({
            "system": system, "batch": batch, "checkpointing": checkpointing, "threads": common.threads_used(),
            "median_s": middle, "step_s": step_s, "processor_s": processor, "loaded_rss_bytes": loaded, "peak_rss_bytes": peak,
        });
        writeln!(out, "{report}")?;
        return Ok(Outcome::Done);
    }
    let all: Vec<String> = step_s.iter().map(|s| format!("{s:.3}")).collect();
    writeln!(out, "{system}, steps of {batch} examples, {} threads", common.threads_used())?;
    writeln!(out, "  step     {middle:>8.3} s  (median of {})", all.join(" "))?;
    if let Some(processor) = processor {
        writeln!(out, "  of processors {processor:.3} s a step, the first one included")?;
    }
    if let (Some(peak), Some(loaded)) = (peak, loaded) {
        let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
        writeln!(out, "  memory   {:>8.2} GiB at most, {:.2} with the model loaded", gib(peak), gib(loaded))?;
    }
    Ok(Outcome::Done)
}
