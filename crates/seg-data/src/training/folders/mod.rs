//! Pictures and masks in paired folders: a public data set by its layout, or anyone's own.

mod check;
mod find;
mod layout;
mod look;
mod pairs;
mod report;
mod sheet;

use std::path::Path;

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

pub use check::{SamePictures, check, same_pictures};
pub use find::{Found, choose, find};
pub use layout::{LAYOUTS, Layout, Part, Split, named};
pub use pairs::{Pair, Pairs};
pub use report::{Broken, Report, SizesDiffer};
pub use sheet::{Sheet, sheet, sheet_of};

use super::{Dice, Example, ExamplePrompt, Examples, Place};
use crate::decode::{DecodeLimits, LoadedImage, load_image};
use crate::error::{DataError, Result};
use crate::inside::{MaskImage, MaskReader, MaskRole, load_levels};
use crate::{GrayImage, RgbImage};

/// How the files of a pair are read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// What a file may cost.
    pub limits: DecodeLimits,
    /// How masks become levels.
    pub masks: MaskReader,
    /// Takes a picture's numbers as they are stored; else they are converted to sRGB where a colour profile says that they are something else.
    pub stored_colours: bool,
    /// Lets masks through that have nothing inside.
    pub keep_empty: bool,
}

/// A folder of pictures and one of masks, of which each pair is an example.
#[derive(Clone, Debug)]
pub struct PairedFolder {
    pairs: Pairs,
    reading: Reading,
}

impl PairedFolder {
    /// Finds the pairs below `root`, which may be the data set or one part of it: by a layout, or by looking. Only names are read. `split` names the part;
    /// without it there must be only one, or only one to learn from.
    ///
    /// # Errors
    /// A folder that is not there, cannot be read or has nothing that fits; several parts to choose from.
    pub fn open(root: impl AsRef<Path>, layout: Option<&Layout>, split: Option<&str>) -> Result<Self> {
        let root = root.as_ref();
        let found = choose(root, find(root, layout)?, split)?;
        Self::from_pairs(Pairs::of(found)?)
    }

    /// Two folders that are named.
    ///
    /// # Errors
    /// A folder that cannot be read; no pair in them.
    pub fn of(images: impl AsRef<Path>, masks: impl AsRef<Path>) -> Result<Self> {
        let [images, masks] = [images.as_ref(), masks.as_ref()].map(Path::to_path_buf);
        let split = Split { name: "all".into(), ..Split::default() };
        Self::from_pairs(Pairs::of(Found { split, images, masks, prompts: None })?)
    }

    /// Pairs that are known.
    ///
    /// # Errors
    /// Where there is none.
    pub fn from_pairs(pairs: Pairs) -> Result<Self> {
        if pairs.pairs.is_empty() {
            let root = format!("{} and {}", pairs.found.images.display(), pairs.found.masks.display());
            return Err(DataError::NoPairs { root });
        }
        Ok(Self { pairs, reading: Reading::default() })
    }

    /// With another way of reading.
    #[must_use]
    pub fn reading(mut self, reading: Reading) -> Self {
        self.reading = reading;
        self
    }

    /// Takes this part of the pairs, 0 to 1 and at least one, out of the folder at random: what is left to learn from, and what was taken out to look at what was learnt.
    ///
    /// # Errors
    /// Where one of them would have no pair.
    pub fn hold_out(self, part: f64, seed: u64) -> Result<(Self, Self)> {
        let all = self.pairs.pairs.len();
        let count = ((all as f64 * part).round() as usize).max(1);
        if count >= all {
            let found = format!("{count} of {all} pairs");
            return Err(DataError::Plan {
                what: "what is held out",
                found,
                expected: "at least one pair on either side".into(),
            });
        }
        let mut order: Vec<usize> = (0..all).collect();
        Dice::new(Place { seed, epoch: 0, index: 0 }, "hold out").shuffle(&mut order);
        let out: std::collections::HashSet<usize> = order.into_iter().take(count).collect();
        let of = |held: bool| {
            let pairs = self.pairs.pairs.iter().enumerate().filter(|(i, _)| out.contains(i) == held);
            let pairs = Pairs { pairs: pairs.map(|(_, pair)| pair.clone()).collect(), ..self.pairs.clone() };
            Self { pairs, reading: self.reading.clone() }
        };
        Ok((of(false), of(true)))
    }

    /// The pairs, and what is in none.
    pub fn pairs(&self) -> &Pairs {
        &self.pairs
    }
}

impl Examples for PairedFolder {
    fn len(&self) -> Option<u64> {
        Some(self.pairs.pairs.len() as u64)
    }

