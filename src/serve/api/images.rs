//! Images in, and their pixels out.

use std::sync::Arc;

use axum::http::header;
use image::codecs::jpeg::JpegEncoder;
use image::{GrayImage, RgbImage, RgbaImage, imageops};
use schemars::JsonSchema;
use seg_data::output::png;
use seg_data::{PilFilter, render, resize_pil};
use serde::{Deserialize, Serialize};

use crate::pipeline::{Colours, Photo};
use crate::serve::input::{NoBody, Upload};
use crate::serve::item::{Item, Picture, What};
use crate::serve::problem::{Code, Problem, Result};
use crate::serve::route::{Answer, Ctx, File};

/// What an image is called in errors, from which it is taken out again.
const NAME: &str = "upload";

/// How an image is read.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HowRead {
    /// `stored` leaves the numbers as they are, whatever the colour profile says.
    pub colours: Option<ColoursName>,
}

/// What becomes of colours.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ColoursName {
    Srgb,
    Stored,
}

impl HowRead {
    pub fn colours(&self) -> Colours {
        match self.colours {
            Some(ColoursName::Stored) => Colours::Stored,
            _ => Colours::Srgb,
        }
    }
}

/// What is known of an image.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ImageRecord {
    pub id: String,
    /// Of the upright image, in pixels.
    pub width: u32,
    pub height: u32,
    /// The file's, by its bytes.
    pub format: String,
    /// EXIF's number of how it was turned; 1 where it was not.
    pub orientation: u8,
    /// Whether some of it is transparent.
    pub alpha: bool,
    /// The name of its colour profile; null for sRGB.
    pub profile: Option<String>,
    pub notes: Vec<String>,
    /// Seconds that it stays after it was last used.
    pub expires_in: u64,
}

impl ImageRecord {
    fn new(item: &Item, photo: &Photo, expires_in: u64) -> Self {
        let loaded = &photo.loaded;
        let (width, height) = photo.dimensions();
        Self {
            id: item.id.clone(),
            width,
            height,
            format: format!("{:?}", loaded.format).to_ascii_lowercase(),
            orientation: loaded.orientation.to_exif(),
            alpha: loaded.alpha.is_some(),
            profile: loaded
                .profile
                .as_ref()
                .filter(|profile| !profile.is_srgb())
                .map(|profile| profile.name().to_string()),
            notes: photo.notes().map(str::to_owned).collect(),
            expires_in,
        }
    }
}

pub async fn create(ctx: Ctx<HowRead>, Upload(bytes): Upload) -> Result<Answer<ImageRecord>> {
    let (limits, colours) = (ctx.app.options.decode.clone(), ctx.query.colours());
    let picture = ctx.aside(move || {
        let loaded = seg_data::decode_image(&bytes, NAME, &limits).map_err(|error| Problem::of_file(&error, NAME))?;
        drop(bytes);
        Ok(Picture::new(Photo::new(loaded, colours)))
    });
    let picture = Arc::new(picture.await?);
    let item = ctx.app.store.insert(Item::new(What::Image(Arc::clone(&picture))));
    let record = ImageRecord::new(&item, &picture.photo, ctx.app.store.expires_in());
    Ok(Answer::Created(format!("/v1/images/{}", item.id), record))
}

pub async fn get(ctx: Ctx, _: NoBody) -> Result<Answer<ImageRecord>> {
    let seen = ctx.picture().await?;
    Ok(Answer::Json(ImageRecord::new(&seen.item, &seen.picture.photo, ctx.app.store.expires_in())))
}

pub async fn delete(ctx: Ctx, _: NoBody) -> Result<Answer<()>> {
    let item = ctx.item(false)?;
    ctx.app.store.remove(&item.id);
    Ok(Answer::Nothing)
}

/// Which pixels.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Part {
    /// Reduces to this many pixels on the longer side.
    pub max_side: Option<u32>,
    /// A part's left edge.
    pub x: Option<u32>,
    /// A part's upper edge.
    pub y: Option<u32>,
    pub width: Option<u32>,
    pub height: Option<u32>,
    /// `png`, or `jpeg`, which is smaller and not exact.
    pub format: Option<PixelFormat>,
}

/// How pixels are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PixelFormat {
    Png,
    Jpeg,
}

pub async fn pixels(ctx: Ctx<Part>, _: NoBody) -> Result<Answer<()>> {
    let seen = ctx.picture().await?;
    let part = ctx.query.clone();
    let file = ctx.aside(move || shown(&seen.picture.photo, &part)).await?;
    let keep = format!("private, max-age={}, immutable", ctx.app.store.expires_in());
    Ok(Answer::File(file.header(header::CACHE_CONTROL, &keep)))
}

/// The pixels of a part.
fn shown(photo: &Photo, part: &Part) -> Result<File> {
    let (width, height) = photo.dimensions();
    let (x, y) = (part.x.unwrap_or(0), part.y.unwrap_or(0));
    let outside = || {
        let detail = format!("the part leaves the image of {width}x{height} pixels, or is empty");
        Problem::new(Code::InvalidRequest, detail).at("query")
    };
    let left = |of: u32, at: u32, asked: Option<u32>| {
        let left = of.checked_sub(at).filter(|left| *left > 0)?;
        Some(asked.unwrap_or(left)).filter(|side| (1..=left).contains(side))
    };
    let (Some(w), Some(h)) = (left(width, x, part.width), left(height, y, part.height)) else { return Err(outside()) };
    let whole = (w, h) == (width, height);
    let side = part.max_side.unwrap_or(u32::MAX).max(1);
    let scale = f64::from(side) / f64::from(w.max(h));
    let reduced = (scale < 1.0).then(|| {
        let side = |v: u32| ((f64::from(v) * scale).round() as u32).max(1);
        (side(w), side(h))
    });
    let seen = photo.seen();
    let mut rgb = if whole { None } else { Some(imageops::crop_imm(seen, x, y, w, h).to_image()) };
    if let Some(size) = reduced {
        let small = resize_pil(rgb.as_ref().unwrap_or(seen), size, PilFilter::Bilinear);
        rgb = Some(small.map_err(Problem::internal)?);
    }
    let rgb: &RgbImage = rgb.as_ref().unwrap_or(seen);
    if part.format == Some(PixelFormat::Jpeg) {
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 85).encode_image(rgb).map_err(Problem::internal)?;
        return Ok(File::new(super::JPEG, bytes));
    }
    let Some(alpha) = &photo.loaded.alpha else {
        return Ok(File::new(super::PNG, png(rgb).map_err(Problem::internal)?));
    };
    let mut cut: GrayImage = imageops::crop_imm(alpha, x, y, w, h).to_image();
    if let Some(size) = reduced {
        cut = resize_pil(&cut, size, PilFilter::Bilinear).map_err(Problem::internal)?;
    }
    let rgba: RgbaImage = render::cutout(rgb, &cut).map_err(Problem::internal)?;
    Ok(File::new(super::PNG, png(&rgba).map_err(Problem::internal)?))
}
