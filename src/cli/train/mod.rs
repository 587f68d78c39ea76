//! `hrseg train`: a recipe, data, and a folder in which everything of the run is kept.

mod args;
mod bench;
mod clips;
pub(super) mod data;
mod plan;
pub mod recipes;
mod room;
mod signals;
mod watch;

pub use args::TrainArgs;
pub use bench::time;

use std::sync::Arc;

use candle_core::Device;
use seg_data::DataError;
use seg_data::training::{Source, Transforms};
use seg_ops::AllReduce;
use seg_train::TrainError;
use seg_train::embeddings::EmbeddingCache;
use seg_train::learners::{Learner, learner_among};
use seg_train::parallel::{Group, Launch, agree};
use seg_train::recipe::Recipe;
use seg_train::run::Run;
use seg_train::store::Store;

use super::common::in_one_line;
use super::progress::Progress;
use super::segment::watch_interrupts;
use super::{Common, DeviceArg, DtypeArg, Outcome, ToldElsewhere, UsageError};
use crate::pipeline::Watch as _;
use watch::Onlooker;

/// Whether it names what is fetched: what `hrseg weights list` prints, or a file of the hub.
fn is_name(start: &str) -> bool {
    let named = start.starts_with("hub:") || seg_checkpoints::find(start).is_some();
    named && !std::path::Path::new(start).exists()
}

/// The recipe with files in the place of what it starts from by name.
fn with_files(recipe: &Recipe) -> anyhow::Result<Recipe> {
    let mut recipe = recipe.clone();
    let progress = Progress::new(0, false);
    for start in recipe.start.values_mut().filter(|start| is_name(start)) {
        *start = progress.find("weights", Some(start))?.to_string_lossy().into_owned();
    }
    Ok(recipe)
}

/// The recipe without what would have to be fetched: sizes and times are the same without.
fn without_names(recipe: &Recipe) -> Recipe {
    let mut recipe = recipe.clone();
    recipe.start.retain(|_, start| !is_name(start));
    recipe
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
    let launch = Launch::from_env().map_err(|error| UsageError(error.to_string()))?;
    in_a_group(args, common, &launch).map_err(|error| match error.downcast_ref() {
        // the first process tells it
        Some(TrainError::Elsewhere) if launch.rank > 0 => ToldElsewhere.into(),
        _ if launch.rank > 0 => error.context(process(&launch)),
        _ => error,
    })
}

/// What messages of a process that is not the first begin with.
fn process(launch: &Launch) -> String {
    format!("process {} of {}", launch.rank + 1, launch.ranks)
}

fn in_a_group(args: &TrainArgs, common: &Common, launch: &Launch) -> anyhow::Result<Outcome> {
    let device = match common.device {
        // every process of a machine takes a GPU of its own
        DeviceArg::Cuda(number) => DeviceArg::Cuda(number + launch.local_rank).open()?,
        DeviceArg::Auto if launch.ranks > 1 && candle_core::utils::cuda_is_available() => {
            DeviceArg::Cuda(launch.local_rank).open()?
        }
        device => device.open()?,
    };
    let group = Group::join(launch, &device).map_err(|error| match error {
        TrainError::Processes { problem } => anyhow::Error::from(UsageError(problem)),
        error => error.into(),
    })?;
    let sums = group.sums();
    // until the first step is done
    let guard = agree(sums.as_ref(), room::Guard::new(args.memory).map_err(anyhow::Error::from))?;
    let run = agree(sums.as_ref(), made_of(args, common, &device, &sums))?;
    if !args.resume {
        agree(sums.as_ref(), guard.check(&run))?;
    }
    let outcome = train(args, common, &run, launch, guard)?;
    group.leave();
    Ok(outcome)
}

