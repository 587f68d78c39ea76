//! Which prediction belongs to which ground truth.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use seg_data::DataError;
use seg_data::inputs::image_names;

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
        let mut out = Self { preds: pred.to_owned(), gts: gt.to_owned(), ..Self::default() };
        let (mut preds, mut gts) = (own_masks(images(pred)?), images(gt)?);
        for names in [&mut preds, &mut gts] {
            names.sort_unstable_by(|a, b| stem(a).cmp(&stem(b)));
        }
        let (mut preds, mut gts) = (preds.into_iter(), gts.into_iter());
        let mut next = (preds.next(), gts.next());
        // both in the order of their stems
        loop {
            let order = match &next {
                (Some(pred), Some(gt)) => stem(pred).cmp(&stem(gt)),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            let pred = if order.is_le() { std::mem::replace(&mut next.0, preds.next()) } else { None };
            let gt = if order.is_ge() { std::mem::replace(&mut next.1, gts.next()) } else { None };
            match (pred, gt) {
                (Some(pred), Some(gt)) => out.files.push((pred, gt)),
                (Some(pred), None) => out.lone_preds.push(stem(&pred).into_owned()),
                (_, gt) => out.lone_gts.extend(gt.map(|gt| stem(&gt).into_owned())),
            }
        }
        out.files.shrink_to_fit();
        Ok(out)
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// A pair by its number.
    pub fn get(&self, i: usize) -> Option<Pair> {
        let (pred, gt) = self.files.get(i)?;
        Some(Pair { stem: stem(gt).into_owned(), pred: self.preds.join(&**pred), gt: self.gts.join(&**gt) })
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

/// The names of a folder's images in the order of their stems, no two of which are the same.
fn images(folder: &Path) -> seg_data::Result<Vec<Box<OsStr>>> {
    if !folder.is_dir() {
        return Err(DataError::InputNotFound { input: format!("{} (expected a folder)", folder.display()) });
    }
    let mut names: Vec<Box<OsStr>> = image_names(folder)?.into_iter().map(Into::into).collect();
    names.sort_unstable_by(|a, b| whole_stem(a).cmp(&whole_stem(b)).then_with(|| a.cmp(b)));
    match names.windows(2).find(|pair| whole_stem(&pair[0]) == whole_stem(&pair[1])) {
        Some(pair) => Err(DataError::Collision {
            stem: whole_stem(&pair[0]).into_owned(),
            first: folder.join(&*pair[0]),
            second: folder.join(&*pair[1]),
        }),
        None => Ok(names),
    }
}

/// In a folder that `hrseg segment` filled, the masks alone.
fn own_masks(mut names: Vec<Box<OsStr>>) -> Vec<Box<OsStr>> {
    if names.iter().any(|name| whole_stem(name).ends_with(MASK)) {
        names.retain(|name| whole_stem(name).ends_with(MASK));
    }
    names
}

/// A file's name without its ending.
fn whole_stem(name: &OsStr) -> Cow<'_, str> {
    Path::new(name).file_stem().unwrap_or(name).to_string_lossy()
}

/// The name that pairs share.
fn stem(name: &OsStr) -> Cow<'_, str> {
    match whole_stem(name) {
        Cow::Borrowed(stem) => stem.strip_suffix(MASK).unwrap_or(stem).into(),
        Cow::Owned(stem) => stem.strip_suffix(MASK).map(str::to_owned).unwrap_or(stem).into(),
    }
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
        let names = own_masks(images(dir.path()).unwrap());
        assert_eq!(names.iter().map(|name| stem(name)).collect::<Vec<_>>(), ["truck"]);
    }
}
