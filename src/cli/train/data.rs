//! What `--data` and `--val` stand for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use seg_data::training::folders::{Found, Part, choose, find, named};
use seg_data::training::procedural::Procedural;
use seg_data::training::{Examples, PairedFolder};

use super::TrainArgs;
use crate::cli::{Common, UsageError};

/// The word for pictures that are made on the fly.
const PROCEDURAL: &str = "procedural";

/// Examples of a folder, or made on the fly: without end, or `length` of them.
pub fn open(
    argument: &str,
    layout: Option<&str>,
    length: Option<u64>,
    common: &Common,
) -> anyhow::Result<Arc<dyn Examples>> {
    if let Some(spec) = procedural(argument) {
        return made(spec, length);
    }
    let usage = |error: seg_data::DataError| UsageError(error.to_string());
    let layout = layout.map(named).transpose().map_err(usage)?;
    let folder = PairedFolder::open(argument, layout.as_ref(), None).map_err(usage)?;
    Ok(Arc::new(folder.reading(seg_data::training::folders::Reading { limits: common.limits(), ..Default::default() })))
}

/// Held-out pictures of the kind that is trained on, where they are made on the fly.
pub fn held_out(argument: &str, length: u64) -> anyhow::Result<Option<Arc<dyn Examples>>> {
    procedural(argument).map(|spec| made(spec, Some(length))).transpose()
}

/// The specification behind `procedural`, which may be none; `None`: a folder.
pub fn procedural(argument: &str) -> Option<Option<&str>> {
    let rest = argument.strip_prefix(PROCEDURAL)?;
    match rest.strip_prefix(':') {
        Some(spec) => Some(Some(spec)),
        None => rest.is_empty().then_some(None),
    }
}

/// Pictures that are made on the fly, by a file or by default.
pub fn made(spec: Option<&str>, length: Option<u64>) -> anyhow::Result<Arc<dyn Examples>> {
    Ok(Arc::new(Procedural::open(spec, length).map_err(|error| UsageError(error.to_string()))?))
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
