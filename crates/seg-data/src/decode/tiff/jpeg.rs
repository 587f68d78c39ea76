//! Strips and tiles that are whole pictures: JPEG and WebP.

use std::io::Cursor;

use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder as _};

use super::super::loader::Room;
use super::Source;
use super::chunks::Chunk;
use super::fault::Fault;
use super::header::{Header, Photometric};
use crate::error::one_line;

/// The pixels of a JPEG stream, whose tables may lie in the page's tags. YCbCr comes out as RGB.
pub(super) fn jpeg(header: &Header, data: &[u8], source: &Source<'_>) -> Result<Chunk<'static>, Fault> {
    let mut stream = vec![0xff, 0xd8];
    // what the components are stands in the page's tags; an Adobe segment says it to the decoder
    let transform = u8::from(header.photometric == Photometric::YCbCr);
    stream.extend(b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0");
    stream.push(transform);
    if let Some(tables) = &header.jpeg_tables {
        let tables = tables.strip_suffix(b"\xff\xd9").unwrap_or(tables);
        segments(tables, &mut stream);
    }
    segments(data, &mut stream);
    let decoded =
        super::super::jpeg::decode(&stream, source.name, source.limits, &mut Room::default()).map_err(Fault::Other)?;
    pixels(decoded.pixels, header.together())
}

/// Copies a stream's segments without its beginning and what applications put in.
fn segments(stream: &[u8], out: &mut Vec<u8>) {
    let mut rest = stream.strip_prefix(b"\xff\xd8").unwrap_or(stream);
    while let [0xff, 0xe0..=0xef, high, low, ..] = rest {
        let length = 2 + usize::from(u16::from_be_bytes([*high, *low]));
        rest = rest.get(length..).unwrap_or_default();
    }
    while let [0xff, marker, high, low, ..] = rest {
        let length = (2 + usize::from(u16::from_be_bytes([*high, *low]))).min(rest.len());
        if *marker == 0xda || length < 4 {
            break;
        }
        if !matches!(marker, 0xe0..=0xef) {
            out.extend_from_slice(&rest[..length]);
        }
        rest = &rest[length..];
    }
    out.extend_from_slice(rest);
}

/// The pixels of a WebP file.
pub(super) fn webp(header: &Header, data: &[u8], source: &Source<'_>) -> Result<Chunk<'static>, Fault> {
    let fail = |e: image::ImageError| Fault::Damaged(one_line(&format!("WebP: {e}")));
    let decoder = WebPDecoder::new(Cursor::new(data)).map_err(fail)?;
    let (width, height) = decoder.dimensions();
    source.limits.check_header(source.name, width, height, decoder.total_bytes()).map_err(Fault::Other)?;
    pixels(DynamicImage::from_decoder(decoder).map_err(fail)?, header.together())
}

/// A picture's samples, of which there must be `samples` a pixel.
fn pixels(picture: DynamicImage, samples: usize) -> Result<Chunk<'static>, Fault> {
    let row_bytes = picture.width() as usize * samples;
    let samples = match (picture, samples) {
        (DynamicImage::ImageLuma8(grey), 1) => grey.into_raw(),
        (DynamicImage::ImageRgb8(rgb), 3) => rgb.into_raw(),
        (picture @ DynamicImage::ImageRgba8(_), 3) => picture.into_rgb8().into_raw(),
        (picture @ (DynamicImage::ImageRgb8(_) | DynamicImage::ImageRgba8(_)), 4) => picture.into_rgba8().into_raw(),
        (picture, samples) => {
            let found = picture.color().channel_count();
            return Err(Fault::Damaged(format!("a strip or tile has {found} samples a pixel, expected {samples}")));
        }
    };
    Ok(Chunk { samples: samples.into(), row_bytes })
}
