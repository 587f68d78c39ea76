//! What is written of a tracked video.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, DynamicImage, Frame, GrayImage, RgbImage, imageops};
use seg_data::output::{Overwrite, create_folder, write, write_png, write_with};
use seg_data::{DecodeLimits, Rle, labels, load_image, render};
use seg_models::sam2::video::FrameMasks;
use serde::Serialize;

use super::args::{Format, TrackArgs};

/// Longest side of the animation, in pixels.
const GIF_SIDE: u32 = 640;

/// Names of a video's results.
#[derive(Clone, Debug)]
pub struct Outputs {
    folder: PathBuf,
    stem: OsString,
    formats: Vec<Format>,
}

/// The JSON of a frame.
#[derive(Debug, Serialize)]
pub struct Record {
    frame: usize,
    name: String,
    width: u32,
    height: u32,
    model: String,
    objects: Vec<ObjectRecord>,
}

#[derive(Debug, Serialize)]
struct ObjectRecord {
    object: u32,
    /// Logit; at 0 and below the object is not in the picture.
    object_score: f32,
    /// Pixels inside.
    area: u64,
    /// Left, top, width, height.
    bbox: [u32; 4],
    /// COCO's compressed run lengths.
    rle: seg_data::rle::CocoRle,
}

impl Outputs {
    /// Of the video `input`, as the options say.
    pub fn new(args: &TrackArgs) -> Self {
        let input = args.input.canonicalize().unwrap_or_else(|_| args.input.clone());
        let stem = match input.is_dir() {
            true => input.file_name().map(OsStr::to_owned), // `bear.old/` keeps its ending
            false => input.file_stem().map(OsStr::to_owned),
        };
        let all = [Format::Labels, Format::Overlay, Format::Rle, Format::Gif];
        Self {
            folder: args.output.clone(),
            stem: stem.unwrap_or_else(|| "video".into()),
            formats: all.into_iter().filter(|format| args.writes(*format)).collect(),
        }
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.stem.clone();
        name.push(ending);
        self.folder.join(name)
    }

    fn of_frame(&self, format: Format, name: &OsStr) -> Option<PathBuf> {
        let (folder, ending) = match format {
            Format::Labels => ("", ".png"),
            Format::Overlay => (".overlay", ".png"),
            Format::Rle => (".rle", ".json"),
            Format::Gif => return None,
        };
        let mut file = name.to_owned();
        file.push(ending);
        Some(self.beside(folder).join(file))
    }

    /// The files of a frame, in the order in which they are written.
    pub fn files(&self, name: &OsStr) -> Vec<PathBuf> {
        self.formats.iter().filter_map(|format| self.of_frame(*format, name)).collect()
    }

    /// What is remembered, for `--resume`.
    pub fn state(&self) -> PathBuf {
        self.beside(".state.safetensors")
    }

    /// The animation, if it is asked for.
    pub fn gif(&self) -> Option<PathBuf> {
        self.formats.contains(&Format::Gif).then(|| self.beside(".gif"))
    }

    /// Makes the folders.
    pub fn create_folders(&self) -> anyhow::Result<()> {
        create_folder(&self.folder)?;
        for file in self.files(OsStr::new("frame")) {
            if let Some(folder) = file.parent() {
                create_folder(folder)?;
            }
        }
        Ok(())
    }

    /// Writes a frame's files.
    pub fn write(
        &self,
        name: &OsStr,
        image: &RgbImage,
        masks: &FrameMasks,
        drawn: &render::Prompts,
        record: &Record,
    ) -> anyhow::Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        let apart = masks.without_overlap()?;
        for format in &self.formats {
            let Some(path) = self.of_frame(*format, name) else { continue };
            match format {
                Format::Labels => write(&path, &labels::png(&label_map(&apart, masks.size))?, Overwrite::Replace)?,
                Format::Overlay => write_png(&path, &overlay(image, &apart, drawn)?, Overwrite::Replace)?,
                Format::Rle => {
                    write(&path, serde_json::to_string_pretty(record)?.as_bytes(), Overwrite::Replace)?;
                }
                Format::Gif => continue,
            }
            written.push(path);
        }
        Ok(written)
    }

    /// Puts the overlays of the frames `names` together; those that are not there are left out.
    pub fn write_gif(&self, path: &Path, names: &[OsString], fps: f32, limits: &DecodeLimits) -> anyhow::Result<()> {
        let delay = Delay::from_saturating_duration(std::time::Duration::from_secs_f32(1.0 / fps));
        let overlays =
            names.iter().filter_map(|name| self.of_frame(Format::Overlay, name)).filter(|path| path.exists());
        write_with(path, Overwrite::Replace, |out| {
            let mut encoder = GifEncoder::new_with_speed(out, 10);
            encoder.set_repeat(Repeat::Infinite).map_err(std::io::Error::other)?;
            let mut canvas = None;
            for file in overlays {
                let picture = load_image(&file, limits).map_err(std::io::Error::other)?.image;
                // all pictures of an animation have the first one's size
                let (w, h) = *canvas.get_or_insert_with(|| fitting(picture.dimensions()));
                let picture = match picture.dimensions() == (w, h) {
                    true => picture,
                    false => imageops::resize(&picture, w, h, imageops::FilterType::Triangle),
                };
                let picture = DynamicImage::ImageRgb8(picture).into_rgba8();
                encoder.encode_frame(Frame::from_parts(picture, 0, 0, delay)).map_err(std::io::Error::other)?;
            }
            Ok(())
        })
        .context("cannot write the animation")
    }
}

