//! The JSON of an image's masks.

use seg_data::render;
use seg_data::rle::CocoRle;
use seg_models::Prompts;
use seg_models::registry::ModelName;
use serde::Serialize;

use super::error::Result;
use super::segmented::{Coarse, Mask, Segmented};
use super::stages::StagesRecord;

/// The JSON of an image.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// The image's name.
    pub image: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// The model's name.
    pub model: String,
    /// What it was asked.
    pub prompts: PromptRecord,
    /// Best first.
    pub masks: Vec<MaskRecord>,
    /// Of two-stage models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coarse: Option<CoarseRecord>,
}

/// The JSON of an image of which several objects were asked about.
#[derive(Clone, Debug, Serialize)]
pub struct ObjectsRecord {
    /// The image's name.
    pub image: String,
    /// Its number in the file of prompts, where that has numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<u64>,
    /// Its name there, then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// The model's name.
    pub model: String,
    /// In the order of the file of prompts.
    pub objects: Vec<ObjectRecord>,
}

/// An object of an image.
#[derive(Clone, Debug, Serialize)]
pub struct ObjectRecord {
    /// In the label map, from 1.
    pub label: u32,
    /// Its name.
    pub object: String,
    /// The number of its category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<u64>,
    /// What the model was asked.
    pub prompts: PromptRecord,
    /// Its mask.
    pub mask: MaskRecord,
    /// Of two-stage models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coarse: Option<CoarseRecord>,
}

impl ObjectsRecord {
    /// One line for a program: the record with the `files` written.
    ///
    /// # Errors
    /// Those of serde.
    pub fn line(&self, files: Vec<String>) -> Result<String> {
        with_files(self, files)
    }
}

/// What a model was asked.
#[derive(Clone, Debug, Serialize)]
pub struct PromptRecord {
    /// `[x, y, label]`, corrections included.
    pub points: Vec<[f32; 3]>,
    /// Left, top, right, bottom.
    pub r#box: Option<[f32; 4]>,
    /// The mask's name.
    pub mask: Option<String>,
    /// Whether candidates were asked for.
    pub multimask: bool,
}

/// A mask.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
pub struct MaskRecord {
    /// Position among the model's outputs.
    pub index: usize,
    /// Null where the model does not judge itself.
    pub predicted_iou: Option<f32>,
    /// Pixels inside.
    pub area: u64,
    /// Share of the image inside, 0..1.
    pub area_share: f64,
    /// Left, top, width, height.
    pub bbox: [u32; 4],
    /// COCO's compressed run lengths.
    #[cfg_attr(feature = "serve", schemars(with = "crate::serve::RunLengths"))]
    pub rle: CocoRle,
}

/// The first of two stages.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
pub struct CoarseRecord {
    /// The model; null for a mask that was given.
    pub model: Option<String>,
    /// Null for a mask that was given.
    pub predicted_iou: Option<f32>,
    /// Left, top, width, height.
    pub bbox: [u32; 4],
    /// Intersection over union with the exact mask.
    pub agreement: f64,
    /// What `sam+isnet` thought of its stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages: Option<StagesRecord>,
}

impl From<&Mask> for MaskRecord {
    fn from(mask: &Mask) -> Self {
        Self {
            index: mask.index,
            predicted_iou: mask.predicted_iou,
            area: mask.rle.area(),
            area_share: mask.area_share(),
            bbox: mask.rle.bbox(),
            rle: mask.rle.to_coco(),
        }
    }
}

impl From<&Coarse> for CoarseRecord {
    fn from(coarse: &Coarse) -> Self {
        Self {
            model: coarse.model.map(|model| model.to_string()),
            predicted_iou: coarse.predicted_iou,
            bbox: coarse.bbox,
            agreement: coarse.agreement,
            stages: coarse.stages.clone(),
        }
    }
}

impl PromptRecord {
    /// Of prompts whose mask is called `mask`.
    pub fn new(prompts: &Prompts, mask: Option<String>) -> Self {
        Self {
            points: prompts.points.iter().map(|p| [p.x, p.y, f32::from(u8::from(p.positive))]).collect(),
            r#box: prompts.bbox,
            mask,
            multimask: prompts.multimask,
        }
    }
}

impl Record {
    /// Of the masks of `image`, whose `size` is width and height, by `model`.
    pub fn new(
        image: String,
        size: (u32, u32),
        model: ModelName,
        prompts: PromptRecord,
        segmented: &Segmented,
    ) -> Self {
        Self {
            image,
            width: size.0,
            height: size.1,
            model: model.to_string(),
            prompts,
            masks: segmented.masks.iter().map(MaskRecord::from).collect(),
            coarse: segmented.coarse.as_ref().map(CoarseRecord::from),
        }
    }

    /// One line for a program: the record with the `files` written.
    ///
    /// # Errors
    /// Those of serde.
    pub fn line(&self, files: Vec<String>) -> Result<String> {
        with_files(self, files)
    }
}

/// A record in one line, with the `files` written.
pub(super) fn with_files(record: &impl Serialize, files: Vec<String>) -> Result<String> {
    let mut value = serde_json::to_value(record)?;
    value["files"] = files.into();
    Ok(value.to_string())
}

/// Prompts as they are drawn over a picture.
pub fn drawn(prompts: &Prompts) -> render::Prompts {
    render::Prompts {
        points: prompts.points.iter().map(|p| (p.x, p.y, p.positive)).collect(),
        boxes: prompts.bbox.into_iter().collect(),
    }
}
