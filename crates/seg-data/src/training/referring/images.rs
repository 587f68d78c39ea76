//! RefCOCO, RefCOCO+ and RefCOCOg.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{ClipExample, ClipExamples, Segmentation, read_json};
use crate::decode::{DecodeLimits, load_image};
use crate::error::{DataError, Result};
use crate::training::Place;

/// An entry of `refs(unc).p` and the like, as its pickle has it: one object of a picture, and what people said of it. Reading the pickle is the caller's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Number of the annotation in `instances.json`.
    pub ann_id: u64,
    /// `train`, `val`, `testA`, `testB` or `test`.
    pub split: String,
    /// What was said.
    pub sentences: Vec<Sentence>,
}

/// A sentence of a [`Reference`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sentence {
    /// In lower case, without punctuation.
    pub sent: String,
}

#[derive(Deserialize)]
struct Instances {
    images: Vec<Picture>,
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Picture {
    id: u64,
    file_name: String,
    width: u32,
    height: u32,
    /// In files that were converted: one picture a sentence.
    #[serde(default)]
    caption: Option<String>,
}

#[derive(Deserialize)]
struct Annotation {
    id: u64,
    image_id: u64,
    segmentation: Segmentation,
}

/// Pictures with a sentence each: every sentence is an example.
#[derive(Clone, Debug)]
pub struct ReferringImages {
    folder: PathBuf,
    samples: Vec<Sample>,
    masks: Vec<Mask>,
    limits: DecodeLimits,
}

#[derive(Clone, Debug)]
struct Sample {
    sentence: String,
    mask: usize,
}

#[derive(Clone, Debug)]
struct Mask {
    file: String,
    size: (u32, u32),
    segmentation: Segmentation,
}

impl ReferringImages {
    /// The original files: references, `instances.json` and the folder of pictures (`train2014`); one part of them.
    ///
    /// # Errors
    /// A file that cannot be read; a reference whose annotation or picture is not there; no sentence in this part.
    pub fn from_references(
        references: &[Reference],
        instances: &Path,
        folder: impl AsRef<Path>,
        split: &str,
    ) -> Result<Self> {
        let Instances { images, annotations } = read_json(instances)?;
        let images: HashMap<u64, Picture> = images.into_iter().map(|image| (image.id, image)).collect();
        let mut annotations: HashMap<u64, Annotation> = annotations.into_iter().map(|a| (a.id, a)).collect();
        let missing = |what: String| DataError::Annotations { path: instances.to_owned(), reason: what };
        let mut out = Self::empty(folder.as_ref());
        for reference in references.iter().filter(|r| r.split == split) {
            let id = reference.ann_id;
            let annotation = annotations
                .remove(&id)
                .ok_or_else(|| missing(format!("no annotation {id}, or two references to it; expected one")))?;
            let picture = images
                .get(&annotation.image_id)
                .ok_or_else(|| missing(format!("no picture {}, which annotation {id} is of", annotation.image_id)))?;
            out.add(picture, annotation.segmentation, reference.sentences.iter().map(|s| s.sent.clone()));
        }
        out.checked(instances, split)
    }

    /// A file that was converted to COCO's form (`instances_refcoco_train.json`), in which each sentence has a picture of its own.
    ///
    /// # Errors
    /// A file that cannot be read, or has no sentences.
    pub fn from_converted(instances: &Path, folder: impl AsRef<Path>) -> Result<Self> {
        let Instances { images, annotations } = read_json(instances)?;
        let mut segmentations: HashMap<u64, Segmentation> =
            annotations.into_iter().map(|a| (a.image_id, a.segmentation)).collect();
        let mut out = Self::empty(folder.as_ref());
        for picture in images {
            let Some(caption) = picture.caption.clone() else { continue };
            let reason = || format!("no annotation of picture {}", picture.id);
            let segmentation = segmentations
                .remove(&picture.id)
                .ok_or_else(|| DataError::Annotations { path: instances.to_owned(), reason: reason() })?;
            out.add(&picture, segmentation, [caption]);
        }
        out.checked(instances, "it")
    }

    /// With other limits for files.
    #[must_use]
    pub fn with_limits(mut self, limits: DecodeLimits) -> Self {
        self.limits = limits;
        self
    }

    fn empty(folder: &Path) -> Self {
        let limits = DecodeLimits::default();
        Self { folder: folder.to_owned(), samples: Vec::new(), masks: Vec::new(), limits }
    }

    fn add(&mut self, picture: &Picture, segmentation: Segmentation, sentences: impl IntoIterator<Item = String>) {
        let mask = self.masks.len();
        self.samples.extend(sentences.into_iter().map(|sentence| Sample { sentence, mask }));
        self.masks.push(Mask { file: picture.file_name.clone(), size: (picture.width, picture.height), segmentation });
    }

    fn checked(self, path: &Path, split: &str) -> Result<Self> {
        if self.samples.is_empty() {
            return Err(DataError::Annotations { path: path.to_owned(), reason: format!("no sentence in {split}") });
        }
        Ok(self)
    }
}

impl ClipExamples for ReferringImages {
    fn len(&self) -> Option<u64> {
        Some(self.samples.len() as u64)
    }

    fn clip(&self, place: Place) -> Result<ClipExample> {
        let Sample { sentence, mask } = super::videos::at(&self.samples, place.index, "an example's number")?;
        let Mask { file, size, segmentation } = &self.masks[*mask];
        let path = self.folder.join(file);
        let frame = load_image(&path, &self.limits)?.image;
        if frame.dimensions() != *size {
            let text = |(w, h): (u32, u32)| format!("{w}x{h}");
            let found = format!("{} pixels ({})", text(frame.dimensions()), path.display());
            return Err(DataError::size("a picture", found, format!("{} as its annotation says", text(*size))));
        }
        let mask = segmentation.mask(size.0, size.1)?;
        Ok(ClipExample { name: file.clone(), sentence: sentence.clone(), frames: vec![frame], masks: vec![mask] })
    }

    fn digest(&self) -> Result<String> {
        let mut all = Sha256::new();
        for Sample { sentence, mask } in &self.samples {
            let Mask { file, segmentation, .. } = &self.masks[*mask];
            let path = self.folder.join(file);
            let len = std::fs::metadata(&path).map_err(|e| DataError::io(&path, "open it", e))?.len();
            all.update(format!("{sentence}\n{file} {len}\n{segmentation:?}\n"));
        }
        Ok(hex::encode(all.finalize()))
    }
}
