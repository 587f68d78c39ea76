//! `hrseg train`: a recipe, data, and a folder in which everything of the run is kept.

mod args;
mod bench;
mod data;
mod plan;
mod recipes;
mod watch;

pub use args::TrainArgs;
pub use bench::time;

use anyhow::Context as _;
use seg_train::learners::learner;
use seg_train::run::Run;

use super::segment::watch_interrupts;
use super::{Common, DtypeArg, Outcome, UsageError};
use watch::Onlooker;

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
    let validation =
        args.val.as_ref().map(|val| data::open(val, args.layout.as_deref(), Some(recipe.validation.examples), common));
    let validation = match validation {
        Some(validation) => Some(validation?),
        None => data::held_out(&args.data, recipe.validation.examples)?,
    };
    if data.is_empty() {
        return Err(UsageError(format!("{}: no pairs of an image and a mask to learn from", args.data)).into());
    }
    let learner = learner(&recipe, &device).context("the model cannot be built")?;
    let [transforms, plain] = recipe.transforms(learner.image_size())?;
    let out = args.out.clone();
    let run = Run { recipe, transforms, plain, learner, data, validation, out: out.clone().unwrap_or_default() };
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
    onlooker.ended(&ended, &out)?;
    Ok(if ended.complete { Outcome::Done } else { Outcome::SomeFailed })
}
