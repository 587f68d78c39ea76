//! PNG, WebP, BMP and PNM through the `image` crate, and the reduction of every pixel type to 8-bit RGB.

use std::io::{BufRead, Cursor, Seek};

use image::error::{ImageError, LimitErrorKind};
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use rayon::prelude::*;

use super::{DecodeLimits, Decoded, StoredProfile, Turn, bmp_header, png_chunks, sniff};
use crate::error::{DataError, Result, one_line};

/// A PNG, prepared.
pub(super) fn decode_png(bytes: &[u8], name: &str, limits: &DecodeLimits) -> Result<Decoded> {
    png_size(bytes, name, limits)?;
    let prepared = png_chunks::prepare(bytes, name)?;
    let mut decoded = decode(Cursor::new(prepared.bytes), ImageFormat::Png, name, limits)
        .map_err(|error| png_chunks::damaged(bytes, name).unwrap_or(error))?;
    decoded.turn = prepared.turn;
    // of the two the newer kind counts
    decoded.profile = prepared.cicp.map(StoredProfile::Cicp).or(decoded.profile);
    decoded.notes.extend(prepared.notes);
    Ok(decoded)
}

/// A BMP of any header.
pub(super) fn decode_bmp(bytes: &[u8], name: &str, limits: &DecodeLimits) -> Result<Decoded> {
    let mut decoded = decode(Cursor::new(bmp_header::prepare(bytes, name)?), ImageFormat::Bmp, name, limits)?;
    if let (Some(most), DynamicImage::ImageRgb8(rgb)) = (bmp_header::sixteen_bits(bytes), &mut decoded.pixels) {
        // the crate rounds levels of 5 and 6 bits, Pillow cuts
        let table = most
            .map(|most| -> [u8; 256] { std::array::from_fn(|v| ((v as u32 * most + 127) / 255 * 255 / most) as u8) });
        for pixel in rgb.pixels_mut() {
            for (v, table) in pixel.0.iter_mut().zip(&table) {
                *v = table[usize::from(*v)];
            }
        }
    }
    Ok(decoded)
}

/// Pixels and profile; of the orientation a format's own module takes care.
pub(super) fn decode<R: BufRead + Seek>(
    r: R,
    format: ImageFormat,
    name: &str,
    limits: &DecodeLimits,
) -> Result<Decoded> {
    let fail = |e: ImageError| error(e, format, name);
    // No side limits here: `check_header` below has the better message and comes before any pixel memory.
    let mut caps = Limits::no_limits();
    caps.max_alloc = Some(limits.max_decoded_bytes);
    let mut reader = ImageReader::with_format(r, format);
    reader.limits(caps.clone());
    let mut decoder = reader.into_decoder().map_err(fail)?;
    let (width, height) = decoder.dimensions();
    limits.check_header(name, width, height, decoder.total_bytes())?;
    caps.max_alloc = Some(limits.max_decoded_bytes - decoder.total_bytes());
    decoder.set_limits(caps).map_err(fail)?;
    let profile = decoder.icc_profile().ok().flatten().map(StoredProfile::Icc);
    let pixels = DynamicImage::from_decoder(decoder).map_err(fail)?;
    Ok(Decoded { pixels, turn: Turn::NONE, profile, notes: Vec::new() })
}

/// Checks the size in a PNG's first chunk, which always stands at the same place: the decoder would otherwise answer
/// an absurd size with its own, vaguer, message.
fn png_size(bytes: &[u8], name: &str, limits: &DecodeLimits) -> Result<()> {
    match bytes.get(..24) {
        Some(head) if &head[12..16] == b"IHDR" => {
            let be = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            limits.check_header(name, be(16), be(20), 0)
        }
        _ => Ok(()),
    }
}

