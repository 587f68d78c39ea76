//! Which picture belongs to which mask.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::find::Found;
use crate::error::Result;
use crate::inputs::{Folder, LeftOut, sort_naturally, stem, text};

/// A picture and its mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The name that both share, in Unicode's composed form.
    pub stem: String,
    /// The picture's file.
    pub image: PathBuf,
    /// The mask's file.
    pub mask: PathBuf,
    /// The coarse mask's file, where the data set has such.
    pub coarse: Option<PathBuf>,
}

/// The pairs of a part of a data set in their natural order (`2` before `10`), and what is in no pair.
#[derive(Clone, Debug)]
pub struct Pairs {
    /// Where they come from.
    pub found: Found,
    /// Those that can be used.
    pub pairs: Vec<Pair>,
    /// Pictures without a mask.
    pub lone_images: Vec<PathBuf>,
    /// Masks without a picture.
    pub lone_masks: Vec<PathBuf>,
    /// Stems of pairs without a coarse mask, where the data set has such.
    pub without_coarse: Vec<String>,
    /// Files of one folder that have the same stem: none of them is in a pair, as nobody can know which is meant.
    pub twice: Vec<Vec<PathBuf>>,
    /// Stems without a partner that have one but for upper and lower case: a picture's and a mask's.
    pub differ_in_case: Vec<(String, String)>,
    /// Files of the folder of pictures that are none, by ending.
    pub left_out_images: LeftOut,
    /// Files of the folder of masks that are none.
    pub left_out_masks: LeftOut,
}

impl Pairs {
    /// Pairs the files of two folders by their stems. Only names are read.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn of(found: Found) -> Result<Self> {
        let split = found.split.clone();
        let (images, mut left_out_images) = names_of(&found.images, &split.image_endings)?;
        let (masks, mut left_out_masks) = names_of(&found.masks, &split.mask_endings)?;
        let suffix = &split.mask_suffix;
        let own = |file: &Path| text(&stem(file)).into_owned();
        let shared_folder = found.images == found.masks;
        if shared_folder {
            let endings = [&split.image_endings[..], &split.mask_endings[..]].concat();
            left_out_images = names_of(&found.images, &endings)?.1;
            left_out_masks = LeftOut::default();
        }
        let is_mask = |file: &Path| own(file).ends_with(suffix.as_str());
        let mut images =
            by_stem(images.into_iter().filter(|f| suffix.is_empty() || !shared_folder || !is_mask(f)), own);
        let mask_stem = |file: &Path| own(file).strip_suffix(suffix.as_str()).map(str::to_owned).unwrap_or_default();
        // a file without what masks have behind their stems is none, and is told of where it is no picture of the same folder
        let (named, others): (Vec<PathBuf>, Vec<PathBuf>) = masks.into_iter().partition(|f| is_mask(f));
        let mut masks = by_stem(named, mask_stem);
        let mut out = Self {
            pairs: Vec::new(),
            lone_images: Vec::new(),
            lone_masks: if shared_folder { Vec::new() } else { others },
            without_coarse: Vec::new(),
            twice: take_twice(&mut images),
            differ_in_case: Vec::new(),
            left_out_images,
            left_out_masks,
            found,
        };
        let twice_masks = take_twice(&mut masks);
        // whose picture or mask is there twice has a partner after all
        let mut ambiguous: Vec<String> = out.twice.iter().filter_map(|files| files.first()).map(|f| own(f)).collect();
        ambiguous.extend(twice_masks.iter().filter_map(|files| files.first()).map(|f| mask_stem(f)));
        out.twice.extend(twice_masks);
        for (stem, mut files) in images {
            let Some(image) = files.pop() else { continue };
            match masks.remove(&stem).and_then(|mut files| files.pop()) {
                Some(mask) => out.pairs.push(Pair { stem, image, mask, coarse: None }),
                None if ambiguous.contains(&stem) => {}
                None => out.lone_images.push(image),
            }
        }
        let lone = masks.into_iter().filter(|(stem, _)| !ambiguous.contains(stem)).flat_map(|(_, files)| files);
        out.lone_masks.extend(lone);
        out.tell_case(mask_stem);
        if out.found.split.masks_shared {
            out.lone_masks.clear();
        }
        sort_naturally(&mut out.lone_images);
        sort_naturally(&mut out.lone_masks);
        out.sort();
        out.add_coarse()?;
        Ok(out)
    }

    fn add_coarse(&mut self) -> Result<()> {
        let Some(folder) = &self.found.prompts else { return Ok(()) };
        let mut files = by_stem(names_of(folder, &[])?.0, |file| text(&stem(file)).into_owned());
        self.twice.extend(take_twice(&mut files));
        for pair in &mut self.pairs {
            pair.coarse = files.remove(&pair.stem).and_then(|mut files| files.pop());
            if pair.coarse.is_none() {
                self.without_coarse.push(pair.stem.clone());
            }
        }
        Ok(())
    }

    /// Whether every file has its partner.
    pub fn is_whole(&self) -> bool {
        self.lone_images.is_empty()
            && self.without_coarse.is_empty()
            && self.lone_masks.is_empty()
            && self.twice.is_empty()
    }

    fn sort(&mut self) {
        let mut order: Vec<PathBuf> = self.pairs.iter().map(|pair| pair.image.clone()).collect();
        sort_naturally(&mut order);
        let mut by_image: BTreeMap<PathBuf, Pair> = self.pairs.drain(..).map(|p| (p.image.clone(), p)).collect();
        self.pairs = order.iter().filter_map(|image| by_image.remove(image)).collect();
    }

    fn tell_case(&mut self, mask_stem: impl Fn(&Path) -> String) {
        let lower: BTreeMap<String, String> =
            self.lone_masks.iter().map(|m| mask_stem(m)).map(|s| (s.to_lowercase(), s)).collect();
        for image in &self.lone_images {
            let own = text(&stem(image)).into_owned();
            if let Some(mask) = lower.get(&own.to_lowercase()) {
                self.differ_in_case.push((own, mask.clone()));
            }
        }
    }
}

/// The images directly in a folder, of these endings if there are any, in no order; and what else is there.
pub(super) fn names_of(folder: &Path, endings: &[String]) -> Result<(Vec<PathBuf>, LeftOut)> {
    let Folder { images, mut left_out, .. } = Folder::read(folder)?;
    let mut files = Vec::with_capacity(images.len());
    for name in images {
        let path = Path::new(&name);
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        if endings.is_empty() || endings.iter().any(|e| e.trim_start_matches('.').to_lowercase() == ending) {
            files.push(folder.join(&name));
        } else {
            left_out.add(path);
        }
    }
    Ok((files, left_out))
}

fn by_stem(files: impl IntoIterator<Item = PathBuf>, stem: impl Fn(&Path) -> String) -> BTreeMap<String, Vec<PathBuf>> {
    let mut out: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    files.into_iter().for_each(|file| out.entry(stem(&file)).or_default().push(file));
    out
}

/// Takes out what has a stem in common.
fn take_twice(files: &mut BTreeMap<String, Vec<PathBuf>>) -> Vec<Vec<PathBuf>> {
    let stems: Vec<String> = files.iter().filter(|(_, files)| files.len() > 1).map(|(stem, _)| stem.clone()).collect();
    let mut out: Vec<Vec<PathBuf>> = stems.iter().filter_map(|stem| files.remove(stem)).collect();
    out.iter_mut().for_each(|files| files.sort());
    out
}
