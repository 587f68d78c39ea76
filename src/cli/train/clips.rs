//! Data sets with sentences.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use seg_data::training::referring::{ClipFrames, Reference, ReferringImages, ReferringVideos};
use seg_data::training::{ClipExamples, Joined, Source};
use seg_train::recipe::System;

use super::data::Purpose;
use crate::cli::{Common, UsageError};

/// Their names.
pub const LAYOUTS: [&str; 7] =
    ["ref-youtube-vos", "ref-davis17", "mevis", "refcoco", "refcoco+", "refcocog", "refcoco-all"];

/// The sets of pictures, with the file that says which splits they have.
const PICTURES: [(&str, &str); 3] =
    [("refcoco", "refs(unc).p"), ("refcoco+", "refs(unc).p"), ("refcocog", "refs(umd).p")];

/// Clips of `frames` frames from the data set in `folder`.
pub fn open(
    folder: &str,
    layout: Option<&str>,
    purpose: Purpose,
    frames: usize,
    system: System,
    common: &Common,
) -> anyhow::Result<Source> {
    let usage = |error: seg_data::DataError| UsageError(error.to_string());
    let (root, learning) = (Path::new(folder), purpose == Purpose::Learning);
    let of_clip = ClipFrames::of(frames);
    let videos = match layout {
        Some("ref-youtube-vos" | "ref-davis17") => {
            ReferringVideos::ref_youtube_vos(root, if learning { "train" } else { "valid" }, of_clip)
        }
        // its `valid` has no masks, and `valid_u` is there to measure on
        Some("mevis") => ReferringVideos::mevis(root, if learning { "train" } else { "valid_u" }, of_clip),
        _ => return pictures(root, layout, learning, frames, system, common),
    };
    Ok(Source::Clips(Arc::new(videos.map_err(usage)?.with_limits(common.limits()))))
}

fn pictures(
    root: &Path,
    layout: Option<&str>,
    learning: bool,
    frames: usize,
    system: System,
    common: &Common,
) -> anyhow::Result<Source> {
    let of = |layout: &str| -> Vec<(&str, &str)> {
        PICTURES.into_iter().filter(|(name, _)| layout == "refcoco-all" || *name == layout).collect()
    };
    let sets = layout.map(of).filter(|sets| !sets.is_empty());
    let Some(sets) = sets else {
        let given = layout.map_or_else(|| "without --layout".into(), |layout| format!("with --layout {layout}"));
        let (system, known) = (system.as_str(), LAYOUTS.join(", "));
        return Err(UsageError(format!(
            "{}: {given}, and {system} learns from clips with sentences; expected --layout with one of {known}, or --data procedural",
            root.display()
        ))
        .into());
    };
    if frames != 1 {
        let problem =
            format!("{} has single pictures, and data.frames is {frames}; expected 1", layout.unwrap_or_default());
        return Err(UsageError(problem).into());
    }
    let mut sources: Vec<Arc<dyn ClipExamples>> = Vec::new();
    for (name, references) in sets {
        sources.push(Arc::new(set(root, name, references, if learning { "train" } else { "val" }, common)?));
    }
    Ok(Source::Clips(match sources.len() {
        1 => sources.remove(0),
        _ => Arc::new(Joined::clips(sources).map_err(|error| UsageError(error.to_string()))?),
    }))
}

/// One set: as MPG-SAM 2's authors convert it, or as it is published.
fn set(root: &Path, name: &str, references: &str, split: &str, common: &Common) -> anyhow::Result<ReferringImages> {
    let photos = ["train2014", "images/train2014", "images/mscoco/images/train2014"].map(|folder| root.join(folder));
    let photos = photos.iter().find(|folder| folder.is_dir()).ok_or_else(|| {
        UsageError(format!("{}: no folder train2014, expected one with the pictures of COCO", root.display()))
    })?;
    let usage = |error: seg_data::DataError| UsageError(error.to_string());
    let beside = |file: String| [root.join(&file), root.join(name).join(file)].into_iter().find(|path| path.is_file());
    if let Some(converted) = beside(format!("instances_{name}_{split}.json")) {
        return Ok(ReferringImages::from_converted(&converted, photos).map_err(usage)?.with_limits(common.limits()));
    }
    let folder = root.join(name);
    let references: PathBuf = folder.join(references);
    if !references.is_file() {
        return Err(UsageError(format!(
            "{}: no such file, and no instances_{name}_{split}.json in {}; expected one of them",
            references.display(),
            root.display()
        ))
        .into());
    }
    let references: Vec<Reference> = seg_checkpoints::from_pickle(&references)?;
    let set = ReferringImages::from_references(&references, &folder.join("instances.json"), photos, split);
    Ok(set.map_err(usage)?.with_limits(common.limits()))
}
