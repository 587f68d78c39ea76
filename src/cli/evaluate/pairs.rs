//! Which prediction belongs to which ground truth.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use seg_data::DataError;
use seg_data::inputs::{text, visit_image_names};
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
    /// What the user should know of the two folders.
    pub notes: Vec<String>,
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

    /// The images of a folder in the order of their whole stems.
    fn images(&mut self, folder: &Path, notes: &mut Vec<String>) -> seg_data::Result<Vec<Name>> {
        if folder.is_file() {
            return Err(DataError::Size {
                what: "--pred or --gt",
                found: format!("{}, which is a file", folder.display()),
                expected: "a folder".to_owned(),
            });
        }
        if !folder.is_dir() {
            return Err(DataError::InputNotFound { input: format!("{} (expected a folder)", folder.display()) });
        }
        let mut files = Vec::new();
        let left_out = visit_image_names(folder, |name| files.push(self.add(&name)))?;
        notes.extend(left_out.note().map(|note| format!("{}: {note}", folder.display())));
        files.sort_unstable_by(|a, b| {
            self.whole_stem(*a).cmp(&self.whole_stem(*b)).then_with(|| self.get(*a).cmp(self.get(*b)))
        });
        Ok(files)
    }

    /// Of what `hrseg segment` wrote for an image, the mask alone. Where it wrote into the folder of the photos, these are
    /// no predictions either.
    fn keep_predictions(&self, folder: &Path, files: &mut Vec<Name>) -> seg_data::Result<Option<String>> {
        let mask_of = |stem: &str| {
            let wanted = format!("{stem}{MASK}");
            files.binary_search_by(|name| self.whole_stem(*name).as_ref().cmp(&wanted)).ok().map(|i| files[i])
        };
        if !files.iter().any(|name| self.whole_stem(*name).ends_with(MASK)) {
            return Ok(None);
        }
        let mut kept = Vec::with_capacity(files.len());
        let (mut photos, mut alone) = (Vec::new(), 0);
        for &name in files.iter() {
            let stem = self.whole_stem(name);
            if stem.ends_with(MASK) {
                kept.push(name);
            } else if own_result(&stem).is_some_and(|image| mask_of(image).is_some()) {
            } else if let Some(mask) = mask_of(&stem) {
                photos.push((name, mask));
            } else {
                kept.push(name);
                alone += 1;
            }
        }
        let note = match photos.first() {
            None => None,
            Some(&(photo, mask)) if alone > 0 => return Err(self.collision(folder, photo, mask)),
            Some(&(photo, mask)) => {
                let [photo, mask] = [photo, mask].map(|name| text(self.get(name)));
                Some(format!("{}: the masks count, not the images beside them ({mask}, not {photo})", folder.display()))
            }
        };
        *files = kept;
        Ok(note)
    }

    /// Two images that would be the same one of a pair.
    fn collision(&self, folder: &Path, first: Name, second: Name) -> DataError {
        let [first_path, second_path] = [first, second].map(|name| folder.join(self.get(name)));
        DataError::Collision { stem: self.stem(first).into_owned(), first: first_path, second: second_path }
    }

    /// Sorts by the names that pairs share, no two of which may be the same.
    fn sort(&self, folder: &Path, files: &mut [Name]) -> seg_data::Result<()> {
        files.sort_unstable_by(|a, b| self.stem(*a).cmp(&self.stem(*b)).then_with(|| self.get(*a).cmp(self.get(*b))));
        match files.windows(2).find(|pair| self.stem(pair[0]) == self.stem(pair[1])) {
            Some(pair) => Err(self.collision(folder, pair[0], pair[1])),
            None => Ok(()),
        }
    }

    /// A file's name without its ending, in Unicode's composed form.
    fn whole_stem(&self, name: Name) -> Cow<'_, str> {
        let name = self.get(name);
        text(Path::new(name).file_stem().unwrap_or(name))
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

/// The image of which `hrseg segment` wrote the file with this stem, where the name says so, and it is not its mask.
fn own_result(stem: &str) -> Option<&str> {
    let (image, kind) = stem.rsplit_once('.')?;
    match kind {
        "cutout" | "overlay" | "coarse" | "compare" => Some(image),
        _ if kind.bytes().all(|b| b.is_ascii_digit()) => image.strip_suffix(MASK),
        _ => None,
    }
}