    fn example(&self, place: Place) -> Result<Example> {
        let pair = usize::try_from(place.index).ok().and_then(|i| self.pairs.pairs.get(i)).ok_or_else(|| {
            let expected = format!("less than {}, the number of pairs", self.pairs.pairs.len());
            DataError::size("an example's number", place.index.to_string(), expected)
        })?;
        let read = read_pair(pair, &self.reading)?;
        read.check_sizes(pair)?;
        let largest = read.mask.levels.as_raw().iter().copied().max().unwrap_or(0);
        if largest < 128 && !self.reading.keep_empty {
            return Err(DataError::NothingInside { name: pair.mask.display().to_string(), largest });
        }
        let prompt = read.coarse.map(|coarse| ExamplePrompt { coarse: Some(coarse), ..ExamplePrompt::default() });
        Ok(Example { name: pair.stem.clone(), image: read.image, mask: read.mask.levels, prompt })
    }

    /// SHA-256 over the stems, and over sizes and contents of the files; the same wherever the folders lie.
    fn digest(&self) -> Result<String> {
        let files = self.pairs.pairs.par_iter().map(|pair| {
            let all = [Some(&pair.image), Some(&pair.mask), pair.coarse.as_ref()];
            all.into_iter().flatten().map(|path| content(path)).collect::<Result<Vec<_>>>()
        });
        let files = files.collect::<Result<Vec<_>>>()?;
        let mut all = Sha256::new();
        for (pair, files) in self.pairs.pairs.iter().zip(files) {
            all.update((pair.stem.len() as u64).to_le_bytes());
            all.update(pair.stem.as_bytes());
            for (len, digest) in files {
                all.update(len.to_le_bytes());
                all.update(digest);
            }
        }
        Ok(hex::encode(all.finalize()))
    }
}

/// Length and SHA-256 of a file, read in pieces.
fn content(path: &Path) -> Result<(u64, [u8; 32])> {
    let mut file = std::fs::File::open(path).map_err(|e| DataError::io(path, "open it", e))?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut length = 0;
    loop {
        let n = std::io::Read::read(&mut file, &mut buffer).map_err(|e| DataError::io(path, "read it", e))?;
        if n == 0 {
            return Ok((length, digest.finalize().into()));
        }
        length += n as u64;
        digest.update(&buffer[..n]);
    }
}

/// The files of a pair, before anything is expected of them.
struct ReadPair {
    image: RgbImage,
    mask: MaskImage,
    /// 0 and 255.
    coarse: Option<GrayImage>,
    /// Whether the picture was turned for its orientation, and the mask with it.
    turned: Option<bool>,
}

impl ReadPair {
    fn check_sizes(&self, pair: &Pair) -> Result<()> {
        let text = |(width, height): (u32, u32)| format!("{width}x{height}");
        let masks = [(Some(&self.mask.levels), Some(&pair.mask)), (self.coarse.as_ref(), pair.coarse.as_ref())];
        for (mask, path) in masks.into_iter().filter_map(|(mask, path)| mask.zip(path)) {
            if self.image.dimensions() != mask.dimensions() {
                return Err(DataError::PairSizes {
                    image: pair.image.clone(),
                    image_size: text(self.image.dimensions()),
                    mask: path.clone(),
                    mask_size: text(mask.dimensions()),
                });
            }
        }
        Ok(())
    }
}

fn read_pair(pair: &Pair, reading: &Reading) -> Result<ReadPair> {
    let loaded = load_image(&pair.image, &reading.limits)?;
    let mut mask = load_levels(&pair.mask, MaskRole::Truth, reading.masks, &reading.limits)?;
    let turned = turn(&loaded, &mut mask.levels);
    let coarse = pair.coarse.as_ref().map(|path| read_coarse(path, &loaded, reading)).transpose()?;
    let srgb = if reading.stored_colours { None } else { loaded.to_srgb() };
    Ok(ReadPair { image: srgb.unwrap_or(loaded.image), mask, coarse, turned })
}

/// A coarse mask: 255 inside (128 and more), 0 outside; nothing inside is what a first model found.
fn read_coarse(path: &Path, loaded: &LoadedImage, reading: &Reading) -> Result<GrayImage> {
    let mut coarse = load_levels(path, MaskRole::Prompt, reading.masks, &reading.limits)?.levels;
    turn(loaded, &mut coarse);
    coarse.iter_mut().for_each(|v| *v = if *v >= 128 { 255 } else { 0 });
    Ok(coarse)
}

/// A mask of the size of the picture as it is stored is turned as that is; whether it was, where the picture is turned at all.
fn turn(loaded: &LoadedImage, mask: &mut GrayImage) -> Option<bool> {
    if loaded.orientation == crate::decode::Orientation::NoTransforms {
        return None;
    }
    let turned = loaded.turn_as_stored(mask);
    let was = turned.is_some();
    if let Some(turned) = turned {
        *mask = turned;
    }
    Some(was)
}

#[cfg(test)]
mod tests;
