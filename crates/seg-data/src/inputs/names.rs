//! What the names of files and folders mean.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use unicode_normalization::{UnicodeNormalization as _, is_nfc};

use crate::error::{DataError, Result};

/// Endings (lower case) by which images are picked from folders and patterns. What a file is, its content says.
pub const EXTENSIONS: [&str; 22] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "jfi", "jif", "pjpeg", "pjp", "mpo", "webp", "bmp", "dib", "tif", "tiff",
    "gif", "apng", "pbm", "pgm", "ppm", "pnm", "pam",
];

/// Files and folders (lower case) that operating systems, file servers and editors put between those of the user.
const SYSTEM: [&str; 10] = [
    "__macosx",
    "__pycache__",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
];

/// Whether a file or a folder is none of the user's: hidden (a name that begins with a dot), or the system's
/// (`__MACOSX`, `Thumbs.db`, `@eaDir`).
pub fn is_hidden_or_system(name: &OsStr) -> bool {
    let text = name.to_string_lossy();
    text.starts_with('.') || SYSTEM.contains(&text.to_lowercase().as_str())
}

/// Whether a name's ending is that of an image.
pub fn is_image_name(path: &Path) -> bool {
    let known = |e: &OsStr| e.to_str().is_some_and(|e| EXTENSIONS.contains(&e.to_ascii_lowercase().as_str()));
    !path.file_name().is_some_and(is_hidden_or_system) && path.extension().is_some_and(known)
}

/// The stem under which an input's results are written: `photos/truck.jpg` gives `truck`.
pub fn stem(path: &Path) -> OsString {
    path.file_stem().unwrap_or(path.as_os_str()).to_owned()
}

/// A name as text, in Unicode's composed form (NFC), so that `é` of one character and of two are the same; macOS and
/// some archives write the latter. Bytes that are no text become `\xFF`, so that different names stay different.
pub fn text(name: &OsStr) -> Cow<'_, str> {
    match name.to_str() {
        Some(text) if text.is_ascii() || is_nfc(text) => Cow::Borrowed(text),
        Some(text) => Cow::Owned(text.nfc().collect()),
        None => Cow::Owned(escaped(name)),
    }
}

fn escaped(name: &OsStr) -> String {
    let mut out = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        out.extend(chunk.valid().nfc());
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02X}")));
    }
    out
}

/// Checks that no two inputs have the same stem, for they would overwrite each other's results in one output folder.
/// Where file names ignore case (Windows, macOS), stems are compared without it, and in one Unicode form.
///
/// # Errors
/// [`DataError::Collision`] with both inputs.
pub fn check_stems(files: &[PathBuf]) -> Result<()> {
    let mut seen: HashMap<OsString, &PathBuf> = HashMap::with_capacity(files.len());
    for file in files {
        let mut key = stem(file);
        if cfg!(any(windows, target_os = "macos")) {
            key = text(&key).to_lowercase().into();
        }
        if let Some(first) = seen.insert(key, file) {
            let stem = text(&stem(file)).into_owned();
            return Err(DataError::Collision { stem, first: first.clone(), second: file.clone() });
        }
    }
    Ok(())
}

/// A remark on two files of one stem that look alike.
pub(crate) fn difference(first: &Path, second: &Path) -> &'static str {
    let [first, second] = [first, second].map(|path| path.file_stem().unwrap_or_default());
    if first == second {
        ""
    } else if first.to_string_lossy().to_lowercase() == second.to_string_lossy().to_lowercase() {
        " (the names differ in upper and lower case alone)"
    } else if text(first) == text(second) {
        " (the names differ in their Unicode form alone)"
    } else {
        ""
    }
}

/// How many files of folders and patterns were left out because they are not images, by ending, and how many folders with
/// images in them. Hidden ones and those of the system do not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    endings: BTreeMap<String, usize>,
    /// Folders with images directly in them.
    folders: usize,
}

impl LeftOut {
    /// Counts a file.
    pub fn add(&mut self, path: &Path) {
        if !path.file_name().is_some_and(is_hidden_or_system) {
            let ending = path.extension().map(|e| text(e).to_lowercase());
            *self.endings.entry(ending.unwrap_or_default()).or_default() += 1;
        }
    }

    /// Counts a folder, if there are images directly in it.
    pub fn add_folder(&mut self, path: &Path) {
        let mut entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        self.folders += usize::from(entries.any(|entry| is_image_name(Path::new(&entry.file_name()))));
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: Self) {
        self.folders += other.folders;
        for (ending, count) in other.endings {
            *self.endings.entry(ending).or_default() += count;
        }
    }

    /// `left out: 3 .txt, 1 .heic`, most first; `None` when nothing was.
    pub fn note(&self) -> Option<String> {
        let mut counts: Vec<(&String, &usize)> = self.endings.iter().collect();
        counts.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let named = |(ending, count): &(&String, &usize)| match ending.as_str() {
            "" => format!("{count} without an ending"),
            ending => format!("{count} .{ending}"),
        };
        let mut parts: Vec<String> = counts.iter().take(8).map(named).collect();
        let others: usize = counts.iter().skip(8).map(|(_, count)| **count).sum();
        parts.extend((others > 0).then(|| format!("{others} of other endings")));
        parts.extend(match self.folders {
            0 => None,
            1 => Some("1 folder with images in it".to_owned()),
            n => Some(format!("{n} folders with images in them")),
        });
        (!parts.is_empty()).then(|| format!("left out: {}", parts.join(", ")))
    }
}
