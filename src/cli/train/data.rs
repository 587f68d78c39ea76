//! What `--data` and `--val` stand for.

use std::sync::Arc;

use seg_data::training::folders::named;
use seg_data::training::procedural::Procedural;
use seg_data::training::{Examples, PairedFolder};

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