/// The run that the arguments ask for.
fn made_of(args: &TrainArgs, common: &Common, device: &Device, group: &Arc<dyn AllReduce>) -> anyhow::Result<Run> {
    let recipe = recipes::read(&args.recipe, &args.set)?;
    data::refuse_as_output(args)?;
    let layout = args.layout.as_deref();
    let (data, held) = match args.hold_out {
        Some(part) => {
            data::divided(&args.data, part, layout, &recipe, common).map(|(rest, held)| (rest, Some(held)))?
        }
        None => (data::open(&args.data, layout, data::Purpose::Learning, &recipe, common)?, None),
    };
    let data = recipe.examples(data).map_err(|error| UsageError(error.to_string()))?;
    let validation = args.val.as_ref().map(|val| data::open(val, layout, data::Purpose::Measuring, &recipe, common));
    let validation = match (validation, held) {
        (Some(validation), _) => Some(validation?),
        (None, Some(held)) => Some(held),
        (None, None) => data::held_out(&args.data, &recipe)?,
    };
    if data.is_empty() {
        return Err(UsageError(format!("{}: no pairs of an image and a mask to learn from", args.data)).into());
    }
    let begun = if args.dry_run { without_names(&recipe) } else { with_files(&recipe)? };
    let learner = learner_among(&begun, device, group).map_err(|error| match error {
        TrainError::Recipe { .. } | TrainError::Setting { .. } => UsageError(error.to_string()).into(),
        error => anyhow::Error::from(error).context("the model cannot be built"),
    })?;
    let [transforms, plain] = recipe.transforms(learner.image_size())?;
    let embeddings = embeddings(args, learner.as_ref(), &transforms, &data)?;
    let (out, group) = (args.out.clone().unwrap_or_default(), group.clone());
    let run = Run { embeddings, recipe, transforms, plain, learner, data, validation, out, group };
    run.check_validation().map_err(|error| UsageError(error.to_string()))?;
    if args.out.is_none() && !args.dry_run {
        return Err(UsageError("--out DIR is missing: where checkpoints, curves and pictures go".into()).into());
    }
    Ok(run)
}

fn train(args: &TrainArgs, common: &Common, run: &Run, launch: &Launch, guard: room::Guard) -> anyhow::Result<Outcome> {
    if args.dry_run {
        return plan::show(run, common);
    }
    let stop = watch_interrupts("step")?;
    signals::watch_termination(&stop)?;
    let mut onlooker = match launch.rank {
        0 => Onlooker::new(run, common.json),
        _ => Onlooker::silent(process(launch)),
    }
    .with_guard(guard);
    data::notes(args, run.validation.is_some()).iter().for_each(|note| onlooker.say(note));
    if let Some(note) = plan::prompts_unseen(run) {
        onlooker.say(&note);
    }
    if let Some(note) = plan::never_at_its_height(run) {
        onlooker.say(&note);
    }
    plan::starts_from(run).iter().for_each(|line| onlooker.say(line));
    let ended = run.train(args.resume, &stop, &mut onlooker).map_err(|error| with_way_on(error, run))?;
    if let Some(cache) = &run.embeddings {
        let counts = cache.counts();
        onlooker.say(&format!("embeddings: {} made, {} found", counts.made, counts.found));
    }
    onlooker.ended(&ended, &run.out)?;
    Ok(if ended.complete { Outcome::Done } else { Outcome::SomeFailed })
}

/// An error that a run has ended with, and from where it can go on.
fn with_way_on(error: TrainError, run: &Run) -> anyhow::Error {
    let stored = |error: &anyhow::Error| {
        let full = |cause: &(dyn std::error::Error + 'static)| {
            matches!(cause.downcast_ref(), Some(DataError::DiskFull { .. }))
        };
        error.chain().any(|cause| cause.is::<std::io::Error>() || full(cause))
    };
    let all = Store::new(&run.out, run.recipe.checkpoint.keep).all().unwrap_or_default();
    let step = all.last().and_then(|newest| newest.file_name()?.to_str()?.parse::<u64>().ok());
    let error = anyhow::Error::from(error);
    match step.filter(|_| stored(&error)) {
        Some(step) => anyhow::anyhow!("{}; step {step} is saved, and --resume goes on from there", in_one_line(&error)),
        None => error,
    }
}

/// The folder of embeddings, where one is asked for.
fn embeddings(
    args: &TrainArgs,
    learner: &dyn Learner,
    transforms: &Transforms,
    data: &Source,
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
    let Source::Pictures(pictures) = data else {
        return Err(usage("--cache-embeddings: the system learns from clips, of which no embeddings are kept".into()));
    };
    let cache = EmbeddingCache::open(&folder, limit, learner, transforms, pictures.as_ref())
        .map_err(|error| usage(format!("--cache-embeddings: {error}")))?;
    Ok(Some(Arc::new(cache)))
}
