//! From command-line arguments (`IMAGE|DIR|GLOB…`) to a list of files.

mod names;
mod order;

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::error::{DataError, Result};
pub(crate) use names::difference;
pub use names::{EXTENSIONS, LeftOut, check_stems, is_hidden_or_system, is_image_name, stem, text};
pub use order::sort_naturally;

/// Expands arguments into a sorted list without duplicates. Only names are read, never the images, so that a folder of
/// a million files takes a second and no memory but the names.
///
/// - a file is taken as it is, whatever it is called (decoding looks at the content);
/// - a folder gives the images directly in it, by their [`EXTENSIONS`], hidden files left out, subfolders not entered;
/// - anything else is a pattern (`*`, `?`, `[…]`, `**` for any depth), whose matches are filtered in the same way.
///
/// An existing file is taken literally even if its name looks like a pattern (`photo[1].jpg`). Two ways of writing the
/// same file (also through links) count as one.
///
/// # Errors
/// An argument that exists nowhere, a folder or a pattern without images, a bad pattern, an unreadable folder.
pub fn expand<S: AsRef<OsStr>>(arguments: &[S]) -> Result<Vec<PathBuf>> {
    expand_counting(arguments).map(|(files, _)| files)
}

/// [`expand`], and what was left out of folders and of patterns' matches.
///
/// # Errors
/// As [`expand`].
pub fn expand_counting<S: AsRef<OsStr>>(arguments: &[S]) -> Result<(Vec<PathBuf>, LeftOut)> {
    let mut files = Vec::new();
    let mut left_out = LeftOut::default();
    for argument in arguments {
        let path = Path::new(argument.as_ref());
        if path.is_dir() {
            left_out.merge(visit_image_names(path, |name| files.push(path.join(name)))?);
        } else if path.exists() {
            files.push(path.to_owned());
        } else {
            left_out.merge(pattern(path, &mut files)?);
        }
    }
    files.sort();
    files.dedup();
    let mut seen = HashSet::with_capacity(files.len());
    files.retain(|f| seen.insert(std::fs::canonicalize(f).unwrap_or_else(|_| f.clone())));
    Ok((files, left_out))
}

/// What is directly in a folder, less what is hidden or the system's.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    /// Names of images, in no order.
    pub images: Vec<OsString>,
    /// Names of folders, in no order.
    pub folders: Vec<OsString>,
    /// The other files.
    pub left_out: LeftOut,
}

impl Folder {
    /// Reads a folder, which may be empty.
    ///
    /// # Errors
    /// One that is not there or cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut out = Self::default();
        out.left_out =
            visit(folder, |name, is_folder| if is_folder { &mut out.folders } else { &mut out.images }.push(name))?;
        Ok(out)
    }
}

/// Calls `found` with the names of the images directly in a folder, in no order; hidden files are left out. Returns what
/// else was left out.
///
/// # Errors
/// A folder without images, or one that cannot be read.
pub fn visit_image_names(folder: &Path, mut found: impl FnMut(OsString)) -> Result<LeftOut> {
    let mut any = false;
    let mut folders = Vec::new();
    let mut left_out = visit(folder, |name, is_folder| {
        if is_folder {
            folders.push(name);
        } else {
            found(name);
            any = true;
        }
    })?;
    folders.iter().for_each(|name| left_out.add_folder(&folder.join(name)));
    if any { Ok(left_out) } else { Err(DataError::NoImages { input: folder.display().to_string(), left_out }) }
}

/// Calls `found` with the names of images and of folders, true for the latter.
fn visit(folder: &Path, mut found: impl FnMut(OsString, bool)) -> Result<LeftOut> {
    let reading = |e| DataError::io(folder, "read this folder", e);
    let mut left_out = LeftOut::default();
    for entry in std::fs::read_dir(folder).map_err(reading)? {
        let entry = entry.map_err(reading)?;
        let name = entry.file_name();
        if is_hidden_or_system(&name) {
            continue;
        }
        let is_folder = match entry.file_type() {
            Ok(kind) if !kind.is_symlink() => kind.is_dir(),
            _ => entry.path().is_dir(),
        };
        if is_folder || is_image_name(Path::new(&name)) {
            found(name, is_folder);
        } else {
            left_out.add(Path::new(&name));
        }
    }
    Ok(left_out)
}

fn pattern(path: &Path, files: &mut Vec<PathBuf>) -> Result<LeftOut> {
    let input = path.display().to_string();
    let text = match path.to_str() {
        Some(text) if text.contains(['*', '?', '[']) => text,
        _ => return Err(DataError::InputNotFound { input }),
    };
    let matches =
        glob::glob(text).map_err(|e| DataError::BadPattern { input: input.clone(), reason: e.to_string() })?;
    let before = files.len();
    let mut left_out = LeftOut::default();
    for found in matches {
        let found = found.map_err(|e| {
            let path = e.path().to_owned();
            DataError::io(&path, "read this folder", e.into())
        })?;
        if found.is_dir() {
            continue;
        }
        if is_image_name(&found) {
            files.push(found);
        } else {
            left_out.add(&found);
        }
    }
    if files.len() == before {
        return Err(DataError::NoImages { input, left_out });
    }
    Ok(left_out)
}
