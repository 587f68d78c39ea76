//! Masks of a video as a file.

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};
use std::sync::Arc;

use schemars::JsonSchema;
use seg_data::{DataError, GrayImage, Rle, labels, render};
use serde::Deserialize;
use serde_json::json;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::common::{RunLengths, picture_of};
use crate::pipeline::frames::{label_map, overlay, write_gif};
use crate::serve::App;
use crate::serve::input::Json;
use crate::serve::item::Item;
use crate::serve::problem::{Code, Problem, Result};
use crate::serve::route::{Answer, Ctx, File};

/// What shall be made of which masks.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VideoExportRequest {
    pub format: VideoFormat,
    /// By frame and object.
    pub masks: BTreeMap<usize, BTreeMap<u8, RunLengths>>,
    /// Objects' names.
    #[serde(default)]
    pub names: BTreeMap<u8, String>,
    /// `overlay`: frames a second; by default the video's, or 12.
    #[serde(default)]
    pub fps: Option<f32>,
}

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VideoFormat {
    /// A ZIP of indexed PNGs.
    Davis,
    /// A GIF.
    Overlay,
    /// A ZIP of a JSON a frame.
    Rle,
}

/// Masks of a frame by object.
type Objects = BTreeMap<u8, Rle>;

pub async fn export(ctx: Ctx, Json(asked): Json<VideoExportRequest>) -> Result<Answer<()>> {
    let item = ctx.item(true)?;
    let video = item.video()?;
    let invalid = |detail: String, field: &str| Err(Problem::new(Code::InvalidRequest, detail).at(field));
    let count = video.frames.len();
    if let Some(frame) = asked.masks.keys().next_back().filter(|frame| **frame >= count) {
        return invalid(format!("frame {frame}, expected 0 to {}", count - 1), "masks");
    }
    if asked.masks.is_empty() {
        return invalid("no masks, expected those of at least one frame".into(), "masks");
    }
    if asked.masks.values().any(|objects| objects.contains_key(&0)) {
        return invalid("object 0, expected 1 to 255".into(), "masks");
    }
    let fps = asked.fps.or(video.fps.map(|fps| fps as f32)).unwrap_or(12.0);
    if !(0.1..=100.0).contains(&fps) {
        return invalid(format!("{fps} frames a second, expected 0.1 to 100"), "fps");
    }
    let most = ctx.app.options.decode.max_pixels;
    let app = Arc::clone(&ctx.app);
    let of = Arc::clone(&item);
    let file = ctx.aside(move || {
        let read = |objects: BTreeMap<u8, RunLengths>| -> Result<Objects> {
            objects.into_iter().map(|(object, runs)| Ok((object, runs.read(most)?))).collect()
        };
        let masks: BTreeMap<usize, Objects> =
            asked.masks.into_iter().map(|(frame, objects)| Ok((frame, read(objects)?))).collect::<Result<_>>()?;
        match asked.format {
            VideoFormat::Davis => {
                zipped(&masks, "png", davis).map(|bytes| File::new(super::ZIP, bytes).attached("davis.zip"))
            }
            VideoFormat::Rle => zipped(&masks, "json", |frame, objects| record(frame, objects, &asked.names))
                .map(|bytes| File::new(super::ZIP, bytes).attached("rle.zip")),
            VideoFormat::Overlay => {
                gif(&app, &of, &masks, fps).map(|bytes| File::new("image/gif", bytes).attached("overlay.gif"))
            }
        }
    });
    Ok(Answer::File(file.await?))
}

/// A file a frame in a ZIP.
fn zipped(
    masks: &BTreeMap<usize, Objects>,
    ending: &str,
    make: impl Fn(usize, &Objects) -> Result<Vec<u8>>,
) -> Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (frame, objects) in masks {
        let bytes = make(*frame, objects)?;
        zip.start_file(format!("{frame:05}.{ending}"), SimpleFileOptions::default()).map_err(Problem::internal)?;
        zip.write_all(&bytes).map_err(Problem::internal)?;
    }
    Ok(zip.finish().map_err(Problem::internal)?.into_inner())
}

/// Objects' masks by number.
type Masks = Vec<(u32, GrayImage)>;

/// The objects' masks, all of one size, and that size.
fn apart(objects: &Objects) -> Result<((u32, u32), Masks)> {
    let size = objects.values().next().map_or((1, 1), Rle::dimensions);
    if objects.values().any(|rle| rle.dimensions() != size) {
        return Err(Problem::new(Code::InvalidPrompt, "masks of one frame differ in size").at("masks"));
    }
    Ok((size, objects.iter().map(|(object, rle)| (u32::from(*object), picture_of(rle))).collect()))
}

/// The objects' numbers; of two that overlap the higher one lies on top.
fn davis(_: usize, objects: &Objects) -> Result<Vec<u8>> {
    let (size, apart) = apart(objects)?;
    labels::png(&label_map(&apart, size)).map_err(Problem::internal)
}

fn record(frame: usize, objects: &Objects, names: &BTreeMap<u8, String>) -> Result<Vec<u8>> {
    let (width, height) = objects.values().next().map_or((0, 0), Rle::dimensions);
    let all: Vec<_> = objects
        .iter()
        .map(|(object, rle)| {
            json!({"object": object, "label": names.get(object), "area": rle.area(), "bbox": rle.bbox(), "rle": rle.to_coco()})
        })
        .collect();
    let record = json!({"frame": frame, "width": width, "height": height, "objects": all});
    serde_json::to_vec_pretty(&record).map_err(Problem::internal)
}

fn gif(app: &App, item: &Arc<Item>, masks: &BTreeMap<usize, Objects>, fps: f32) -> Result<Vec<u8>> {
    let count = item.video()?.frames.len();
    let mut failed = None;
    let pictures = (0..count).map_while(|frame| {
        let picture = || -> Result<_> {
            let seen = app.frame(item, frame)?;
            let image = seen.photo.seen();
            let Some(objects) = masks.get(&frame).filter(|objects| !objects.is_empty()) else {
                return Ok(image.clone());
            };
            let (size, apart) = apart(objects)?;
            if size != image.dimensions() {
                let detail = format!("the masks of frame {frame} have not its size");
                return Err(Problem::new(Code::InvalidPrompt, detail).at("masks"));
            }
            overlay(image, &apart, &render::Prompts::default()).map_err(Problem::from)
        };
        match picture() {
            Ok(picture) => Some(Ok::<_, DataError>(picture)),
            Err(problem) => {
                failed = Some(problem);
                None
            }
        }
    });
    let mut bytes = Vec::new();
    write_gif(&mut bytes, pictures, fps).map_err(Problem::internal)?;
    match failed {
        Some(problem) => Err(problem),
        None => Ok(bytes),
    }
}
