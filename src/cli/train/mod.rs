//! `hrseg train`: a recipe, data, and a folder in which everything of the run is kept.

mod args;
mod bench;
pub(super) mod data;
mod plan;
mod recipes;
mod watch;

pub use args::TrainArgs;
pub use bench::time;

use std::sync::Arc;

use anyhow::Context as _;
use seg_data::training::{Examples, Transforms};
use seg_train::embeddings::EmbeddingCache;
use seg_train::learners::{Learner, learner};
use seg_train::recipe::Recipe;
use seg_train::run::Run;

use super::progress::Progress;
use super::segment::load::find;
use super::segment::watch_interrupts;
use super::{Common, DtypeArg, Outcome, UsageError};
use watch::Onlooker;

/// The recipe with files in the place of what it starts from by name: what `hrseg weights list` prints, or a file of the hub.
fn with_files(recipe: &Recipe) -> anyhow::Result<Recipe> {
    let mut recipe = recipe.clone();
    let progress = Progress::new(0, false);
    for start in recipe.start.values_mut() {
        let named = start.starts_with("hub:") || seg_checkpoints::find(start).is_some();
        if named && !std::path::Path::new(start).exists() {
            *start = find("weights", Some(start), &progress)?.to_string_lossy().into_owned();
        }
    }
    Ok(recipe)
}

/// Runs the verb.
pub fn run(args: &TrainArgs, common: &Common) -> anyhow::Result<Outcome> {
    if common.dtype != DtypeArg::F32 {
        let dtype = common.dtype.name();
        return Err(UsageError(format!("training is in f32; leave out --dtype {dtype}")).into());
    }
    if args.recipe == "list" {
        return recipes::list(common);
    }
    let device = common.device.open()?;
    let recipe = recipes::read(&args.recipe, &args.set)?;
    let data = data::open(&args.data, args.layout.as_deref(), None, common)?;
    let data = recipe.examples(data).map_err(|error| UsageError(error.to_string()))?;
    let validation =
        args.val.as_ref().map(|val| data::open(val, args.layout.as_deref(), Some(recipe.validation.examples), common));
    let validation = match validation {
        Some(validation) => Some(validation?),
        None => data::held_out(&args.data, recipe.validation.examples)?,
    };
    if data.is_empty() {
        return Err(UsageError(format!("{}: no pairs of an image and a mask to learn from", args.data)).into());
    }
    let learner = learner(&with_files(&recipe)?, &device).context("the model cannot be built")?;
    let [transforms, plain] = recipe.transforms(learner.image_size())?;
    let out = args.out.clone();
    let embeddings = embeddings(args, learner.as_ref(), &transforms, data.as_ref())?;
    let run = Run {
        embeddings, recipe, transforms, plain, learner, data, validation, out: out.clone().unwrap_or_default() };
    run.check_validation().map_err(|error| UsageError(error.to_string()))?;
    if args.dry_run {
        return plan::show(&run, common);
    }
    let Some(out) = out else {
        return Err(UsageError("--out DIR is missing: where checkpoints, curves and pictures go".into()).into());
    };
    let stop = watch_interrupts("step")?;
    let mut onlooker = Onlooker::new(&run, common.json);
    if run.validation.is_none() {
        onlooker.say("no --val: nothing is measured, and there will be no best.safetensors");
    }
    if let Some(note) = plan::prompts_unseen(&run) {
        onlooker.say(&note);
    }
    plan::starts_from(&run).iter().for_each(|line| onlooker.say(line));
    let ended = run.train(args.resume, &stop, &mut onlooker)?;
    if let Some(cache) = &run.embeddings {
        let counts = cache.counts();
        onlooker.say(&format!("embeddings: {} made, {} found", counts.made, counts.found));
    }
    onlooker.ended(&ended, &out)?;
    Ok(if ended.complete { Outcome::Done } else { Outcome::SomeFailed })
}

/// The folder of embeddings, where one is asked for.
fn embeddings(
    args: &TrainArgs,
    learner: &dyn Learner,
    transforms: &Transforms,
    data: &dyn Examples,
) -> anyhow::Result<Option<Arc<EmbeddingCache>>> {
    let Some(given) = &args.cache_embeddings else { return Ok(None) };
    if args.dry_run {
        return Ok(None);
    }
    let usage = |problem: String| anyhow::Error::from(UsageError(problem));
    if !args.cache_limit.is_finite() || args.cache_limit <= 0. {
        return Err(usage(format!("--cache-limit is {}, expected GiB above 0", args.cache_limit)));
    }
    let folder = match (given, &args.out) {
        (Some(folder), _) => folder.clone(),
        (None, Some(out)) => out.join("embeddings"),
        (None, None) => return Err(usage("--out DIR is missing: where checkpoints, curves and pictures go".into())),
    };
    let limit = (args.cache_limit * (1u64 << 30) as f64) as u64;
    let cache = EmbeddingCache::open(&folder, limit, learner, transforms, data)
        .map_err(|error| usage(format!("--cache-embeddings: {error}")))?;
    Ok(Some(Arc::new(cache)))
}
