//! Masks of a picture as a file.

use std::sync::Arc;

use schemars::JsonSchema;
use seg_data::output::{png, png_with_profile};
use seg_data::{GrayImage, labels, render};
use serde::Deserialize;

use super::common::{MaskRef, Referred, picture_of, referred};
use super::results::levels;
use crate::pipeline::Photo;
use crate::serve::export::{Annotated, coco, extent, freed, polygons};
use crate::serve::input::Json;
use crate::serve::problem::{Code, Problem, Result};
use crate::serve::route::{Answer, Ctx, File};

/// Most objects of one file: labels have a byte.
const MOST_OBJECTS: usize = 255;

/// What shall be made of which masks.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportRequest {
    pub format: ExportFormat,
    pub objects: Vec<ObjectRef>,
    /// `mask`, `cutout`: as computed, or decided pixel by pixel.
    #[serde(default)]
    pub edges: Edges,
    /// `cutout`: the photo's own, or freed of the background that shines through soft edges.
    #[serde(default)]
    pub colours: CutoutColours,
    /// `cutout`: `#rrggbb` lies behind.
    #[serde(default)]
    pub background: Option<String>,
    /// `cutout`: no more than the object.
    #[serde(default)]
    pub crop: bool,
    /// `polygons`: how far outlines may be off, in pixels, 0 to 16.
    #[serde(default)]
    pub tolerance: Option<f64>,
}

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    Mask,
    Cutout,
    Coco,
    Polygons,
    Labels,
}

/// How edges are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Edges {
    #[default]
    Soft,
    Hard,
}

/// Whose colours a cut-out has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CutoutColours {
    #[default]
    Photo,
    Freed,
}

/// An object with its mask.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectRef {
    /// At most 100 characters; it becomes the category.
    #[serde(default)]
    pub name: String,
    pub mask: MaskRef,
}

pub async fn export(ctx: Ctx, Json(asked): Json<ExportRequest>) -> Result<Answer<()>> {
    let invalid = |detail: String, field: &str| Err(Problem::new(Code::InvalidRequest, detail).at(field));
    if !(1..=MOST_OBJECTS).contains(&asked.objects.len()) {
        return invalid(format!("{} objects, expected 1 to {MOST_OBJECTS}", asked.objects.len()), "objects");
    }
    if let Some(at) = asked.objects.iter().position(|object| object.name.chars().count() > 100) {
        return invalid("a name of more than 100 characters".into(), &format!("objects[{at}].name"));
    }
    let background = asked.background.as_deref().map(colour).transpose()?;
    let tolerance = asked.tolerance.unwrap_or(0.5);
    if !(0.0..=16.0).contains(&tolerance) {
        return invalid(format!("a tolerance of {tolerance}, expected 0 to 16 pixels"), "tolerance");
    }
    let seen = ctx.picture().await?;
    let size = seen.picture.photo.dimensions();
    let soft = matches!(asked.format, ExportFormat::Mask | ExportFormat::Cutout) && asked.edges == Edges::Soft;
    let mut masks = Vec::with_capacity(asked.objects.len());
    for ObjectRef { name, mask } in asked.objects {
        masks.push((name, referred(&ctx.app, &seen.item, seen.frame, &mask)?.of_size(size)?));
    }
    if !matches!(asked.format, ExportFormat::Mask | ExportFormat::Cutout) {
        let format = asked.format;
        return Ok(Answer::File(ctx.aside(move || of_runs(format, &masks, size, tolerance)).await?));
    }
    // what has soft edges may have to be computed again
    let mut all: Option<GrayImage> = None;
    for (_, mask) in masks {
        let levels = match mask {
            Referred::Kept(kept) if soft => levels(&ctx, &seen, &kept).await?,
            mask => ctx.aside(move || Ok(Arc::new(picture_of(mask.rle())))).await?,
        };
        match &mut all {
            None => all = Some(Arc::unwrap_or_clone(levels)),
            Some(all) => all.iter_mut().zip(levels.as_raw()).for_each(|(level, other)| *level = (*level).max(*other)),
        }
    }
    let all = all.unwrap_or_default();
    let (picture, colours, crop, format) = (Arc::clone(&seen.picture), asked.colours, asked.crop, asked.format);
    let file = ctx.aside(move || match format {
        ExportFormat::Mask => Ok(File::new(super::PNG, png(&all).map_err(Problem::internal)?).attached("mask.png")),
        _ => cutout(&picture.photo, all, colours, background, crop),
    });
    Ok(Answer::File(file.await?))
}

/// `#rrggbb`.
fn colour(text: &str) -> Result<[u8; 3]> {
    let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6);
    let bytes = digits.and_then(|digits| hex::decode(digits).ok());
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
        Problem::new(Code::InvalidRequest, "a background is `#` and six hexadecimal digits").at("background")
    })
}

/// Formats that know inside and outside alone.
fn of_runs(format: ExportFormat, masks: &[(String, Referred)], size: (u32, u32), tolerance: f64) -> Result<File> {
    if format == ExportFormat::Labels {
        let mut map = GrayImage::new(size.0, size.1);
        for (number, (_, mask)) in (1u8..).zip(masks) {
            map.iter_mut()
                .zip(mask.rle().decode())
                .filter(|(_, inside)| *inside != 0)
                .for_each(|(label, _)| *label = number);
        }
        return Ok(File::new(super::PNG, labels::png(&map).map_err(Problem::internal)?).attached("labels.png"));
    }
    let objects = masks.iter().map(|(name, mask)| Annotated { name, rle: mask.rle() });
    let (value, name) = match format {
        ExportFormat::Polygons => (polygons(objects, size, tolerance), "polygons.json"),
        _ => (coco(objects, size), "coco.json"),
    };
    let bytes = serde_json::to_vec(&value).map_err(Problem::internal)?;
    Ok(File::new("application/json", bytes).attached(name))
}

fn cutout(
    photo: &Photo,
    mut levels: GrayImage,
    colours: CutoutColours,
    background: Option<[u8; 3]>,
    crop: bool,
) -> Result<File> {
    let loaded = &photo.loaded;
    if let Some(alpha) = &loaded.alpha {
        levels = render::within_alpha(&levels, alpha).map_err(Problem::internal)?;
    }
    // a colour that lies behind is one of sRGB
    let mut image = if background.is_some() { photo.seen() } else { &loaded.image };
    let freed = (colours == CutoutColours::Freed).then(|| freed(image, &levels));
    image = freed.as_ref().unwrap_or(image);
    let mut cutout = render::cutout(image, &levels).map_err(Problem::internal)?;
    if crop {
        let Some([x, y, width, height]) = extent(&levels) else {
            return Err(Problem::new(Code::InvalidPrompt, "the mask is empty: there is nothing to crop to"));
        };
        cutout = image::imageops::crop_imm(&cutout, x, y, width, height).to_image();
    }
    let bytes = match background {
        Some(colour) => png(&render::flatten(&cutout, colour)),
        None => png_with_profile(&cutout, loaded.profile.as_ref()),
    };
    Ok(File::new(super::PNG, bytes.map_err(Problem::internal)?).attached("cutout.png"))
}
