//! Animated images, frame by frame.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{AnimationDecoder as _, DynamicImage, Frames, ImageDecoder, ImageError, ImageFormat, Limits};

use super::frame_name;
use crate::decode::{DecodeLimits, guarded};
use crate::error::{DataError, Result, one_line};
use crate::output::{Overwrite, write_png};

/// What an image file turned out to be.
pub(super) enum Unpacked {
    /// One picture, of this format.
    Still(&'static str),
    /// Frames, all of them unless there is damage.
    Frames(Option<DataError>),
}

/// Writes the frames of the animation `path` into `folder`.
pub(super) fn unpack(path: &Path, format: ImageFormat, limits: &DecodeLimits, folder: &Path) -> Result<Unpacked> {
    let name = path.display().to_string();
    let length = std::fs::metadata(path).map_err(|e| DataError::io(path, "open it", e))?.len();
    limits.check_file(&name, length)?;
    let file = BufReader::new(File::open(path).map_err(|e| DataError::io(path, "open it", e))?);
    let label = match format {
        ImageFormat::Gif => "GIF",
        ImageFormat::Png => "PNG",
        _ => "WebP",
    };
    let fail =
        |e: ImageError| DataError::Decode { name: name.clone(), format: label, reason: one_line(&e.to_string()) };
    guarded(&name, label, || match format {
        ImageFormat::Gif => {
            let mut decoder = GifDecoder::new(file).map_err(fail)?;
            limit(&mut decoder, &name, limits, fail)?;
            write_frames(decoder.into_frames(), folder, fail)
        }
        ImageFormat::Png => {
            let mut decoder = PngDecoder::new(file).map_err(fail)?;
            if !decoder.is_apng().map_err(fail)? {
                return Ok(Unpacked::Still(label));
            }
            limit(&mut decoder, &name, limits, fail)?;
            write_frames(decoder.apng().map_err(fail)?.into_frames(), folder, fail)
        }
        _ => {
            let mut decoder = WebPDecoder::new(file).map_err(fail)?;
            if !decoder.has_animation() {
                return Ok(Unpacked::Still(label));
            }
            limit(&mut decoder, &name, limits, fail)?;
            write_frames(decoder.into_frames(), folder, fail)
        }
    })
}

/// Checks the header before memory is taken for pixels.
fn limit(
    decoder: &mut impl ImageDecoder,
    name: &str,
    limits: &DecodeLimits,
    fail: impl Fn(ImageError) -> DataError,
) -> Result<()> {
    let (width, height) = decoder.dimensions();
    // the canvas, the frame before it, and the one being decoded, RGBA
    limits.check_header(name, width, height, 12 * u64::from(width) * u64::from(height))?;
    let mut caps = Limits::no_limits();
    caps.max_alloc = Some(limits.max_decoded_bytes);
    decoder.set_limits(caps).map_err(fail)
}

fn write_frames(frames: Frames<'_>, folder: &Path, fail: impl Fn(ImageError) -> DataError) -> Result<Unpacked> {
    for (index, frame) in frames.enumerate() {
        match frame {
            Ok(frame) => {
                let rgb = DynamicImage::ImageRgba8(frame.into_buffer()).into_rgb8();
                write_png(folder.join(frame_name(index)), &rgb, Overwrite::Refuse)?;
            }
            Err(error) => return Ok(Unpacked::Frames(Some(fail(error)))),
        }
    }
    Ok(Unpacked::Frames(None))
}
