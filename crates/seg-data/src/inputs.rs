//! From command-line arguments (`IMAGE|DIR|GLOB…`) to a list of files.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::error::{DataError, Result};

/// Endings (lower case) by which images are picked from folders and patterns.
pub const EXTENSIONS: [&str; 9] = ["png", "jpg", "jpeg", "jpe", "webp", "bmp", "tif", "tiff", "gif"];

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
    let mut files = Vec::new();
    for argument in arguments {
        let path = Path::new(argument.as_ref());
        if path.is_dir() {
            visit_image_names(path, |name| files.push(path.join(name)))?;
        } else if path.exists() {
            files.push(path.to_owned());
        } else {
            pattern(path, &mut files)?;
        }
    }
    files.sort();
    files.dedup();
    let mut seen = HashSet::with_capacity(files.len());
    files.retain(|f| seen.insert(std::fs::canonicalize(f).unwrap_or_else(|_| f.clone())));
    Ok(files)
}

/// The stem under which an input's results are written: `photos/truck.jpg` gives `truck`.
pub fn stem(path: &Path) -> OsString {
    path.file_stem().unwrap_or(path.as_os_str()).to_owned()
}

/// Checks that no two inputs have the same stem, for they would overwrite each other's results in one output folder.
/// Where file names ignore case (Windows, macOS), stems are compared without it.
///
/// # Errors
/// [`DataError::Collision`] with both inputs.
pub fn check_stems(files: &[PathBuf]) -> Result<()> {
    let mut seen: HashMap<OsString, &PathBuf> = HashMap::with_capacity(files.len());
    for file in files {
        let mut key = stem(file);
        if cfg!(any(windows, target_os = "macos")) {
            key = key.to_string_lossy().to_lowercase().into();
        }
        if let Some(first) = seen.insert(key, file) {
            let stem = stem(file).to_string_lossy().into_owned();
            return Err(DataError::Collision { stem, first: first.clone(), second: file.clone() });
        }
    }
    Ok(())
}

/// Whether a name's ending is that of an image.
pub fn is_image_name(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
    let known = |e: &OsStr| e.to_str().is_some_and(|e| EXTENSIONS.contains(&e.to_ascii_lowercase().as_str()));
    !hidden && path.extension().is_some_and(known)
}

/// Calls `visit` with the names of the images directly in a folder, in no order; hidden files are left out.
///
/// # Errors
/// A folder without images, or one that cannot be read.
pub fn visit_image_names(folder: &Path, mut visit: impl FnMut(OsString)) -> Result<()> {
    let reading = |e| DataError::io(folder, "read this folder", e);
    let mut found = false;
    for entry in std::fs::read_dir(folder).map_err(reading)? {
        let entry = entry.map_err(reading)?;
        let name = entry.file_name();
        if is_image_name(Path::new(&name)) && !entry.path().is_dir() {
            visit(name);
            found = true;
        }
    }
    if found { Ok(()) } else { Err(DataError::NoImages { input: folder.display().to_string() }) }
}

fn pattern(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let input = path.display().to_string();
    let text = match path.to_str() {
        Some(text) if text.contains(['*', '?', '[']) => text,
        _ => return Err(DataError::InputNotFound { input }),
    };
    let matches =
        glob::glob(text).map_err(|e| DataError::BadPattern { input: input.clone(), reason: e.to_string() })?;
    let before = files.len();
    for found in matches {
        let found = found.map_err(|e| {
            let path = e.path().to_owned();
            DataError::io(&path, "read this folder", e.into())
        })?;
        if is_image_name(&found) && !found.is_dir() {
            files.push(found);
        }
    }
    if files.len() == before {
        return Err(DataError::NoImages { input });
    }
    Ok(())
}
