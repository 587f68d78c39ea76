//! JPEG through a decoder that is bit-equal to libjpeg-turbo.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use libjpeg_turbo_rs::{DecodeLimits as JpegLimits, Decoder, JpegError, PixelFormat};

use super::{DecodeLimits, Decoded};
use crate::error::{DataError, Result, one_line};

/// More scans than any encoder writes; each costs a pass over all coefficients.
const MAX_SCANS: usize = 256;

pub(super) fn decode(bytes: &[u8], name: &str, limits: &DecodeLimits) -> Result<Decoded> {
    let fail = |e: JpegError| error(e, name);
    let ours = JpegLimits {
        max_width: limits.max_side as usize,
        max_height: limits.max_side as usize,
        max_pixels: limits.max_pixels,
        max_scans: MAX_SCANS,
        max_memory: Some(limits.max_decoded_bytes),
    };
    let mut decoder = Decoder::new_with_limits(bytes, ours).map_err(fail)?;
    let header = decoder.header();
    let (width, height) = (u32::from(header.width), u32::from(header.height));
    let (channels, precision) = (header.components.len(), header.precision);
    let pixels = u64::from(width) * u64::from(height);
    // planes, output, and the coefficients that a progressive file keeps (2 bytes each)
    let factor = if header.is_progressive { 3 * channels as u64 + 3 } else { channels as u64 + 3 };
    limits.check_header(name, width, height, pixels * factor)?;
    if precision != 8 {
        let reason = format!("it has {precision} bits a sample, expected 8");
        return Err(DataError::Unsupported { name: name.to_owned(), format: "JPEG", reason });
    }
    if !has_end(bytes) {
        let reason = "it has no end-of-image marker, so the rest of the picture is missing".into();
        return Err(DataError::Truncated { name: name.to_owned(), format: "JPEG", reason });
    }
    let orientation = decoder.exif_orientation().and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms);
    let grey = channels == 1;
    decoder.set_output_format(if grey { PixelFormat::Grayscale } else { PixelFormat::Rgb });
    let decoded = decoder.decode_image().map_err(fail)?;
    let mismatch = || DataError::Decode {
        name: name.to_owned(),
        format: "JPEG",
        reason: format!("the decoder gave {} bytes for {width}x{height} pixels", decoded.data.len()),
    };
    if decoded.width != width as usize || decoded.height != height as usize {
        return Err(mismatch());
    }
    let expected = pixels * if grey { 1 } else { 3 };
    if decoded.data.len() as u64 != expected {
        return Err(mismatch());
    }
    let image = if grey {
        GrayImage::from_raw(width, height, decoded.data).map(DynamicImage::ImageLuma8)
    } else {
        RgbImage::from_raw(width, height, decoded.data).map(DynamicImage::ImageRgb8)
    };
    let Some(pixels) = image else {
        return Err(DataError::ZeroSize { name: name.to_owned(), width, height });
    };
    Ok(Decoded { pixels, orientation, notes: Vec::new() })
}

/// Whether the end-of-image marker (FF D9) follows the first scan. Decoders fill up a cut file with grey without a word;
/// within the data of a scan, FF is always followed by 00 or a restart marker, so the two bytes cannot be anything else.
/// Pillow refuses such files too.
/// The segments before the scan are stepped over: a thumbnail in EXIF has an end marker of its own.
fn has_end(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let [0xff, marker, rest @ ..] = bytes.get(at..).unwrap_or_default() {
        match (marker, rest) {
            (0xff, _) => at += 1,
            (0x01 | 0xd0..=0xd7, _) => at += 2,
            (0xda, _) => break,
            (_, [high, low, ..]) => at += 2 + usize::from(u16::from_be_bytes([*high, *low])),
            _ => return false,
        }
    }
    bytes.get(at..).is_some_and(|data| data.windows(2).any(|pair| pair == [0xff, 0xd9]))
}

fn error(e: JpegError, name: &str) -> DataError {
    let name = name.to_owned();
    match e {
        JpegError::UnexpectedEof => {
            DataError::Truncated { name, format: "JPEG", reason: "it ends in the middle of the data".into() }
        }
        JpegError::LimitExceeded { what, actual, limit } => {
            DataError::TooLarge { name, what, value: actual.to_string(), limit: limit.to_string() }
        }
        JpegError::Unsupported(what) => DataError::Unsupported { name, format: "JPEG", reason: one_line(&what) },
        other => DataError::Decode { name, format: "JPEG", reason: one_line(&other.to_string()) },
    }
}
