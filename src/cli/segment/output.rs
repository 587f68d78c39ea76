//! The files that `hrseg segment` writes for an image.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::args::Format;
use super::together;
use seg_data::output::{Overwrite, write};
use seg_models::Prompts;
use seg_models::registry::ModelKind;

use crate::pipeline::{CANDIDATES, Photo, Record, Segmented, pictures};

/// Names of an image's results.
#[derive(Clone, Debug)]
pub struct Outputs {
    folder: PathBuf,
    /// Not always text: file systems may have names that are not UTF-8.
    stem: OsString,
    formats: Vec<Format>,
    kind: ModelKind,
}

/// An image that is done.
pub struct Done<'a> {
    pub photo: &'a Photo,
    pub prompts: &'a Prompts,
    pub segmented: &'a Segmented,
    pub record: &'a Record,
}

impl Outputs {
    /// Of `image`, in `folder`, by a model of this kind.
    pub fn new(folder: &Path, image: &Path, formats: &[Format], kind: ModelKind) -> Self {
        Self { folder: folder.to_owned(), stem: seg_data::inputs::stem(image), formats: formats.to_vec(), kind }
    }

    /// The file of this ending.
    pub fn path(&self, ending: &str) -> PathBuf {
        let mut name = self.stem.clone();
        name.push(".");
        name.push(ending);
        self.folder.join(name)
    }

    /// The mask at `rank`: the best has no number.
    fn mask_path(&self, rank: usize) -> PathBuf {
        if rank == 0 { self.path("mask.png") } else { self.path(&format!("mask.{rank}.png")) }
    }

    /// Whether it is asked for.
    pub fn asked(&self, format: Format) -> bool {
        self.formats.contains(&format)
    }

    fn has(&self, format: Format) -> bool {
        self.asked(format) && (format != Format::Compare || self.two_stages())
    }

    fn two_stages(&self) -> bool {
        self.kind == ModelKind::TwoStage
    }

    /// Every file that will be written for `masks` masks.
    pub fn files(&self, masks: usize) -> Vec<PathBuf> {
        let mut files = Vec::new();
        if self.has(Format::Mask) {
            files.extend((0..masks).map(|rank| self.mask_path(rank)));
            files.extend(self.two_stages().then(|| self.path("coarse.png")));
        }
        let others = [
            (Format::Cutout, "cutout.png"),
            (Format::Overlay, "overlay.png"),
            (Format::Compare, "compare.png"),
            (Format::Rle, "json"),
        ];
        files.extend(others.into_iter().filter(|(format, _)| self.has(*format)).map(|(_, ending)| self.path(ending)));
        files
    }

    /// Candidate masks of an earlier run that asked for more of them would pass for this one's.
    pub fn remove_stale(&self, masks: usize) {
        if self.has(Format::Mask) {
            for path in (masks.max(1)..CANDIDATES).map(|rank| self.mask_path(rank)).filter(|path| path.exists()) {
                // it may be somebody else's by now: then it stays
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// Makes an image's files, and puts each where `write` does.
    pub fn make(&self, done: &Done<'_>, write: Put<'_>) -> anyhow::Result<()> {
        let Done { photo, prompts, segmented, record } = done;
        let best = segmented.best()?;
        if self.has(Format::Mask) {
            for (rank, mask) in segmented.masks.iter().enumerate() {
                write(self.mask_path(rank), &pictures::mask(&mask.levels)?)?;
            }
            if let Some(coarse) = &segmented.coarse {
                write(self.path("coarse.png"), &pictures::mask(&coarse.mask)?)?;
            }
        }
        if self.has(Format::Cutout) {
            write(self.path("cutout.png"), &pictures::cutout(photo, best)?)?;
        }
        if self.has(Format::Overlay) {
            let drawn = pictures::drawn(prompts);
            write(self.path("overlay.png"), &pictures::overlay(photo.seen(), best, &drawn)?)?;
        }
        if let (true, Some(coarse)) = (self.has(Format::Compare), &segmented.coarse) {
            write(self.path("compare.png"), &pictures::compare(photo.seen(), &coarse.mask, best)?)?;
        }
        // last: a JSON says that the image is complete
        if self.has(Format::Rle) {
            write(self.path("json"), serde_json::to_string_pretty(record)?.as_bytes())?;
        }
        Ok(())
    }
}

/// Where an image's files are put.
pub type Put<'a> = &'a mut dyn FnMut(PathBuf, &[u8]) -> anyhow::Result<()>;

/// Writes the files of an image as `make` puts them, and gives what it gives, and their names; on an error those that are new are taken back.
pub fn write_all<T>(
    overwrite: Overwrite,
    make: impl FnOnce(Put<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<(T, Vec<PathBuf>)> {
    let mut written = Vec::new();
    let outcome = make(&mut |path, bytes| {
        write(&path, bytes, overwrite)?;
        written.push(path);
        Ok(())
    });
    if outcome.is_err() && overwrite == Overwrite::Refuse {
        for path in &written {
            // nothing more can be done about a file that cannot be removed
            let _ = std::fs::remove_file(path);
        }
    }
    outcome.map(|made| (made, written))
}

/// The inputs less those that are results of others: with the photos' own folder as output (`photos -o photos`), the
/// next run would find masks, cut-outs and overlays among the photos.
pub fn without_own_results(mut files: Vec<PathBuf>, folder: &Path) -> Vec<PathBuf> {
    let formats = [Format::Mask, Format::Cutout, Format::Overlay, Format::Compare];
    let results: HashSet<PathBuf> = files
        .iter()
        .filter(|file| in_folder(file, folder))
        .flat_map(|file| {
            let folder = file.parent().unwrap_or(Path::new(""));
            let outputs = Outputs::new(folder, file, &formats, ModelKind::TwoStage);
            [outputs.files(CANDIDATES), together::files(&outputs)].concat()
        })
        .collect();
    files.retain(|file| !results.contains(file));
    files
}

/// Whether `folder`, by whichever name, is where `file` lies.
fn in_folder(file: &Path, folder: &Path) -> bool {
    let parent = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    parent == folder || matches!((parent.canonicalize(), folder.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
