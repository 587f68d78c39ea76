//! Which folders of a data set hold its pictures and which its masks: by a layout, or by looking.

use std::path::{Path, PathBuf};

use super::layout::{IMAGE_NAMES, Layout, MASK_NAMES, Part, Split, plain};
use super::look;
use crate::error::{DataError, Result};
use crate::inputs::{Folder, text};

/// A part of a data set that is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// How it is read: its name, endings, what stands behind the stems of masks.
    pub split: Split,
    /// The folder of pictures.
    pub images: PathBuf,
    /// The folder of masks; may be the same one.
    pub masks: PathBuf,
    /// The folder of coarse masks.
    pub prompts: Option<PathBuf>,
}

/// The parts of a data set that are there, in the layout's order; without a layout, those that are found by looking.
///
/// # Errors
/// A folder that is not there or cannot be read; nothing in it that fits the layout, or no two folders whose stems pair.
pub fn find(root: &Path, layout: Option<&Layout>) -> Result<Vec<Found>> {
    if !root.is_dir() {
        return Err(DataError::InputNotFound { input: format!("{} (expected a folder)", root.display()) });
    }
    let Some(layout) = layout else { return look::look(root) };
    let mut found = by_layout(root, layout)?;
    if found.is_empty() {
        // the data set within a folder of its own
        for folder in sorted(Folder::read(root)?.folders) {
            found = by_layout(&root.join(folder), layout)?;
            if !found.is_empty() {
                break;
            }
        }
    }
    if found.is_empty() {
        let expected = layout.splits.iter().take(3).map(expectation).collect::<Vec<_>>().join("; or ");
        return Err(DataError::NoSplit { root: root.display().to_string(), layout: layout.name.clone(), expected });
    }
    Ok(found)
}

/// The part to take of several: the one that is asked for, else the only one, else the only one to learn from.
///
/// # Errors
/// A part that is not there, or several to choose from.
pub fn choose(root: &Path, found: Vec<Found>, name: Option<&str>) -> Result<Found> {
    let names: Vec<String> = found.iter().map(|f| f.split.name.clone()).collect();
    let wrong = |asked: &str| DataError::WhichSplit {
        root: root.display().to_string(),
        asked: asked.to_owned(),
        found: names.join(", "),
    };
    match name {
        Some(name) => found.into_iter().find(|f| plain(&f.split.name) == plain(name)).ok_or_else(|| wrong(name)),
        None => {
            let alone = found.len() == 1;
            let mut to_learn = found.into_iter().filter(|f| alone || f.split.part == Part::Train);
            match (to_learn.next(), to_learn.next()) {
                (Some(only), None) => Ok(only),
                _ => Err(wrong("none")),
            }
        }
    }
}

fn by_layout(root: &Path, layout: &Layout) -> Result<Vec<Found>> {
    let mut found: Vec<Found> = Vec::new();
    for split in &layout.splits {
        if found.iter().any(|f| f.split.name == split.name) {
            continue;
        }
        for folder in places(root, split) {
            let images = within(&folder, &split.images, &IMAGE_NAMES)?;
            let masks = within(&folder, &split.masks, &MASK_NAMES)?;
            if let (Some(images), Some(masks)) = (images, masks)
                && !found.iter().any(|f| f.images == images)
            {
                let prompts = split.prompts.iter().find_map(|name| below(&folder, name));
                found.push(Found { split: split.clone(), images, masks, prompts });
                break;
            }
        }
    }
    Ok(found)
}

/// The folders that are there of those in which a part may be. Under its own name the root is one of them.
fn places(root: &Path, split: &Split) -> Vec<PathBuf> {
    if split.folders.is_empty() {
        return vec![root.to_owned()];
    }
    let full = std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let own = full.file_name().map(|name| plain(&text(name))).unwrap_or_default();
    let below = split.folders.iter().filter_map(|folder| below(root, folder));
    let itself = split.folders.iter().any(|f| f.rsplit('/').next().is_some_and(|last| plain(last) == own));
    below.chain(itself.then(|| root.to_owned())).collect()
}

/// The first of the names that is a folder in `folder`; of the usual ones where there are no names.
fn within(folder: &Path, names: &[String], usual: &[&str]) -> Result<Option<PathBuf>> {
    if names.is_empty() {
        return Ok(usual.iter().find_map(|name| below(folder, name)));
    }
    Ok(names.iter().find_map(|name| below(folder, name)))
}

/// `folder/path`, each level spelled as it is on the disk.
fn below(folder: &Path, path: &str) -> Option<PathBuf> {
    let mut at = folder.to_owned();
    for level in path.split('/').filter(|level| !level.is_empty()) {
        let exact = at.join(level);
        at = if exact.is_dir() {
            exact
        } else {
            let wanted = plain(level);
            let names = sorted(Folder::read(&at).ok()?.folders);
            at.join(names.into_iter().find(|name| plain(name) == wanted)?)
        };
    }
    at.is_dir().then_some(at)
}

/// Names of folders as text, in their order.
pub(super) fn sorted(names: Vec<std::ffi::OsString>) -> Vec<String> {
    // a name that is no text cannot be that of a part
    let mut names: Vec<String> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
    names.sort();
    names
}

fn expectation(split: &Split) -> String {
    let first = |names: &[String], usual: &str| names.first().map_or(usual, String::as_str).to_owned();
    let folder = first(&split.folders, "");
    let slash = if folder.is_empty() { "" } else { "/" };
    format!("{folder}{slash}{} and {folder}{slash}{}", first(&split.images, "images"), first(&split.masks, "masks"))
}
