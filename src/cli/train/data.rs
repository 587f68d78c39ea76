//! What `--data` and `--val` stand for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use seg_data::training::folders::{Found, Pairs, Part, Reading, choose, find, named};
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
    as_learnt(argument, folder(argument, layout, purpose, common)?, recipe)
}

/// A folder in two parts: what is learnt from, and `part` of it that is measured on.
pub fn divided(
    argument: &str,
    part: f64,
    layout: Option<&str>,
    recipe: &Recipe,
    common: &Common,
) -> anyhow::Result<(Source, Source)> {
    if !(part > 0. && part < 1.) {
        return Err(UsageError(format!("--hold-out is {part}, expected a part above 0 and below 1: 0.1")).into());
    }
    let sentences = layout.is_some_and(|layout| clips::LAYOUTS.contains(&layout)) || recipe.system.takes_sentences();
    if sentences || procedural(argument).is_some() {
        let problem = format!(
            "--hold-out takes pictures out of a folder of pictures and masks; {argument} has held-out ones of its own, or takes --val"
        );
        return Err(UsageError(problem).into());
    }
    let (rest, held) =
        folder(argument, layout, Purpose::Learning, common)?.hold_out(part, recipe.seed).map_err(usage)?;
    Ok((as_learnt(argument, rest, recipe)?, as_learnt(argument, held, recipe)?))
}

fn usage(error: seg_data::DataError) -> UsageError {
    UsageError(error.to_string())
}

/// The pictures and masks of a folder.
fn folder(argument: &str, layout: Option<&str>, purpose: Purpose, common: &Common) -> Result<PairedFolder, UsageError> {
    let layout = layout.map(named).transpose().map_err(usage)?;
    let parts = find(Path::new(argument), layout.as_ref()).map_err(usage)?;
    let pairs = Pairs::of(chosen(argument, parts, purpose).map_err(usage)?).map_err(usage)?;
    let folder = PairedFolder::from_pairs(pairs).map_err(usage)?;
    Ok(folder.reading(Reading { limits: common.limits(), ..Reading::default() }))
}

/// The part of a folder that is meant: to measure on, the only one that is there to validate on; else what [`choose`] says.
fn chosen(argument: &str, parts: Vec<Found>, purpose: Purpose) -> seg_data::Result<Found> {
    let mut to_validate = parts.iter().filter(|part| part.split.part == Part::Validation);
    let split = match (purpose, to_validate.next(), to_validate.next()) {
        (Purpose::Measuring, Some(only), None) => Some(only.split.name.clone()),
        _ => None,
    };
    choose(Path::new(argument), parts, split.as_deref())
}

/// Pictures as the recipe's system takes them.
fn as_learnt(argument: &str, folder: PairedFolder, recipe: &Recipe) -> anyhow::Result<Source> {
    let folder = Arc::new(folder);
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
    let part = |argument: &str, purpose| chosen(argument, parts(argument, args), purpose).ok();
    let data = part(&args.data, Purpose::Learning);
    let val = args.val.as_ref().and_then(|val| part(val, Purpose::Measuring));
    let pictures = |part: &Option<Found>| part.as_ref()?.images.canonicalize().ok();
    let same = pictures(&val).is_some_and(|at| pictures(&data) == Some(at));
    for (argument, part) in [(Some(&args.data), data), (args.val.as_ref(), val)] {
        notes.extend(argument.into_iter().zip(part).flat_map(|(argument, part)| unpaired(argument, part)));
    }
    match &args.val {
        Some(_) if same => {
            notes.push("--val has the pictures of --data: its scores say nothing about new ones".into());
        }
        _ if measures => {}
        _ => {
            let way = "give some by --val, or take some out by --hold-out 0.1";
            notes.push(format!("no --val: nothing is measured, and there will be no best.safetensors; {way}"));
            let held_out = parts(&args.data, args).into_iter().find(|part| part.split.part == Part::Validation);
            let folder = held_out.as_ref().and_then(|part| part.images.parent());
            notes
                .extend(folder.map(|folder| format!("the data has a part to validate on: --val {}", folder.display())));
        }
    }
    notes
}

/// Files of a folder that are in no pair.
fn unpaired(argument: &str, part: Found) -> Vec<String> {
    let Ok(pairs) = Pairs::of(part) else { return Vec::new() };
    let told = |files: Vec<&PathBuf>, what: [&str; 2]| {
        let names = files.iter().take(5).map(|file| file.file_name().unwrap_or_default().to_string_lossy());
        let names = names.collect::<Vec<_>>().join(", ");
        let more = if files.len() > 5 { ", …" } else { "" };
        let what = what[usize::from(files.len() > 1)];
        (!files.is_empty())
            .then(|| format!("{argument}: {} {what}: {names}{more}; `hrseg data check` looks closer", files.len()))
    };
    [
        told(
            pairs.lone_images.iter().collect(),
            ["picture has no mask and is left out", "pictures have no mask and are left out"],
        ),
        told(
            pairs.lone_masks.iter().collect(),
            ["mask has no picture and is left out", "masks have no picture and are left out"],
        ),
        told(
            pairs.twice.iter().flatten().collect(),
            ["file of one stem is left out", "files have a stem that is there twice, and are left out"],
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The parts of a folder, where it can be looked into.
fn parts(argument: &str, args: &TrainArgs) -> Vec<Found> {
    let layout = args.layout.as_deref().and_then(|name| named(name).ok());
    match procedural(argument) {
        Some(_) => Vec::new(),
        None => find(Path::new(argument), layout.as_ref()).unwrap_or_default(),
    }
}
