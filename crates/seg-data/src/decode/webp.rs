//! WebP. Of an animation the frames are decoded one by one and composited as libwebp's animation decoder does, so that they equal Pillow's.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder as _, ImageFormat, Limits, Rgba, RgbaImage, codecs::webp::WebPDecoder};

use super::canvas::{Place, lay};
use super::exif::{self, Turn};
use super::{DecodeLimits, Decoded, StoredProfile, guarded, raster};
use crate::error::{DataError, Result, one_line};

/// Length of a frame's own header, before its chunks.
const FRAME_HEADER: usize = 16;
const DISPOSE: u8 = 1;
const NO_BLEND: u8 = 2;

/// A still picture, or the first frame of an animation.
pub(super) fn decode(bytes: &[u8], name: &str, limits: &DecodeLimits) -> Result<Decoded> {
    let Some(mut animation) = Animation::open(bytes, name, limits)? else {
        let decoded = raster::decode(Cursor::new(bytes), ImageFormat::WebP, name, limits);
        return decoded.map(|decoded| Decoded { turn: turn(bytes, name), ..decoded }).map_err(|error| match error {
            DataError::Decode { name, format, .. } if is_cut(bytes) => DataError::cut(name, format),
            other => other,
        });
    };
    let first = animation.next().ok_or_else(|| animation.fail("it holds no picture"))??;
    let frames = 1 + Chunks { ..animation.chunks }.filter(|chunk| matches!(chunk, Ok((b"ANMF", _)))).count();
    let notes =
        if frames > 1 { vec![format!("an animation of {frames} frames; only the first is used")] } else { Vec::new() };
    let profile = (Chunks { bytes, at: 12, name }).find_map(|chunk| match chunk {
        Ok((b"ICCP", icc)) => Some(StoredProfile::Icc(icc.to_vec())),
        _ => None,
    });
    Ok(Decoded { pixels: DynamicImage::ImageRgba8(first), turn: turn(bytes, name), profile, notes })
}

/// By EXIF or XMP, which files of the extended form alone have.
fn turn(bytes: &[u8], name: &str) -> Turn {
    let mut chunks = Chunks { bytes, at: 12, name }.map_while(Result::ok);
    if chunks.next().is_none_or(|(kind, _)| kind != b"VP8X") {
        return Turn::NONE;
    }
    let (mut exif, mut xmp) = (None, None);
    for (kind, data) in chunks {
        match kind {
            b"EXIF" => exif = exif.or(exif::orientation(data)),
            b"XMP " => xmp = xmp.or(exif::in_xmp(data)),
            _ => {}
        }
    }
    Turn::new(exif, xmp)
}

/// Whether the file is shorter than its head says.
fn is_cut(bytes: &[u8]) -> bool {
    bytes.get(4..8).is_some_and(|l| u64::from(u32::from_le_bytes([l[0], l[1], l[2], l[3]])) + 8 > bytes.len() as u64)
}

/// What the frame before left.
struct Previous {
    place: Place,
    disposed: bool,
    key: bool,
}

/// The frames of an animated WebP in order.
pub(crate) struct Animation<'b> {
    chunks: Chunks<'b>,
    name: &'b str,
    limits: &'b DecodeLimits,
    canvas: RgbaImage,
    previous: Option<Previous>,
}

impl<'b> Animation<'b> {
    /// Of a whole file; none when it is not an animation.
    ///
    /// # Errors
    /// A canvas over the limits.
    pub fn open(bytes: &'b [u8], name: &'b str, limits: &'b DecodeLimits) -> Result<Option<Self>> {
        let mut chunks = Chunks { bytes, at: 12, name };
        let Some(Ok((b"VP8X", header))) = chunks.next() else { return Ok(None) };
        let (Some(flags), Some(width), Some(height)) = (header.first(), u24(header, 4), u24(header, 7)) else {
            return Ok(None);
        };
        if flags & 2 == 0 {
            return Ok(None);
        }
        let (width, height) = (width + 1, height + 1);
        // the canvas, the one before it, and the frame being decoded, RGBA
        limits.check_header(name, width, height, 12 * u64::from(width) * u64::from(height))?;
        Ok(Some(Self { chunks, name, limits, canvas: RgbaImage::new(width, height), previous: None }))
    }

    fn fail(&self, reason: impl Into<String>) -> DataError {
        DataError::Decode { name: self.name.to_owned(), format: "WebP", reason: reason.into() }
    }

