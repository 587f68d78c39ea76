//! What `--data` and `--val` stand for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use seg_data::training::folders::{Found, Part, choose, find, named};
use seg_data::training::procedural::{Procedural, ProceduralClips, Split};
use seg_data::training::{Examples, PairedFolder, Source, Stills};
use seg_train::recipe::Recipe;

use super::{TrainArgs, clips};
use crate::cli::{Common, UsageError};

/// The word for pictures that are made on the fly.
const PROCEDURAL: &str = "procedural";

/// What examples are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To learn from; where they are made on the fly, without end.
    Learning,
    /// To measure on.
    Measuring,
}

/// What the recipe's system takes, of a folder or made on the fly.
pub fn open(
    argument: &str,
    layout: Option<&str>,
    purpose: Purpose,
    recipe: &Recipe,
    common: &Common,
) -> anyhow::Result<Source> {
    if let Some(spec) = procedural(argument) {
        return source(spec, purpose, recipe);
    }
    let referring = layout.is_some_and(|layout| clips::LAYOUTS.contains(&layout));
    if let Some(frames) = recipe.frames().filter(|_| referring || recipe.system.takes_sentences()) {
        return clips::open(argument, layout, purpose, frames, recipe.system, common);
    }
    if let Some(layout) = layout.filter(|_| referring) {
        let system = recipe.system.as_str();
        return Err(UsageError(format!(
            "--layout {layout} has sentences, and {system} learns from pictures and masks alone"
        ))
        .into());
    }
    let usage = |error: seg_data::DataError| UsageError(error.to_string());
    let layout = layout.map(named).transpose().map_err(usage)?;
    let folder = PairedFolder::open(argument, layout.as_ref(), None).map_err(usage)?;
    let reading = seg_data::training::folders::Reading { limits: common.limits(), ..Default::default() };
    let folder = Arc::new(folder.reading(reading));
    match recipe.frames() {
        None => Ok(Source::Pictures(folder)),
        Some(1) => Ok(Source::Clips(Arc::new(Stills(folder)))),
        Some(frames) => {
            let problem = format!("{argument}: a folder of single pictures, and data.frames is {frames}; expected 1");
            Err(UsageError(problem).into())
        }
    }
}

/// Held-out examples of the kind that is trained on, where they are made on the fly.
pub fn held_out(argument: &str, recipe: &Recipe) -> anyhow::Result<Option<Source>> {
    procedural(argument).map(|spec| source(spec, Purpose::Measuring, recipe)).transpose()
}

/// The specification behind `procedural`, which may be none; `None`: a folder.
pub fn procedural(argument: &str) -> Option<Option<&str>> {
    let rest = argument.strip_prefix(PROCEDURAL)?;
    match rest.strip_prefix(':') {
        Some(spec) => Some(Some(spec)),
        None => rest.is_empty().then_some(None),
    }
}

fn source(spec: Option<&str>, purpose: Purpose, recipe: &Recipe) -> anyhow::Result<Source> {
    let usage = |error: seg_data::DataError| UsageError(error.to_string());
    let (length, split) = match purpose {
        Purpose::Learning => (None, Split::Training),
        Purpose::Measuring => (Some(recipe.validation.examples), Split::HeldOut),
    };
    let made = opened(spec, length)?;
    Ok(match recipe.frames() {
        None => Source::Pictures(Arc::new(made)),
        Some(_) => Source::Clips(Arc::new(ProceduralClips::new(made, split, recipe.frames()).map_err(usage)?)),
    })
}

fn opened(spec: Option<&str>, length: Option<u64>) -> Result<Procedural, UsageError> {
    Procedural::open(spec, length).map_err(|error| UsageError(error.to_string()))
}

/// Pictures that are made on the fly, by a file or by default.
pub fn made(spec: Option<&str>, length: Option<u64>) -> anyhow::Result<Arc<dyn Examples>> {
    Ok(Arc::new(opened(spec, length)?))
}

/// Refuses to write a run into the folder of its pictures.
pub fn refuse_as_output(args: &TrainArgs) -> anyhow::Result<()> {
    let Some(out) = args.out.as_deref().and_then(|out| out.canonicalize().ok()) else { return Ok(()) };
    for (name, argument) in [("--data", Some(&args.data)), ("--val", args.val.as_ref())] {
        let Some(argument) = argument.filter(|argument| procedural(argument).is_none()) else { continue };
        let found = parts(argument, args);
        let folders = found.iter().flat_map(|part| [part.images.as_path(), &part.masks]).chain([Path::new(argument)]);
        if folders.filter_map(|folder| folder.canonicalize().ok()).any(|folder| folder == out) {
            let problem = format!("--out {}: that is the folder of {name}; give one of its own", out.display());
            return Err(UsageError(problem).into());
        }
    }
    Ok(())
}

/// What is to be said about what is measured on.
pub fn notes(args: &TrainArgs, measures: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let pictures = |argument: &str| -> Option<PathBuf> {
        let found = choose(Path::new(argument), parts(argument, args), None).ok()?;
        found.images.canonicalize().ok()
    };
    match &args.val {
        Some(val) if procedural(val).is_none() && pictures(val).is_some_and(|at| pictures(&args.data) == Some(at)) => {
            notes.push("--val has the pictures of --data: its scores say nothing about new ones".into());
        }
        _ if measures => {}
        _ => {
            notes.push("no --val: nothing is measured, and there will be no best.safetensors".into());
            let held_out = parts(&args.data, args).into_iter().find(|part| part.split.part == Part::Validation);
            let folder = held_out.as_ref().and_then(|part| part.images.parent());
            notes
                .extend(folder.map(|folder| format!("the data has a part to validate on: --val {}", folder.display())));
        }
    }
    notes
}

/// The parts of a folder, where it can be looked into.
fn parts(argument: &str, args: &TrainArgs) -> Vec<Found> {
    let layout = args.layout.as_deref().and_then(|name| named(name).ok());
    match procedural(argument) {
        Some(_) => Vec::new(),
        None => find(Path::new(argument), layout.as_ref()).unwrap_or_default(),
    }
}
