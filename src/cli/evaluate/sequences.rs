//! Where the frames of a video evaluation lie.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::bail;
use seg_data::DataError;
use seg_data::inputs::{Folder, LeftOut, sort_naturally, stem, text};

/// A sequence of ground truths and the folder where its predictions should be.
#[derive(Debug)]
pub struct Sequence {
    pub name: String,
    pub gt: PathBuf,
    pub pred: PathBuf,
}

/// All sequences below two folders.
#[derive(Debug, Default)]
pub struct Sequences {
    pub all: Vec<Sequence>,
    pub notes: Vec<String>,
    /// Files that are none of a sequence's, below the predictions and below the ground truths.
    pub left_out: [LeftOut; 2],
}

impl Sequences {
    /// The folders in `gt`, or `gt` itself where it has the frames.
    ///
    /// # Errors
    /// A folder that cannot be read; two folders that differ in the Unicode form of their names alone.
    pub fn find(pred: &Path, gt: &Path) -> anyhow::Result<Self> {
        let (in_pred, in_gt) = (Folder::read(pred)?, Folder::read(gt)?);
        let (preds, gts) = (by_name(pred, in_pred.folders)?, by_name(gt, in_gt.folders)?);
        let mut out = Self { left_out: [in_pred.left_out, in_gt.left_out], ..Self::default() };
        let images = in_gt.images.len();
        if images > 0 && !gts.keys().any(|name| preds.contains_key(name)) {
            if !gts.is_empty() {
                out.notes.push(format!(
                    "{}: its {images} images are the frames; {} beside them left out",
                    gt.display(),
                    list(gts.keys())
                ));
            }
            let name = text(gt.file_name().unwrap_or(gt.as_os_str())).into_owned();
            out.all.push(Sequence { name, gt: gt.to_owned(), pred: pred.to_owned() });
            return Ok(out);
        }
        if gts.is_empty() {
            return Err(
                DataError::NoImages { input: gt.display().to_string(), left_out: out.left_out[1].clone() }.into()
            );
        }
        if images > 0 {
            out.notes.push(format!("{}: {images} images beside the folders of the sequences left out", gt.display()));
        }
        for (name, folder) in &gts {
            let gt = gt.join(folder);
            if !preds.contains_key(name) && is_empty(&gt) {
                out.notes.push(format!("{}: no frames in it, left out", gt.display()));
                continue;
            }
            let pred = pred.join(preds.get(name).unwrap_or(folder));
            out.all.push(Sequence { name: name.clone(), gt, pred });
        }
        // `hrseg track` puts these beside a sequence
        let beside = |name: &str| {
            [".overlay", ".rle"].iter().any(|end| name.strip_suffix(end).is_some_and(|of| preds.contains_key(of)))
        };
        let lone: Vec<&String> = preds.keys().filter(|name| !gts.contains_key(*name) && !beside(name)).collect();
        if !lone.is_empty() {
            out.notes.push(format!("{}: no ground truth for {}", pred.display(), list(lone)));
        }
        Ok(out)
    }
}

/// Whether neither images nor folders are in a folder.
fn is_empty(folder: &Path) -> bool {
    Folder::read(folder).is_ok_and(|found| found.images.is_empty() && found.folders.is_empty())
}

/// Some names, and how many more.
pub fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    let more = names.len().saturating_sub(5);
    let shown = names[..names.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// Names by their text.
pub fn by_name(folder: &Path, names: Vec<OsString>) -> anyhow::Result<BTreeMap<String, OsString>> {
    let mut out = BTreeMap::new();
    for name in names {
        let key = text(&name).into_owned();
        if let Some(first) = out.insert(key.clone(), name.clone()) {
            let [first, second] = [first, name].map(|name| folder.join(name));
            return Err(DataError::Collision { stem: key, first, second }.into());
        }
    }
    Ok(out)
}

/// What a sequence's folder holds.
#[derive(Debug)]
pub enum Layout {
    /// Label images, by the text of their names, in the order of the numbers in these.
    Frames(Vec<(String, PathBuf)>),
    /// A folder an object, as SA-V has it.
    Objects(BTreeMap<String, OsString>),
}

impl Layout {
    /// Reads a folder; `left_out` counts what is there besides.
    ///
    /// # Errors
    /// One with neither, or with two frames of one name.
    pub fn read(folder: &Path, left_out: &mut LeftOut) -> anyhow::Result<Self> {
        let found = Folder::read(folder)?;
        left_out.merge(found.left_out.clone());
        if found.images.is_empty() {
            if found.folders.is_empty() {
                return Err(
                    DataError::NoImages { input: folder.display().to_string(), left_out: found.left_out }.into()
                );
            }
            return Ok(Self::Objects(by_name(folder, found.folders)?));
        }
        Ok(Self::Frames(frames(folder, found.images, left_out)?))
    }

    /// The frames.
    ///
    /// # Errors
    /// Where the folder has folders in place of frames.
    pub fn frames(self, folder: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
        match self {
            Self::Frames(frames) => Ok(frames),
            Self::Objects(objects) => bail!(
                "{} has folders ({}), expected images with the labels of all objects",
                folder.display(),
                list(objects.keys())
            ),
        }
    }
}

/// PNGs if there are any: labels are not kept in anything else, so that what lies beside them is no frame.
fn frames(folder: &Path, images: Vec<OsString>, left_out: &mut LeftOut) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let is_png = |file: &PathBuf| file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png"));
    let (mut files, others): (Vec<PathBuf>, Vec<PathBuf>) =
        images.into_iter().map(|name| folder.join(name)).partition(is_png);
    if files.is_empty() {
        files = others;
    } else {
        others.iter().for_each(|file| left_out.add(file));
    }
    sort_naturally(&mut files);
    let mut seen: BTreeMap<String, &PathBuf> = BTreeMap::new();
    for file in &files {
        let key = text(&stem(file)).into_owned();
        if let Some(first) = seen.insert(key.clone(), file) {
            return Err(DataError::Collision { stem: key, first: first.clone(), second: file.clone() }.into());
        }
    }
    Ok(files.iter().map(|file| (text(&stem(file)).into_owned(), file.clone())).collect())
}