fn error(e: ImageError, format: ImageFormat, name: &str) -> DataError {
    let (name, format) = (name.to_owned(), sniff::label(format));
    match &e {
        ImageError::IoError(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => DataError::cut(name, format),
        ImageError::Limits(limit) => match limit.kind() {
            LimitErrorKind::InsufficientMemory => DataError::TooLarge {
                name,
                what: "the memory for decoding",
                value: "more than allowed".into(),
                limit: "what remains of max_decoded_bytes".into(),
            },
            _ => DataError::Decode { name, format, reason: one_line(&e.to_string()) },
        },
        ImageError::Unsupported(_) => DataError::Unsupported { name, format, reason: one_line(&e.to_string()) },
        _ => DataError::Decode { name, format, reason: one_line(&e.to_string()) },
    }
}

/// Any pixel type to 8-bit RGB by the rules in the module's table; no copy when it is RGB already.
pub(super) fn to_rgb8(image: DynamicImage) -> RgbImage {
    match image {
        DynamicImage::ImageRgb8(rgb) => rgb,
        other => converted(&other),
    }
}

/// [`to_rgb8`] of what is not to be given away.
pub(super) fn converted(image: &DynamicImage) -> RgbImage {
    let (w, h) = (image.width(), image.height());
    let from = |bytes: Vec<u8>| RgbImage::from_raw(w, h, bytes).unwrap_or_default();
    match image {
        DynamicImage::ImageLuma8(i) => from(repeat(i.as_raw(), 1, |v| v)),
        DynamicImage::ImageLumaA8(i) => from(repeat(i.as_raw(), 2, |v| v)),
        DynamicImage::ImageRgba8(i) => from(first_three(i.as_raw(), 4, |v| v)),
        DynamicImage::ImageLuma16(i) => from(repeat(i.as_raw(), 1, round16)),
        DynamicImage::ImageLumaA16(i) => from(repeat(i.as_raw(), 2, round16)),
        DynamicImage::ImageRgb16(i) => from(first_three(i.as_raw(), 3, round16)),
        DynamicImage::ImageRgba16(i) => from(first_three(i.as_raw(), 4, round16)),
        DynamicImage::ImageRgb32F(i) => from(first_three(i.as_raw(), 3, round_float)),
        DynamicImage::ImageRgba32F(i) => from(first_three(i.as_raw(), 4, round_float)),
        other => other.to_rgb8(),
    }
}

/// The high bytes of a 16-bit image; others stay as they are.
pub(crate) fn high_bytes(image: DynamicImage) -> DynamicImage {
    fn cut(raw: &[u16]) -> Vec<u8> {
        raw.iter().map(|v| (v >> 8) as u8).collect()
    }
    let (w, h) = (image.width(), image.height());
    let out = match &image {
        DynamicImage::ImageLuma16(i) => GrayImage::from_raw(w, h, cut(i.as_raw())).map(DynamicImage::ImageLuma8),
        DynamicImage::ImageLumaA16(i) => {
            image::GrayAlphaImage::from_raw(w, h, cut(i.as_raw())).map(DynamicImage::ImageLumaA8)
        }
        DynamicImage::ImageRgb16(i) => RgbImage::from_raw(w, h, cut(i.as_raw())).map(DynamicImage::ImageRgb8),
        DynamicImage::ImageRgba16(i) => image::RgbaImage::from_raw(w, h, cut(i.as_raw())).map(DynamicImage::ImageRgba8),
        _ => None,
    };
    out.unwrap_or(image)
}

/// The alpha in 8 bits; none where every pixel is opaque.
pub(super) fn alpha(image: &DynamicImage) -> Option<GrayImage> {
    fn last<T: Copy + PartialEq>(raw: &[T], step: usize, opaque: T, f: impl Fn(T) -> u8) -> Option<Vec<u8>> {
        let alpha = || raw.iter().skip(step - 1).step_by(step);
        alpha().any(|a| *a != opaque).then(|| alpha().map(|a| f(*a)).collect())
    }
    let values = match image {
        DynamicImage::ImageLumaA8(i) => last(i.as_raw(), 2, 255, |a| a),
        DynamicImage::ImageRgba8(i) => last(i.as_raw(), 4, 255, |a| a),
        DynamicImage::ImageLumaA16(i) => last(i.as_raw(), 2, u16::MAX, round16),
        DynamicImage::ImageRgba16(i) => last(i.as_raw(), 4, u16::MAX, round16),
        _ => None,
    };
    values.and_then(|values| GrayImage::from_raw(image.width(), image.height(), values))
}

fn round16(v: u16) -> u8 {
    ((u32::from(v) * 255 + 32767) / 65535) as u8
}

fn round_float(v: f32) -> u8 {
    (v.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// Pixels of `step` samples, of which the first is grey.
fn repeat<T: Copy + Sync>(raw: &[T], step: usize, f: impl Fn(T) -> u8 + Sync) -> Vec<u8> {
    let mut out = vec![0; raw.len() / step * 3];
    out.par_chunks_mut(3 << 14).zip(raw.par_chunks(step << 14)).for_each(|(out, raw)| {
        for (o, p) in out.chunks_exact_mut(3).zip(raw.chunks_exact(step)) {
            o.fill(f(p[0]));
        }
    });
    out
}

/// Pixels of `step` samples, of which the first three are red, green, blue.
fn first_three<T: Copy + Sync>(raw: &[T], step: usize, f: impl Fn(T) -> u8 + Sync) -> Vec<u8> {
    let mut out = vec![0; raw.len() / step * 3];
    out.par_chunks_mut(3 << 14).zip(raw.par_chunks(step << 14)).for_each(|(out, raw)| {
        for (o, p) in out.chunks_exact_mut(3).zip(raw.chunks_exact(step)) {
            o[0] = f(p[0]);
            o[1] = f(p[1]);
            o[2] = f(p[2]);
        }
    });
    out
}
