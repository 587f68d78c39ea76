//! Label images: the indices of palette PNGs.

use std::io::Cursor;

use image::GrayImage;
use png::{BitDepth, ColorType, Decoder, DecodingError, Limits, Transformations};

use super::DecodeLimits;
use crate::error::{DataError, Result, one_line};

/// Whether the head of a PNG says that it has a palette.
pub(super) fn is_indexed(bytes: &[u8]) -> bool {
    bytes.get(12..16) == Some(b"IHDR") && bytes.get(25) == Some(&(ColorType::Indexed as u8))
}

/// The colours of a PNG's palette, one after the other.
pub(super) fn colours(bytes: &[u8], limits: &DecodeLimits) -> Option<Vec<u8>> {
    let reader = decoder(bytes, limits).read_info().ok()?;
    reader.info().palette.as_ref().map(|palette| palette.to_vec())
}

/// The gamma that a PNG names, or that of sRGB where it says so, times 100,000.
pub(super) fn gamma(bytes: &[u8], limits: &DecodeLimits) -> Option<u32> {
    const SRGB: u32 = 45_455;
    let reader = decoder(bytes, limits).read_info().ok()?;
    let info = reader.info();
    info.srgb.map(|_| SRGB).or(info.gama_chunk.map(|gamma| gamma.into_scaled()))
}

fn decoder<'b>(bytes: &'b [u8], limits: &DecodeLimits) -> Decoder<Cursor<&'b [u8]>> {
    let allowed = usize::try_from(limits.max_decoded_bytes).unwrap_or(usize::MAX);
    let limits = Limits { bytes: allowed.min(Limits::default().bytes) };
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(Transformations::IDENTITY);
    decoder
}

/// The labels of an image, one byte a pixel.
#[derive(Debug, Clone)]
pub struct LabelImage {
    /// Palette indices, or gray levels as stored.
    pub labels: GrayImage,
    /// What Pillow multiplies the levels of gray of 2 and 4 bits by, 85 and 17; else 1.
    pub pillow_factor: u8,
}

/// The indices or gray levels of a PNG, as they are stored.
pub(super) fn decode(bytes: &[u8], name: &str, limits: &DecodeLimits) -> Result<LabelImage> {
    let fail =
        |e: DecodingError| DataError::Decode { name: name.to_owned(), format: "PNG", reason: one_line(&e.to_string()) };
    let mut decoder = decoder(bytes, limits);
    let (width, height) = decoder.read_header_info().map_err(fail)?.size();
    // packed and unpacked
    limits.check_header(name, width, height, 2 * u64::from(width) * u64::from(height))?;
    let mut reader = decoder.read_info().map_err(fail)?;
    let (color, depth) = reader.output_color_type();
    if !matches!(color, ColorType::Indexed | ColorType::Grayscale) || depth == BitDepth::Sixteen {
        let reason = format!("it has {color:?} pixels of {} bits, expected a palette or 8-bit gray", depth as u8);
        return Err(DataError::Unsupported { name: name.to_owned(), format: "PNG", reason });
    }
    let mut raw = vec![0; reader.output_buffer_size().unwrap_or(0)];
    let frame = reader.next_frame(&mut raw).map_err(fail)?;
    raw.truncate(frame.buffer_size());
    let labels = match depth as usize {
        8 => raw,
        bits => raw.chunks_exact(frame.line_size.max(1)).flat_map(|row| unpack(row, bits, width as usize)).collect(),
    };
    let pillow_factor = match (color, depth) {
        (ColorType::Grayscale, BitDepth::Two) => 85,
        (ColorType::Grayscale, BitDepth::Four) => 17,
        _ => 1,
    };
    let found = labels.len();
    GrayImage::from_raw(width, height, labels)
        .map(|labels| LabelImage { labels, pillow_factor })
        .ok_or_else(|| DataError::size("the image's pixels", found.to_string(), format!("{width}x{height}")))
}

/// The values of a row of `bits` bits each, the first in the highest bits.
fn unpack(row: &[u8], bits: usize, width: usize) -> impl Iterator<Item = u8> {
    let per_byte = 8 / bits;
    (0..width).map(move |x| row[x / per_byte] >> (8 - bits * (x % per_byte + 1)) & ((1u16 << bits) - 1) as u8)
}