impl Pairs {
    /// Pairs the images of two folders by stem.
    ///
    /// # Errors
    /// A folder that is not there, cannot be read or has no images; two images of one stem.
    pub fn of(pred: &Path, gt: &Path) -> seg_data::Result<Self> {
        let mut out = Self { preds: pred.to_owned(), gts: gt.to_owned(), ..Self::default() };
        let mut preds = out.names.images(pred, &mut out.notes)?;
        let mut gts = out.names.images(gt, &mut out.notes)?;
        out.notes.extend(out.names.keep_predictions(pred, &mut preds)?);
        out.names.sort(pred, &mut preds)?;
        out.names.sort(gt, &mut gts)?;
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
        out.notes.extend(differ_in_case(&out.lone_preds, &out.lone_gts));
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

/// A remark on names without a partner that have one but for upper and lower case.
fn differ_in_case(preds: &[String], gts: &[String]) -> Option<String> {
    let lower: HashMap<String, &String> = gts.iter().map(|name| (name.to_lowercase(), name)).collect();
    let mut alike = preds.iter().filter_map(|name| Some((name, lower.get(&name.to_lowercase())?)));
    let (pred, gt) = alike.next()?;
    let more = alike.count();
    Some(format!("no partners, for their names differ in upper and lower case: {pred} and {gt}, {more} more"))
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

    /// Pairs of `pred` and `gt` with these files.
    fn pairs(preds: &[&str], gts: &[&str]) -> seg_data::Result<(Vec<String>, Pairs)> {
        let dir = tempfile::tempdir().unwrap();
        let [pred, gt] = [("pred", preds), ("gt", gts)].map(|(what, names)| {
            let folder = dir.path().join(what);
            std::fs::create_dir(&folder).unwrap();
            names.iter().for_each(|name| std::fs::write(folder.join(name), "").unwrap());
            folder
        });
        let found = Pairs::of(&pred, &gt)?;
        Ok((found.iter().map(|p| p.pred.file_name().unwrap().to_string_lossy().into_owned()).collect(), found))
    }

    #[test]
    fn masks_of_segment_count_under_the_name_of_their_image() {
        let own = ["t.mask.png", "t.mask.1.png", "t.overlay.png", "t.cutout.png", "t.coarse.png", "t.compare.png"];
        let (files, found) = pairs(&own, &["t.png"]).unwrap();
        assert_eq!((files, found.lone_preds.len(), found.notes.len()), (vec!["t.mask.png".to_owned()], 0, 0));
        // and in the photos' own folder, with what else is there
        let (files, found) = pairs(&[&own[..], &["t.jpg", "t.json"]].concat(), &["t.png"]).unwrap();
        assert_eq!((files, found.lone_preds.len()), (vec!["t.mask.png".to_owned()], 0));
        assert!(found.notes[0].ends_with("left out: 1 .json") && found.notes[1].contains("t.mask.png, not t.jpg"));
    }

    #[test]
    fn a_stray_mask_hides_no_other_prediction() {
        let (files, found) =
            pairs(&["w.png", "y.png", "z.png", "x.mask.png"], &["w.png", "x.png", "y.png", "z.png"]).unwrap();
        assert_eq!(files, ["w.png", "x.mask.png", "y.png", "z.png"]);
        assert_eq!((found.lone_preds.len(), found.lone_gts.len()), (0, 0));
        let error = pairs(&["w.png", "x.png", "x.mask.png"], &["w.png", "x.png"]).unwrap_err().to_string();
        assert!(error.contains("x.png") && error.contains("x.mask.png"), "{error}");
        assert!(pairs(&["x.png"], &["x.png", "x.mask.png"]).is_err());
        // a name of its own, as there is no mask of that image
        let (files, _) = pairs(&["a.cutout.png", "b.mask.png"], &["a.cutout.png", "b.png"]).unwrap();
        assert_eq!(files, ["a.cutout.png", "b.mask.png"]);
    }

    #[test]
    fn unicode_forms_and_dots_and_bytes() {
        let (files, found) = pairs(&["caf\u{e9}.png", "a.b.c.png"], &["cafe\u{301}.png", "a.b.c.tif"]).unwrap();
        assert_eq!(files, ["a.b.c.png", "caf\u{e9}.png"]);
        assert_eq!(found.lone_gts.len(), 0);
        let error = pairs(&["caf\u{e9}.png", "cafe\u{301}.png"], &["a.png"]).unwrap_err().to_string();
        assert!(error.contains("Unicode form"), "{error}");
        let (files, found) = pairs(&["IMG_1.png", "b.png"], &["img_1.png", "b.png"]).unwrap();
        assert_eq!(files, ["b.png"]);
        assert!(found.notes[0].contains("IMG_1 and img_1"), "{:?}", found.notes);
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt as _;
            let mut names = Names::default();
            let stems = [&b"\xfe.png"[..], b"\xff.png"].map(|name| names.add(OsStr::from_bytes(name)));
            assert_ne!(names.stem(stems[0]), names.stem(stems[1]));
        }
    }
}