    fn frame(&mut self, chunk: &[u8]) -> Result<RgbaImage> {
        let header = chunk.get(..FRAME_HEADER).ok_or_else(|| self.fail("a frame has no header"))?;
        let [left, top, width, height] = [0, 3, 6, 9].map(|at| u24(header, at).unwrap_or(0));
        let place = Place { left: 2 * left, top: 2 * top, width: width + 1, height: height + 1 };
        let size = self.canvas.dimensions();
        if place.left + place.width > size.0 || place.top + place.height > size.1 {
            return Err(self.fail(format!(
                "a frame of {}x{} pixels at {},{} sticks out of the canvas of {}x{}",
                place.width, place.height, place.left, place.top, size.0, size.1
            )));
        }
        let flags = header[15];
        let (picture, has_alpha) = self.decode(&chunk[FRAME_HEADER..], place)?;
        let blends = flags & NO_BLEND == 0;
        let key = match &self.previous {
            None => true,
            Some(_) if place.covers(size) && (!has_alpha || !blends) => true,
            Some(previous) => previous.disposed && (previous.place.covers(size) || previous.key),
        };
        let cleared = self.previous.as_ref().filter(|previous| previous.disposed).map(|previous| previous.place);
        if key {
            self.canvas.fill(0);
        } else if let Some(cleared) = cleared {
            lay(&mut self.canvas, cleared, |_, _, _| Rgba([0; 4]));
        }
        lay(&mut self.canvas, place, |x, y, under| {
            let pixel = *picture.get_pixel(x, y);
            // where the frame before was cleared there is nothing to lie on
            let blank = key || !blends || cleared.is_some_and(|cleared| cleared.has(place.left + x, place.top + y));
            if blank { pixel } else { over(pixel, under) }
        });
        self.previous = Some(Previous { place, disposed: flags & DISPOSE != 0, key });
        Ok(self.canvas.clone())
    }

    /// A frame's chunks as a file of their own.
    fn decode(&self, chunks: &[u8], place: Place) -> Result<(RgbaImage, bool)> {
        let mut file = b"RIFF\0\0\0\0WEBP".to_vec();
        let has_alpha = chunks.starts_with(b"ALPH");
        if has_alpha {
            let sides = [place.width - 1, place.height - 1].map(u32::to_le_bytes);
            file.extend(b"VP8X\x0a\0\0\0\x10\0\0\0");
            file.extend(sides.iter().flat_map(|side| &side[..3]));
        }
        file.extend(chunks);
        let length = (file.len() - 8) as u32;
        file[4..8].copy_from_slice(&length.to_le_bytes());
        let broken = |e: image::ImageError| self.fail(one_line(&e.to_string()));
        let mut decoder = WebPDecoder::new(Cursor::new(file)).map_err(broken)?;
        if decoder.dimensions() != (place.width, place.height) {
            let (width, height) = decoder.dimensions();
            return Err(self.fail(format!(
                "a frame's picture is {width}x{height} pixels, expected {}x{}",
                place.width, place.height
            )));
        }
        let mut caps = Limits::no_limits();
        caps.max_alloc = Some(self.limits.max_decoded_bytes);
        decoder.set_limits(caps).map_err(broken)?;
        let has_alpha = has_alpha || decoder.color_type().has_alpha();
        Ok((DynamicImage::from_decoder(decoder).map_err(broken)?.into_rgba8(), has_alpha))
    }
}

impl Iterator for Animation<'_> {
    type Item = Result<RgbaImage>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.chunks.next()? {
                Ok((b"ANMF", chunk)) => return Some(guarded(self.name, "WebP", || self.frame(chunk))),
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// A pixel over another, neither premultiplied, in libwebp's integers. An opaque one stays as it is.
fn over(Rgba(source): Rgba<u8>, Rgba(under): Rgba<u8>) -> Rgba<u8> {
    let alpha = u32::from(source[3]);
    match alpha {
        255 => return Rgba(source),
        0 => return Rgba(under),
        _ => {}
    }
    let rest = (u32::from(under[3]) * (256 - alpha)) >> 8;
    let sum = alpha + rest;
    let scale = (1 << 24) / sum;
    let mixed = |c: usize| (((u32::from(source[c]) * alpha + u32::from(under[c]) * rest) * scale) >> 24) as u8;
    Rgba([mixed(0), mixed(1), mixed(2), sum as u8])
}

fn u24(bytes: &[u8], at: usize) -> Option<u32> {
    let three = bytes.get(at..at + 3)?;
    Some(u32::from_le_bytes([three[0], three[1], three[2], 0]))
}

/// The chunks of a RIFF file: name and data, which is padded to even lengths.
struct Chunks<'b> {
    bytes: &'b [u8],
    at: usize,
    name: &'b str,
}

impl<'b> Iterator for Chunks<'b> {
    type Item = Result<(&'b [u8; 4], &'b [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, rest) = self.bytes.get(self.at..)?.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let Some(data) = rest.get(..length) else {
            self.at = self.bytes.len();
            let reason = format!("it ends in the middle of the chunk {}", kind.escape_ascii());
            return Some(Err(DataError::Truncated { name: self.name.to_owned(), format: "WebP", reason }));
        };
        self.at += 8 + length + length % 2;
        Some(Ok((kind, data)))
    }
}
