//! What is written of all of an image's masks together.

use std::path::PathBuf;

use seg_data::Rle;
use serde::Serialize;

use super::args::Format;
use super::output::{Outputs, Put};
use crate::pipeline::Photo;
use crate::pipeline::labels::{label_map, label_png, overlay};

/// In the order in which they are written: a JSON says that the image is complete.
pub const FILES: [(Format, &str); 3] =
    [(Format::Mask, "labels.png"), (Format::Overlay, "overlay.png"), (Format::Rle, "json")];

/// Those of an image that are asked for.
pub fn files(outputs: &Outputs) -> Vec<PathBuf> {
    asked(outputs).map(|(_, ending)| outputs.path(ending)).collect()
}

fn asked(outputs: &Outputs) -> impl Iterator<Item = (Format, &'static str)> {
    FILES.into_iter().filter(|(format, _)| outputs.asked(*format))
}

/// Makes them, in the order of [`files`], and puts each where `put` does. Masks are numbered as they come, from 1.
///
/// # Errors
/// Those of encoding; those of `put`.
pub fn make<'m>(
    outputs: &Outputs,
    photo: &Photo,
    masks: impl IntoIterator<Item = &'m Rle>,
    record: &impl Serialize,
    put: Put<'_>,
) -> anyhow::Result<()> {
    // a JSON alone needs no map
    let drawn = asked(outputs).any(|(format, _)| format != Format::Rle);
    let map = label_map(masks.into_iter().filter(|_| drawn), photo.dimensions());
    for (format, ending) in asked(outputs) {
        let bytes = match format {
            Format::Mask => label_png(&map)?,
            Format::Overlay => overlay(photo.seen(), &map)?,
            _ => serde_json::to_vec_pretty(record)?,
        };
        put(outputs.path(ending), &bytes)?;
    }
    Ok(())
}
