//! Ref-YouTube-VOS, Ref-DAVIS17 in its form, and MeViS.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::clips::{ClipFrames, choose};
use super::{ClipExample, ClipExamples, Segmentation, read_json};
use crate::decode::{DecodeLimits, load_image, load_labels};
use crate::error::{DataError, Result};
use crate::mask::from_binary;
use crate::training::{Dice, Place};
use crate::{GrayImage, RgbImage};

#[derive(Deserialize)]
struct Meta {
    videos: BTreeMap<String, Video>,
}

#[derive(Deserialize)]
struct Video {
    expressions: BTreeMap<String, Expression>,
    frames: Vec<String>,
}

#[derive(Deserialize)]
struct Expression {
    exp: String,
    /// Ref-YouTube-VOS: the level of the object in the masks.
    #[serde(default)]
    obj_id: serde_json::Value,
    /// MeViS: numbers of the annotations that are meant together.
    #[serde(default)]
    anno_id: Option<Vec<serde_json::Value>>,
}

/// Videos with sentences: an example is a clip around a frame for a sentence.
#[derive(Clone, Debug)]
pub struct ReferringVideos {
    images: PathBuf,
    masks: Masks,
    /// Names of the frames of each video.
    videos: Vec<(String, Vec<String>)>,
    sentences: Vec<Meant>,
    /// The sentence and the middle frame of each example.
    samples: Vec<(u32, u32)>,
    frames: ClipFrames,
    limits: DecodeLimits,
}

#[derive(Clone, Debug)]
struct Meant {
    video: usize,
    id: String,
    text: String,
    /// Levels of label images, or annotations.
    objects: Vec<String>,
}

#[derive(Clone, Debug)]
enum Masks {
    /// A folder of label images, one a frame.
    Labels(PathBuf),
    /// By annotation and frame.
    Annotations(BTreeMap<String, Vec<Option<Segmentation>>>),
}

impl ReferringVideos {
    /// Ref-YouTube-VOS, or Ref-DAVIS17 converted to its form: `SPLIT/JPEGImages`, `SPLIT/Annotations`, `meta_expressions/SPLIT/meta_expressions.json`.
    ///
    /// # Errors
    /// A file that cannot be read; sentences without an object, as those of the hidden test sets.
    pub fn ref_youtube_vos(root: impl AsRef<Path>, split: &str, frames: ClipFrames) -> Result<Self> {
        let root = root.as_ref();
        let meta = root.join("meta_expressions").join(split).join("meta_expressions.json");
        let folder = root.join(split);
        Self::new(&meta, folder.join("JPEGImages"), Masks::Labels(folder.join("Annotations")), frames)
    }

    /// MeViS: `SPLIT/JPEGImages`, `SPLIT/meta_expressions.json`, `SPLIT/mask_dict.json`.
    ///
    /// # Errors
    /// As [`ReferringVideos::ref_youtube_vos`].
    pub fn mevis(root: impl AsRef<Path>, split: &str, frames: ClipFrames) -> Result<Self> {
        let folder = root.as_ref().join(split);
        let masks = Masks::Annotations(read_json(&folder.join("mask_dict.json"))?);
        Self::new(&folder.join("meta_expressions.json"), folder.join("JPEGImages"), masks, frames)
    }

    fn new(path: &Path, images: PathBuf, masks: Masks, frames: ClipFrames) -> Result<Self> {
        if frames.count == 0 || frames.step == 0 {
            let found = format!("{} frames, {} apart", frames.count, frames.step);
            return Err(DataError::Plan { what: "a clip", found, expected: "at least 1".into() });
        }
        let meta: Meta = read_json(path)?;
        let wrong = |reason: String| DataError::Annotations { path: path.to_owned(), reason };
        let limits = DecodeLimits::default();
        let mut out =
            Self { images, masks, videos: Vec::new(), sentences: Vec::new(), samples: Vec::new(), frames, limits };
        for (name, Video { expressions, frames: names }) in meta.videos {
            let video = out.videos.len();
            for (id, expression) in expressions {
                let objects = match &out.masks {
                    Masks::Labels(_) => texts(std::slice::from_ref(&expression.obj_id)),
                    Masks::Annotations(_) => texts(&expression.anno_id.unwrap_or_default()),
                };
                if objects.is_empty() {
                    return Err(wrong(format!("sentence {id} of video {name} tells no object, expected its number")));
                }
                let sentence = out.sentences.len() as u32;
                out.samples.extend((0..names.len()).step_by(frames.step).map(|middle| (sentence, middle as u32)));
                out.sentences.push(Meant { video, id, text: expression.exp, objects });
            }
            out.videos.push((name, names));
        }
        if out.samples.is_empty() { Err(wrong("no sentences".into())) } else { Ok(out) }
    }

    /// With other limits for files.
    #[must_use]
    pub fn with_limits(mut self, limits: DecodeLimits) -> Self {
        self.limits = limits;
        self
    }

