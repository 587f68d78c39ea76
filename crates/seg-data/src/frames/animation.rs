//! Animated images, frame by frame.

use std::path::Path;

use image::{DynamicImage, ImageFormat, RgbaImage};

use super::{apng, frame_name, too_many};
use crate::decode::{DecodeLimits, gif, guarded, read, webp};
use crate::error::{DataError, Result};
use crate::output::{Overwrite, write_png};

/// What an image file turned out to be.
pub(super) enum Unpacked {
    /// One picture, of this format.
    Still(&'static str),
    /// Frames, all of them unless there is damage.
    Frames(Option<DataError>),
}

/// Writes the frames of the animation `path` into `folder`.
pub(super) fn unpack(
    path: &Path,
    format: ImageFormat,
    limits: &DecodeLimits,
    folder: &Path,
    most: usize,
) -> Result<Unpacked> {
    let (name, bytes) = read(path, limits)?;
    let write_frames = |frames: &mut dyn Iterator<Item = Result<RgbaImage>>| write_frames(frames, &name, folder, most);
    match format {
        ImageFormat::Gif => guarded(&name, "GIF", || write_frames(&mut gif::Frames::open(&bytes, &name, limits)?)),
        ImageFormat::Png => guarded(&name, "PNG", || match apng::Animation::open(&bytes, &name, limits)? {
            None => Ok(Unpacked::Still("PNG")),
            Some(mut animation) => write_frames(&mut animation),
        }),
        _ => guarded(&name, "WebP", || match webp::Animation::open(&bytes, &name, limits)? {
            None => Ok(Unpacked::Still("WebP")),
            Some(mut animation) => write_frames(&mut animation),
        }),
    }
}

/// Up to the first that cannot be had: what a decoder gives behind it is of no use.
fn write_frames(
    frames: &mut dyn Iterator<Item = Result<RgbaImage>>,
    name: &str,
    folder: &Path,
    most: usize,
) -> Result<Unpacked> {
    for (index, frame) in frames.enumerate() {
        if index == most {
            return Err(too_many(name, most));
        }
        match frame {
            Ok(frame) => {
                let rgb = DynamicImage::ImageRgba8(frame).into_rgb8();
                write_png(folder.join(frame_name(index)), &rgb, Overwrite::Refuse)?;
            }
            Err(error) => return Ok(Unpacked::Frames(Some(error))),
        }
    }
    Ok(Unpacked::Frames(None))
}
