//! Prompts of many images and objects, read from a file: boxes of a detector, annotations of COCO, rows of a table, our own JSON.
//!
//! ```no_run
//! use hrseg::pipeline::prompts::{PromptFile, Take};
//! use hrseg::pipeline::{Colours, Photo, Pipeline, Sources};
//! use hrseg::prelude::*;
//!
//! let pipeline = Pipeline::load(ModelName::MobileSam, &Sources::default(), &LoadOptions::default(), &())?;
//! let asked = PromptFile::read("boxes.csv", Take::Box)?;
//! for image in &asked.images {
//!     let photo = Photo::open(&image.file_name, &DecodeLimits::default(), Colours::Srgb)?;
//!     let prompts = image.objects.iter().map(|object| object.prompts(photo.dimensions())).collect::<Result<Vec<_>, _>>()?;
//!     pipeline.segment_each(photo.seen(), &prompts, &(), |at, segmented| -> hrseg::pipeline::Result<()> {
//!         println!("{}: {} pixels", image.objects[at].name, segmented.best()?.rle.area());
//!         Ok(())
//!     })?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod coco;
mod find;
mod own;
mod table;

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use seg_data::DataError;
use seg_data::training::referring::Segmentation;
use seg_models::registry::ModelName;
use seg_models::{MaskPrompt, Point, Prompts};

use super::ask::{Asked, Words, check};
use super::error::{Error, Result};

/// Largest file that is read, in bytes.
pub const MOST_BYTES: u64 = 1 << 30;

/// What is asked about images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PromptFile {
    /// In the file's order.
    pub images: Vec<AskedImage>,
    /// Numbers and names of the file's categories; none where it has none.
    pub categories: Vec<(u64, String)>,
}

/// An image, and the objects on it that are asked about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AskedImage {
    /// As the file names it, perhaps with folders; empty where it gives a number alone.
    pub file_name: String,
    /// Its number, where it has one.
    pub id: Option<u64>,
    /// Width and height, where the file tells.
    pub size: Option<(u32, u32)>,
    /// In the file's order.
    pub objects: Vec<AskedObject>,
}

/// An object that is asked about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AskedObject {
    /// What files are called by: letters, digits, `-`, `_`, `.` and spaces, no two objects of an image the same.
    pub name: String,
    /// The number of its category.
    pub category: Option<u64>,
    /// Clicks.
    pub points: Vec<Point>,
    /// Left, top, right, bottom.
    pub bbox: Option<[f32; 4]>,
    /// A mask, of the image's size.
    pub mask: Option<Segmentation>,
}

impl AskedObject {
    /// The prompts on an image of this size.
    ///
    /// # Errors
    /// A mask of another size.
    pub fn prompts(&self, (width, height): (u32, u32)) -> Result<Prompts> {
        let mask = match &self.mask {
            Some(shape) => Some(MaskPrompt::Image(shape.mask(width, height)?)),
            None => None,
        };
        Ok(Prompts { points: self.points.clone(), bbox: self.bbox, mask, multimask: false })
    }
}

/// What is taken of an object that has both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Take {
    /// Box and clicks; a mask where there are none.
    #[default]
    Box,
    /// The mask alone.
    Mask,
}

impl PromptFile {
    /// Reads a file: CSV by its name's ending, else JSON.
    ///
    /// # Errors
    /// [`Error::Prompts`], which names the file and the place in it; a file that cannot be read, or is larger than [`MOST_BYTES`].
    pub fn read(path: impl AsRef<Path>, take: Take) -> Result<Self> {
        let path = path.as_ref();
        let failed = |error| DataError::io(path, "read it", error);
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(failed)?;
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        let name = path.display().to_string();
        if bytes.len() as u64 > MOST_BYTES {
            return Err(Error::Prompts { file: name, problem: format!("more than {MOST_BYTES} bytes") });
        }
        let table = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        let parsed = if table { table::parse(&bytes) } else { Self::parse_json(&bytes) };
        let parsed = parsed.and_then(|mut all| {
            all.images.iter_mut().for_each(|image| image.objects.iter_mut().for_each(|object| take.apply(object)));
            all.images.retain(|image| !image.objects.is_empty());
            all.check()?;
            Ok(all)
        });
        parsed.map_err(|problem| Error::Prompts { file: name, problem })
    }

