//! Which prediction belongs to which ground truth.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use seg_data::DataError;
use seg_data::inputs::visit_image_names;
use string_interner::{StringInterner, backend::BufferBackend, symbol::SymbolU32};

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
    names: Names,
    /// Names of files in the two folders.
    files: Vec<(Name, Name)>,
    /// Stems of predictions without ground truth.
    pub lone_preds: Vec<String>,
    /// Stems of ground truths without prediction.
    pub lone_gts: Vec<String>,
}

/// Names of files, in as little memory as will do for very many pairs.
#[derive(Clone, Debug)]
struct Names {
    /// A name that both folders have is here once.
    unicode: StringInterner<BufferBackend<SymbolU32>>,
    others: Vec<OsString>,
}

#[derive(Clone, Copy, Debug)]
enum Name {
    Unicode(SymbolU32),
    Other(u32),
}

impl Default for Names {
    fn default() -> Self {
        Self { unicode: StringInterner::new(), others: Vec::new() }
    }
}

impl Names {
    fn add(&mut self, name: &OsStr) -> Name {
        match name.to_str() {
            Some(name) => Name::Unicode(self.unicode.get_or_intern(name)),
            None => {
                self.others.push(name.to_owned());
                Name::Other(self.others.len() as u32 - 1)
            }
        }
    }

    fn get(&self, name: Name) -> &OsStr {
        let found = match name {
            Name::Unicode(symbol) => self.unicode.resolve(symbol).map(OsStr::new),
            Name::Other(i) => self.others.get(i as usize).map(OsString::as_os_str),
        };
        found.unwrap_or_default()
    }

    /// The images of a folder in the order of their stems, no two of which are the same.
    fn images(&mut self, folder: &Path) -> seg_data::Result<Vec<Name>> {
        if !folder.is_dir() {
            return Err(DataError::InputNotFound { input: format!("{} (expected a folder)", folder.display()) });
        }
        let mut files = Vec::new();
        visit_image_names(folder, |name| files.push(self.add(&name)))?;
        files.sort_unstable_by(|a, b| {
            self.whole_stem(*a).cmp(&self.whole_stem(*b)).then_with(|| self.get(*a).cmp(self.get(*b)))
        });
        match files.windows(2).find(|pair| self.whole_stem(pair[0]) == self.whole_stem(pair[1])) {
            Some(pair) => Err(DataError::Collision {
                stem: self.whole_stem(pair[0]).into_owned(),
                first: folder.join(self.get(pair[0])),
                second: folder.join(self.get(pair[1])),
            }),
            None => Ok(files),
        }
    }

    /// Of a folder that `hrseg segment` filled, the masks alone.
    fn keep_own_masks(&self, files: &mut Vec<Name>) {
        let is_mask = |name: &Name| self.whole_stem(*name).ends_with(MASK);
        if files.iter().any(is_mask) {
            files.retain(is_mask);
        }
    }

    /// A file's name without its ending.
    fn whole_stem(&self, name: Name) -> Cow<'_, str> {
        let name = self.get(name);
        Path::new(name).file_stem().unwrap_or(name).to_string_lossy()
    }

    /// The name that pairs share.
    fn stem(&self, name: Name) -> Cow<'_, str> {
        match self.whole_stem(name) {
            Cow::Borrowed(stem) => stem.strip_suffix(MASK).unwrap_or(stem).into(),
            Cow::Owned(stem) => stem.strip_suffix(MASK).map(str::to_owned).unwrap_or(stem).into(),
        }
    }
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
        let (mut preds, mut gts) = (out.names.images(pred)?, out.names.images(gt)?);
        out.names.keep_own_masks(&mut preds);
        for files in [&mut preds, &mut gts] {
            files.sort_unstable_by(|a, b| out.names.stem(*a).cmp(&out.names.stem(*b)));
        }
        out.files.reserve_exact(preds.len().min(gts.len()));
        let (mut preds, mut gts) = (preds.into_iter(), gts.into_iter());
        let mut next = (preds.next(), gts.next());
        // both in the order of their stems
        loop {
            let order = match next {
                (Some(pred), Some(gt)) => out.names.stem(pred).cmp(&out.names.stem(gt)),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            let pred = if order.is_le() { std::mem::replace(&mut next.0, preds.next()) } else { None };
            let gt = if order.is_ge() { std::mem::replace(&mut next.1, gts.next()) } else { None };
            match (pred, gt) {
                (Some(pred), Some(gt)) => out.files.push((pred, gt)),
                (Some(pred), None) => out.lone_preds.push(out.names.stem(pred).into_owned()),
                (_, gt) => out.lone_gts.extend(gt.map(|gt| out.names.stem(gt).into_owned())),
            }
        }
        out.names.unicode.shrink_to_fit();
        Ok(out)
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// A pair by its number.
    pub fn get(&self, i: usize) -> Option<Pair> {
        let (pred, gt) = *self.files.get(i)?;
        let path = |folder: &Path, name| folder.join(self.names.get(name));
        Some(Pair { stem: self.names.stem(gt).into_owned(), pred: path(&self.preds, pred), gt: path(&self.gts, gt) })
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
        let mut names = Names::default();
        let mut files = names.images(dir.path()).unwrap();
        names.keep_own_masks(&mut files);
        assert_eq!(files.into_iter().map(|name| names.stem(name)).collect::<Vec<_>>(), ["truck"]);
    }
}
