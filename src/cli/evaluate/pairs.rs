//! Which prediction belongs to which ground truth.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use seg_data::inputs::{check_stems, expand};

/// A prediction and its ground truth.
#[derive(Clone, Debug)]
pub struct Pair {
    pub stem: String,
    pub pred: PathBuf,
    pub gt: PathBuf,
}

/// The pairs of two folders in the order of their names, and the files that have no partner.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    preds: PathBuf,
    gts: PathBuf,
    /// Names of files in the two folders. Many pairs should take little memory, so paths are made when they are asked for.
    files: Vec<(Box<OsStr>, Box<OsStr>)>,
    /// Stems of predictions without ground truth.
    pub lone_preds: Vec<String>,
    /// Stems of ground truths without prediction.
    pub lone_gts: Vec<String>,
}

/// The ending, before the last, of masks that `hrseg segment` wrote.
const MASK: &str = ".mask";

impl Pairs {
    /// Pairs the images of two folders by stem.
    ///
    /// # Errors
    /// A folder that is not there, cannot be read or has no images; two images of one stem.
    pub fn of(pred: &Path, gt: &Path) -> seg_data::Result<Self> {
        let mut preds = stems(own_masks(images(pred)?))?;
        let gts = stems(images(gt)?)?;
        let mut out = Self { preds: pred.to_owned(), gts: gt.to_owned(), ..Self::default() };
        for (stem, gt) in gts {
            match preds.remove(&stem) {
                Some(pred) => out.files.push((pred, gt)),
                None => out.lone_gts.push(stem.into()),
            }
        }
        out.files.shrink_to_fit();
        out.lone_preds.extend(preds.into_keys().map(String::from));
        Ok(out)
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// A pair by its number.
    pub fn get(&self, i: usize) -> Option<Pair> {
        let (pred, gt) = self.files.get(i)?;
        Some(Pair { stem: stem(Path::new(&**gt)), pred: self.preds.join(&**pred), gt: self.gts.join(&**gt) })
    }

    /// The pairs.
    pub fn iter(&self) -> impl Iterator<Item = Pair> {
        (0..self.len()).filter_map(|i| self.get(i))
    }

    /// Keeps some by their number.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let mut i = 0;
        self.files.retain(|_| {
            i += 1;
            keep(i - 1)
        });
    }
}

fn images(folder: &Path) -> seg_data::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Err(seg_data::DataError::InputNotFound { input: format!("{} (expected a folder)", folder.display()) });
    }
    expand(&[folder])
}

/// In a folder that `hrseg segment` filled, the masks alone.
fn own_masks(files: Vec<PathBuf>) -> Vec<PathBuf> {
    let is_mask = |file: &Path| file.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with(MASK));
    if files.iter().any(|file| is_mask(file)) {
        files.into_iter().filter(|file| is_mask(file)).collect()
    } else {
        files
    }
}

/// The names of files by their stems.
fn stems(files: Vec<PathBuf>) -> seg_data::Result<BTreeMap<Box<str>, Box<OsStr>>> {
    check_stems(&files)?;
    let named = |file: PathBuf| (stem(&file).into(), file.file_name().unwrap_or_default().into());
    Ok(files.into_iter().map(named).collect())
}

/// The name that pairs share.
fn stem(file: &Path) -> String {
    let stem = seg_data::inputs::stem(file).to_string_lossy().into_owned();
    stem.strip_suffix(MASK).map(str::to_owned).unwrap_or(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_by_stem_with_orphans_on_both_sides() {
        let dir = tempfile::tempdir().unwrap();
        let (pred, gt) = (dir.path().join("pred"), dir.path().join("gt"));
        for (folder, names) in [(&pred, &["a.png", "b.jpg", "x.png"][..]), (&gt, &["a.png", "b.png", "c.png"])] {
            std::fs::create_dir(folder).unwrap();
            names.iter().for_each(|name| std::fs::write(folder.join(name), "").unwrap());
        }
        let found = Pairs::of(&pred, &gt).unwrap();
        assert_eq!(found.iter().map(|p| p.stem).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(found.get(1).map(|p| (p.pred, p.gt)), Some((pred.join("b.jpg"), gt.join("b.png"))));
        assert_eq!((found.lone_preds, found.lone_gts), (vec!["x".to_owned()], vec!["c".to_owned()]));
        std::fs::write(pred.join("a.jpg"), "").unwrap();
        assert!(Pairs::of(&pred, &gt).is_err());
        assert!(Pairs::of(&dir.path().join("none"), &gt).is_err());
    }

    #[test]
    fn masks_of_segment_count_under_the_name_of_their_image() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["truck.mask.png", "truck.overlay.png", "truck.cutout.png"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let files = own_masks(images(dir.path()).unwrap());
        assert_eq!(stems(files).unwrap().into_keys().collect::<Vec<_>>(), ["truck".into()]);
    }
}