    fn parse_json(bytes: &[u8]) -> std::result::Result<Self, String> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        match serde_json::from_slice::<serde_json::Value>(bytes) {
            Ok(value) if value.get("annotations").is_some() && value.get("images").is_some() => coco::parse(value),
            Ok(serde_json::Value::Array(all)) if all.iter().any(|one| one.get("image_id").is_some()) => {
                coco::parse_results(all)
            }
            Ok(serde_json::Value::Array(all)) => own::parse(all),
            Ok(value) => own::parse(vec![value]),
            // a record a line, as `--json` prints them
            Err(whole) => {
                let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
                let all = lines.map(serde_json::from_slice).collect::<std::result::Result<Vec<_>, _>>();
                own::parse(all.map_err(|_| format!("no JSON: {whole}"))?)
            }
        }
    }

    /// Numbers that are none, boxes without a size, names that cannot stand in those of files.
    fn check(&self) -> std::result::Result<(), String> {
        if self.images.is_empty() {
            return Err("it asks about no object".into());
        }
        for image in &self.images {
            let mut names = HashSet::new();
            for object in &image.objects {
                let here = |problem: String| Err(format!("object {:?} of {}: {problem}", object.name, image.told()));
                let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
                if object.name.is_empty() || object.name.chars().count() > 64 || !object.name.chars().all(fits) {
                    return here(
                        "its name is to stand in names of files: 1 to 64 letters, digits, -, _, . and spaces".into(),
                    );
                }
                if !names.insert(object.name.to_lowercase()) {
                    return here("there is another one of this name".into());
                }
                let numbers =
                    object.points.iter().flat_map(|p| [p.x, p.y]).chain(object.bbox.iter().flatten().copied());
                if let Some(number) = numbers.into_iter().find(|number| !number.is_finite()) {
                    return here(format!("{number} is no place"));
                }
                match object.bbox {
                    Some([x0, y0, x1, y1]) if x1 <= x0 || y1 <= y0 => {
                        return here(format!(
                            "the box {x0},{y0},{x1},{y1} has nothing inside: expected left, top, right, bottom"
                        ));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Refuses what `model` cannot be asked; in the words of files.
    ///
    /// # Errors
    /// One line that names the object.
    pub fn fits(&self, model: ModelName) -> std::result::Result<(), String> {
        let pi_sam = matches!(model, ModelName::PiSam(_));
        for image in &self.images {
            for object in &image.objects {
                let clicked = !object.points.is_empty();
                let asked = Asked {
                    points: clicked && !pi_sam,
                    bbox: object.bbox.is_some(),
                    mask: object.mask.is_some(),
                    refine: clicked && pi_sam,
                    multimask: false,
                };
                let told = |problem| format!("object {:?} of {}: {problem}", object.name, image.told());
                check(model, asked, &Words::FILE).map_err(told)?;
            }
        }
        Ok(())
    }
}

/// A click as JSON has it: x, y, and whether it is on the object.
fn click([x, y, label]: [f32; 3]) -> Point {
    Point { x, y, positive: label != 0. }
}

impl AskedImage {
    /// What messages call it.
    pub fn told(&self) -> String {
        match (self.file_name.is_empty(), self.id) {
            (true, Some(id)) => format!("image {id}"),
            _ => self.file_name.clone(),
        }
    }
}

impl Take {
    fn apply(self, object: &mut AskedObject) {
        let told = object.bbox.is_some() || !object.points.is_empty();
        match self {
            Self::Box if told => object.mask = None,
            Self::Mask if object.mask.is_some() => (object.bbox, object.points) = (None, Vec::new()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str, take: Take) -> Result<PromptFile> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        PromptFile::read(path, take)
    }

    #[test]
    fn boxes_or_masks_are_taken() {
        let text = r#"{"images": [{"id": 7, "file_name": "a.jpg", "width": 4, "height": 2}], "categories": [{"id": 3, "name": "cat"}],
            "annotations": [{"id": 9, "image_id": 7, "category_id": 3, "bbox": [1, 0, 2, 1], "segmentation": {"size": [2, 4], "counts": [2, 1, 5]}}]}"#;
        let boxes = read("p.json", text, Take::Box).unwrap();
        assert_eq!(boxes.categories, [(3, "cat".to_owned())]);
        assert_eq!((boxes.images[0].id, boxes.images[0].size), (Some(7), Some((4, 2))));
        let prompts = boxes.images[0].objects[0].prompts((4, 2)).unwrap();
        assert!(prompts.bbox == Some([1., 0., 3., 1.]) && prompts.mask.is_none());
        let masks = read("p.json", text, Take::Mask).unwrap();
        let prompts = masks.images[0].objects[0].prompts((4, 2)).unwrap();
        let Some(MaskPrompt::Image(mask)) = prompts.mask else { panic!("no mask") };
        assert_eq!((mask.as_raw().as_slice(), prompts.bbox), (&[0, 255, 0, 0, 0, 0, 0, 0][..], None));
        assert!(masks.images[0].objects[0].prompts((4, 3)).is_err(), "another size");
    }

    #[test]
    fn what_cannot_be_is_told_with_its_place() {
        for (name, text, part) in [
            ("p.json", "{", "p.json: no JSON: EOF"),
            ("p.json", "[]", "it asks about no object"),
            ("p.json", "{\"a\": 1}", "`image`"),
            (
                "p.csv",
                "image,x0,y0,x1,y1\na.jpg,1,2,1,9\n",
                "object \"1\" of a.jpg: the box 1,2,1,9 has nothing inside",
            ),
            ("p.csv", "image,object,x0,y0,x1,y1\na.jpg,a/b,1,2,3,4\n", "letters, digits"),
            ("p.csv", "image,object,x0,y0,x1,y1\na.jpg,A,1,2,3,4\na.jpg,a,1,2,3,4\n", "another one of this name"),
            ("p.csv", "image,x,y\na.jpg,nan,2\n", "no place"),
        ] {
            let message = read(name, text, Take::Box).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn models_refuse_what_they_cannot_be_asked() {
        let file = read("p.csv", "image,x,y\na.jpg,1,2\n", Take::Box).unwrap();
        assert_eq!(file.fits(ModelName::MobileSam), Ok(()));
        let message = file.fits("pi-sam-b".parse().unwrap()).unwrap_err();
        assert!(message.starts_with("object \"1\" of a.jpg: ") && message.contains("box"), "{message}");
        assert!(file.fits("is-net".parse().unwrap()).unwrap_err().contains("takes no prompts"));
    }
}
