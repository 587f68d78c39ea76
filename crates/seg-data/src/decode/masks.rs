//! Mask files, with what of the file decides about their meaning beside the pixels.

use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageFormat};

use super::loader::Room;
use super::{DecodeLimits, Decoded, decode_as, gif, guarded, jpeg, labels, read, rgb_and_alpha, sniff, tiff};
use crate::error::Result;
use crate::inside::MaskReader;

/// A mask file before it is decided what it means.
pub(crate) struct RawMask {
    pub name: String,
    pub format: ImageFormat,
    /// Not yet turned.
    pub pixels: DynamicImage,
    pub orientation: Orientation,
    /// Of a file with a palette, read by its meaning: 0 where the first colour of the palette is. Not yet turned.
    pub indices: Option<GrayImage>,
    /// Whether the file has a palette (PNG, TIFF).
    pub indexed: bool,
    /// Of a TIFF.
    pub tiff: Option<tiff::Facts>,
    /// Of a PNG, read as OpenCV does: `gAMA`, or that of sRGB, times 100,000.
    pub gamma: Option<u32>,
    /// Whether OpenCV puts other colours than the palette's where a GIF is transparent.
    pub backdrop: bool,
    pub notes: Vec<String>,
}

/// Reads a mask file.
pub(crate) fn open_mask(path: &Path, reader: MaskReader, limits: &DecodeLimits) -> Result<RawMask> {
    let (name, bytes) = read(path, limits)?;
    raw_mask(&bytes, &name, reader, limits)
}

/// [`open_mask`] from memory.
pub(crate) fn raw_mask(bytes: &[u8], name: &str, reader: MaskReader, limits: &DecodeLimits) -> Result<RawMask> {
    limits.check_file(name, bytes.len() as u64)?;
    let (mut indices, mut facts, mut gamma, mut backdrop) = (None, None, None, false);
    let (format, decoded) = match sniff::format(bytes, name)? {
        format @ ImageFormat::Tiff => {
            let (decoded, found, painted) = guarded(name, "TIFF", || tiff::mask(bytes, name, reader, limits))?;
            (facts, indices) = (Some(found), painted);
            (format, decoded)
        }
        format @ ImageFormat::Jpeg if reader == MaskReader::OpenCv => {
            (format, guarded(name, "JPEG", || jpeg::opencv_grey(bytes, name, limits))?)
        }
        format @ ImageFormat::Gif if reader == MaskReader::OpenCv => {
            let read = guarded(name, "GIF", || gif::opencv(bytes, name, limits))?;
            let meant = decode_as(format, bytes, name, limits, &mut Room::default())?;
            backdrop = rgb_and_alpha(&read.pixels).0 != rgb_and_alpha(&meant.pixels).0;
            (format, read)
        }
        format => (format, decode_as(format, bytes, name, limits, &mut Room::default())?),
    };
    let Decoded { pixels, turn, notes, .. } = decoded;
    let orientation = match reader {
        MaskReader::OpenCv if !turn.by_exif => Orientation::NoTransforms,
        _ => turn.orientation,
    };
    if format == ImageFormat::Png {
        match reader {
            MaskReader::Meaning if labels::is_indexed(bytes) => indices = first_colour(bytes, name, &pixels, limits)?,
            MaskReader::OpenCv if pixels.color().has_color() => gamma = labels::gamma(bytes, limits),
            _ => {}
        }
    }
    let indexed = indices.is_some() || format == ImageFormat::Png && labels::is_indexed(bytes);
    Ok(RawMask {
        name: name.to_owned(),
        format,
        pixels,
        orientation,
        indices,
        indexed,
        tiff: facts,
        gamma,
        backdrop,
        notes,
    })
}

/// Where the pixels of a PNG have the palette's first colour (0) and where not (1). The indices themselves are decoded only where
/// the palette has that colour twice.
fn first_colour(bytes: &[u8], name: &str, pixels: &DynamicImage, limits: &DecodeLimits) -> Result<Option<GrayImage>> {
    let DynamicImage::ImageRgb8(rgb) = pixels else {
        return Ok(None); // transparent colours
    };
    let Some(palette) = labels::colours(bytes, limits) else {
        return Ok(None);
    };
    let (colours, _) = palette.as_chunks::<3>();
    match colours.split_first() {
        Some((first, others)) if !others.contains(first) => {
            let indices = rgb.pixels().map(|p| u8::from(p.0 != *first)).collect();
            Ok(GrayImage::from_raw(rgb.width(), rgb.height(), indices))
        }
        Some(_) => guarded(name, "PNG", || labels::decode(bytes, name, limits)).map(|found| Some(found.labels)),
        None => Ok(None),
    }
}

/// The indices of a PNG or TIFF with a palette, turned as a viewer shows them; `None` for any other file.
pub(crate) fn load_palette_labels(path: &Path, limits: &DecodeLimits) -> Result<Option<GrayImage>> {
    let (name, bytes) = read(path, limits)?;
    let (indices, orientation) = match sniff::format(&bytes, &name) {
        Ok(ImageFormat::Tiff) => {
            let (decoded, _, indices) =
                guarded(&name, "TIFF", || tiff::mask(&bytes, &name, MaskReader::Meaning, limits))?;
            (indices, decoded.turn.orientation)
        }
        Ok(ImageFormat::Png) if labels::is_indexed(&bytes) => {
            let decoded = decode_as(ImageFormat::Png, &bytes, &name, limits, &mut Room::default())?;
            let indices = guarded(&name, "PNG", || labels::decode(&bytes, &name, limits))?.labels;
            (Some(indices), decoded.turn.orientation)
        }
        _ => (None, Orientation::NoTransforms),
    };
    Ok(indices.map(|indices| turned(indices, orientation)))
}

/// Levels as a viewer shows them.
pub(crate) fn turned(levels: GrayImage, orientation: Orientation) -> GrayImage {
    let mut pixels = DynamicImage::ImageLuma8(levels);
    pixels.apply_orientation(orientation);
    pixels.into_luma8()
}