/// The size within [`GIF_SIDE`].
fn fitting((w, h): (u32, u32)) -> (u32, u32) {
    let scale = (f64::from(GIF_SIDE) / f64::from(w.max(h).max(1))).min(1.0);
    let side = |v: u32| ((f64::from(v) * scale).round() as u32).max(1);
    (side(w), side(h))
}

/// The objects' numbers, pixel by pixel.
fn label_map(masks: &[(u32, GrayImage)], (w, h): (u32, u32)) -> GrayImage {
    let mut map = GrayImage::new(w, h);
    for (object, mask) in masks {
        for (label, inside) in map.iter_mut().zip(mask.as_raw()) {
            if *inside > 0 {
                *label = *object as u8;
            }
        }
    }
    map
}

/// The frame with each object in its colour.
fn overlay(image: &RgbImage, masks: &[(u32, GrayImage)], drawn: &render::Prompts) -> anyhow::Result<RgbImage> {
    let mut picture = image.clone();
    for (i, (object, mask)) in masks.iter().enumerate() {
        let prompts = if i + 1 == masks.len() { drawn.clone() } else { render::Prompts::default() };
        // the next object's background is this one's picture
        let style = render::OverlayStyle { tint: colour(*object), dim: 0.0, ..Default::default() };
        picture = render::overlay(&picture, mask, &prompts, &style)?;
    }
    Ok(picture)
}

/// The object's colour of the palette, as bright as it goes.
fn colour(object: u32) -> [u8; 3] {
    let colour = labels::palette()[object as usize % 256];
    let brightest = colour.into_iter().max().unwrap_or(0).max(1);
    colour.map(|v| (u32::from(v) * 255 / u32::from(brightest)) as u8)
}

impl Record {
    /// Of a frame called `name`.
    pub fn new(name: &OsStr, model: &str, masks: &FrameMasks) -> anyhow::Result<Self> {
        let (width, height) = masks.size;
        let objects = masks.masks.iter().map(|mask| -> anyhow::Result<ObjectRecord> {
            if !mask.object_score.is_finite() {
                let score = mask.object_score;
                anyhow::bail!("the model gave the object score {score}: its weights or number type do not fit");
            }
            let rle = Rle::encode(mask.to_image()?.as_raw(), width, height)?;
            Ok(ObjectRecord {
                object: mask.object,
                object_score: mask.object_score,
                area: rle.area(),
                bbox: rle.bbox(),
                rle: rle.to_coco(),
            })
        });
        let mut objects: Vec<ObjectRecord> = objects.collect::<anyhow::Result<_>>()?;
        objects.sort_by_key(|o| o.object);
        Ok(Self {
            frame: masks.frame,
            name: name.to_string_lossy().into_owned(),
            width,
            height,
            model: model.to_owned(),
            objects,
        })
    }

    /// One line for a person.
    pub fn line(&self, written: &[PathBuf]) -> String {
        let pixels = f64::from(self.width) * f64::from(self.height);
        let object = |o: &ObjectRecord| match o.area {
            0 => format!("object {} not seen", o.object),
            area => format!("object {} {:.1} %", o.object, 100.0 * area as f64 / pixels),
        };
        let objects: Vec<String> = self.objects.iter().map(object).collect();
        let shown = written.first().map_or(String::new(), |path| format!("  ->  {}", path.display()));
        format!("{}: {}{shown}", self.name, objects.join(", "))
    }

    /// One line for a program: the record with the files written.
    pub fn json(&self, written: &[PathBuf]) -> anyhow::Result<String> {
        let mut value = serde_json::to_value(self)?;
        let files: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
        value["files"] = files.into();
        Ok(value.to_string())
    }
}
