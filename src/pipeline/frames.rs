//! What is told and shown of the frames of a video in which objects were tracked.

use std::io::Write;
use std::time::Duration;

use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, DynamicImage, Frame, imageops};
use seg_data::rle::CocoRle;
use seg_data::{DataError, GrayImage, RgbImage, Rle, labels, render};
use seg_models::sam2::video::{Direction, FrameMasks};
use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use super::record::with_files;

/// Longest side of an animation, in pixels.
const GIF_SIDE: u32 = 640;

/// Which way tracking goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Ways {
    /// To the end, then to the beginning.
    #[default]
    Both,
    /// To the end alone.
    Forward,
    /// To the beginning alone.
    Backward,
}

impl Ways {
    /// One after the other.
    pub fn directions(self) -> &'static [Direction] {
        match self {
            Self::Both => &[Direction::Forward, Direction::Backward],
            Self::Forward => &[Direction::Forward],
            Self::Backward => &[Direction::Backward],
        }
    }
}

/// The frames of a video of `count` in the order in which they are tracked, each with the way it is gone: `ways` one after the other. Forward begins at the
/// first frame with prompts; backward at the last, or below the first where that has been tracked by then. `to` is the last frame of either way.
pub fn order(ways: &[Direction], prompted: (usize, usize), count: usize, to: Option<usize>) -> Vec<(usize, Direction)> {
    let (first, last) = prompted;
    let mut order = Vec::new();
    for way in ways {
        match way {
            Direction::Forward => order.extend((first..to.map_or(count, |to| to + 1)).map(|frame| (frame, *way))),
            Direction::Backward => {
                let from = if order.is_empty() { last + 1 } else { first };
                order.extend((to.unwrap_or(0)..from).rev().map(|frame| (frame, *way)));
            }
        }
    }
    order
}

/// The JSON of a frame.
#[derive(Clone, Debug, Serialize)]
pub struct FrameRecord {
    /// From 0.
    pub frame: usize,
    /// The frame's name.
    pub name: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// The model's name.
    pub model: String,
    /// By number.
    pub objects: Vec<ObjectRecord>,
}

/// An object on a frame.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "serve", derive(schemars::JsonSchema))]
pub struct ObjectRecord {
    /// Its number.
    pub object: u32,
    /// Logit; at 0 and below the object is not in the picture.
    pub object_score: f32,
    /// Pixels inside.
    pub area: u64,
    /// Left, top, width, height.
    pub bbox: [u32; 4],
    /// COCO's compressed run lengths.
    #[cfg_attr(feature = "serve", schemars(with = "crate::serve::RunLengths"))]
    pub rle: CocoRle,
}

impl ObjectRecord {
    /// The objects of a frame, by number.
    ///
    /// # Errors
    /// [`Error::NotFinite`].
    pub fn all(masks: &FrameMasks) -> Result<Vec<Self>> {
        let (width, height) = masks.size;
        let object = |mask: &seg_models::sam2::video::ObjectMask| {
            if !mask.object_score.is_finite() {
                return Err(Error::NotFinite { what: "the object score", value: mask.object_score });
            }
            let rle = Rle::encode(mask.to_image()?.as_raw(), width, height)?;
            Ok(Self {
                object: mask.object,
                object_score: mask.object_score,
                area: rle.area(),
                bbox: rle.bbox(),
                rle: rle.to_coco(),
            })
        };
        let mut objects: Vec<Self> = masks.masks.iter().map(object).collect::<Result<_>>()?;
        objects.sort_by_key(|o| o.object);
        Ok(objects)
    }
}

impl FrameRecord {
    /// Of a frame called `name`.
    ///
    /// # Errors
    /// [`Error::NotFinite`].
    pub fn new(name: String, model: &str, masks: &FrameMasks) -> Result<Self> {
        let (width, height) = masks.size;
        let objects = ObjectRecord::all(masks)?;
        Ok(Self { frame: masks.frame, name, width, height, model: model.to_owned(), objects })
    }

    /// One line for a program: the record with the `files` written.
    ///
    /// # Errors
    /// Those of serde.
    pub fn line(&self, files: Vec<String>) -> Result<String> {
        with_files(self, files)
    }
}

/// The objects' numbers, pixel by pixel, of masks that do not overlap ([`FrameMasks::without_overlap`]).
pub fn label_map(apart: &[(u32, GrayImage)], (w, h): (u32, u32)) -> GrayImage {
    let mut map = GrayImage::new(w, h);
    for (object, mask) in apart {
        for (label, inside) in map.iter_mut().zip(mask.as_raw()) {
            if *inside > 0 {
                *label = *object as u8;
            }
        }
    }
    map
}

/// The frame with each object in its colour.
///
/// # Errors
/// When a mask's size is not the frame's.
pub fn overlay(image: &RgbImage, apart: &[(u32, GrayImage)], drawn: &render::Prompts) -> Result<RgbImage> {
    let mut picture = image.clone();
    for (i, (object, mask)) in apart.iter().enumerate() {
        let prompts = if i + 1 == apart.len() { drawn.clone() } else { render::Prompts::default() };
        // the next object's background is this one's picture
        let style = render::OverlayStyle { tint: colour(*object), dim: 0.0, ..Default::default() };
        picture = render::overlay(&picture, mask, &prompts, &style)?;
    }
    Ok(picture)
}

/// The object's colour of DAVIS's palette, as bright as it goes.
pub fn colour(object: u32) -> [u8; 3] {
    let colour = labels::palette()[object as usize % 256];
    let brightest = colour.into_iter().max().unwrap_or(0).max(1);
    colour.map(|v| (u32::from(v) * 255 / u32::from(brightest)) as u8)
}

/// Writes `pictures` as an endless animation of `fps` pictures a second, at most 640 pixels wide or high.
///
/// # Errors
/// What `out` or a picture gives.
pub fn write_gif(
    out: impl Write,
    pictures: impl IntoIterator<Item = std::result::Result<RgbImage, DataError>>,
    fps: f32,
) -> std::io::Result<()> {
    let delay = Delay::from_saturating_duration(Duration::from_secs_f32(1.0 / fps));
    let mut encoder = GifEncoder::new_with_speed(out, 10);
    encoder.set_repeat(Repeat::Infinite).map_err(std::io::Error::other)?;
    let mut canvas = None;
    for picture in pictures {
        let picture = picture.map_err(std::io::Error::other)?;
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
}

/// The size within [`GIF_SIDE`].
fn fitting((w, h): (u32, u32)) -> (u32, u32) {
    let scale = (f64::from(GIF_SIDE) / f64::from(w.max(h).max(1))).min(1.0);
    let side = |v: u32| ((f64::from(v) * scale).round() as u32).max(1);
    (side(w), side(h))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_frames() {
        use Direction::{Backward, Forward};
        let frames =
            |ways: &[Direction], to| order(ways, (2, 3), 6, to).into_iter().map(|(frame, _)| frame).collect::<Vec<_>>();
        assert_eq!(frames(&[Forward], None), [2, 3, 4, 5]);
        assert_eq!(frames(&[Forward], Some(4)), [2, 3, 4]);
        assert_eq!(frames(&[Backward], None), [3, 2, 1, 0]);
        assert_eq!(frames(&[Backward], Some(1)), [3, 2, 1]);
        // what lies between the prompts has been tracked on the way forward
        assert_eq!(frames(&[Forward, Backward], None), [2, 3, 4, 5, 1, 0]);
        let ways: Vec<_> = order(&[Forward, Backward], (1, 1), 3, None).into_iter().map(|(_, way)| way).collect();
        assert_eq!(ways, [Forward, Forward, Backward]);
    }
}