    fn read(&self, meant: &Meant, chosen: &[usize]) -> Result<(Vec<RgbImage>, Vec<GrayImage>)> {
        let (video, names) = &self.videos[meant.video];
        let mut masks = Vec::with_capacity(chosen.len());
        let mut frames = Vec::with_capacity(chosen.len());
        for &i in chosen {
            let path = self.images.join(video).join(format!("{}.jpg", names[i]));
            let frame = load_image(&path, &self.limits)?.image;
            let mask = self.mask(meant, i, frame.dimensions())?;
            if mask.dimensions() != frame.dimensions() {
                let text = |(w, h): (u32, u32)| format!("{w}x{h}");
                let (image_size, mask_size) = (text(frame.dimensions()), text(mask.dimensions()));
                let mask = match &self.masks {
                    Masks::Labels(folder) => folder.join(video).join(format!("{}.png", names[i])),
                    Masks::Annotations(_) => "mask_dict.json".into(),
                };
                return Err(DataError::PairSizes { image: path, image_size, mask, mask_size });
            }
            frames.push(frame);
            masks.push(mask);
        }
        Ok((frames, masks))
    }

    fn mask(&self, meant: &Meant, frame: usize, (width, height): (u32, u32)) -> Result<GrayImage> {
        let (video, names) = &self.videos[meant.video];
        match &self.masks {
            Masks::Labels(folder) => {
                let mut labels =
                    load_labels(folder.join(video).join(format!("{}.png", names[frame])), &self.limits)?.labels;
                let levels: Vec<u8> = meant.objects.iter().filter_map(|object| object.parse().ok()).collect();
                labels.iter_mut().for_each(|v| *v = if levels.contains(v) { 255 } else { 0 });
                Ok(labels)
            }
            Masks::Annotations(all) => {
                let mut inside = vec![0; width as usize * height as usize];
                for object in &meant.objects {
                    let reason = || format!("no annotation {object}, which sentence {} of {video} means", meant.id);
                    let path = PathBuf::from("mask_dict.json");
                    let of = all.get(object).ok_or_else(|| DataError::Annotations { path, reason: reason() })?;
                    if let Some(Some(segmentation)) = of.get(frame) {
                        let more = segmentation.rle(width, height)?.decode();
                        inside.iter_mut().zip(more).for_each(|(all, more)| *all |= more);
                    }
                }
                from_binary(&inside, width, height)
            }
        }
    }
}

/// Numbers and texts as text: data sets have both.
fn texts(values: &[serde_json::Value]) -> Vec<String> {
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    values.iter().filter_map(text).collect()
}

/// An item by its number.
pub(super) fn at<'a, T>(items: &'a [T], index: u64, what: &'static str) -> Result<&'a T> {
    usize::try_from(index).ok().and_then(|i| items.get(i)).ok_or_else(|| {
        DataError::size(what, index.to_string(), format!("less than {}, as there are so many", items.len()))
    })
}

impl ClipExamples for ReferringVideos {
    fn len(&self) -> Option<u64> {
        Some(self.samples.len() as u64)
    }

    /// Where nothing of what is meant is seen in any frame, another example is drawn.
    fn clip(&self, place: Place) -> Result<ClipExample> {
        const TRIES: usize = 50;
        let mut dice = Dice::new(place, "frames of a clip");
        let mut sample = *at(&self.samples, place.index, "an example's number")?;
        for _ in 0..TRIES {
            let meant = &self.sentences[sample.0 as usize];
            let (video, names) = &self.videos[meant.video];
            let chosen = choose(sample.1 as usize, names.len(), self.frames.count, &mut dice);
            let (frames, masks) = self.read(meant, &chosen)?;
            let name = format!("{video}/{} sentence {}", names[sample.1 as usize], meant.id);
            let clip = ClipExample { name, sentence: meant.text.clone(), frames, masks };
            if clip.seen().contains(&true) {
                return Ok(clip);
            }
            sample = dice.pick(&self.samples).copied().unwrap_or(sample);
        }
        let name = format!("{TRIES} clips drawn in place of number {}", place.index);
        Err(DataError::NothingInside { name, largest: 0 })
    }

    fn digest(&self) -> Result<String> {
        let mut all = Sha256::new();
        for meant in &self.sentences {
            all.update(format!("{} {} {:?}\n{}\n", meant.video, meant.id, meant.objects, meant.text));
        }
        let mut length = |path: PathBuf| {
            let len = std::fs::metadata(&path).map_err(|e| DataError::io(&path, "open it", e))?.len();
            all.update(len.to_le_bytes());
            Ok::<(), DataError>(())
        };
        for (video, names) in &self.videos {
            for name in names {
                length(self.images.join(video).join(format!("{name}.jpg")))?;
                if let Masks::Labels(folder) = &self.masks {
                    length(folder.join(video).join(format!("{name}.png")))?;
                }
            }
        }
        for (video, names) in &self.videos {
            all.update(format!("{video} {names:?}\n"));
        }
        if let Masks::Annotations(masks) = &self.masks {
            all.update(format!("{masks:?}"));
        }
        Ok(hex::encode(all.finalize()))
    }
}
