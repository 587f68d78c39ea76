//! What a mask file means: the one place that decides which pixels are inside, and how far.
//!
//! | in the file | levels that come out (255 is inside) |
//! | --- | --- |
//! | 8-bit grey, 1 bit | as stored |
//! | 0 and one other level alone (0 and 1, 0 and 100), 8 or 16 bits | the other level is inside |
//! | 16 bits, nothing above 255 | as of an 8-bit file |
//! | 16 bits, nothing above 1023, 4095 or 16383 | as of 10, 12 or 14 bits |
//! | 16 bits | `(v·255 + 32767) / 65535` |
//! | few small whole numbers (at most 31; in 16 bits at most 64 different ones): truths and prompts | labels: all but 0 is inside |
//! | 3 to 16 levels, none of them 255, some above 31: truths and prompts | as stored, with a note: labels, perhaps |
//! | a palette of greys | these greys |
//! | a palette of colours | every index but 0; where black is another index, every colour but black |
//! | alpha that is not the same everywhere | the alpha; times the grey where the opaque pixels are a black and white mask themselves |
//! | the same alpha everywhere | the colours alone |
//! | flat colours on black | every colour but black |
//! | other colours on black | the largest of red, green and blue |
//! | colours without black | refused |
//! | TIFF of other numbers, white-is-zero | as [`decode`](crate::decode) makes levels of them |
//!
//! [`MaskReader`] has the readers of evaluation toolkits beside it: where one reproduces their numbers, a file must mean what it means there.

mod colours;
mod libpng;
mod plane;
mod readers;

use std::fmt;
use std::path::Path;

use image::{DynamicImage, GrayImage};

use crate::decode::{DecodeLimits, RawMask, open_mask, turned};
use crate::error::{DataError, Result};

/// How a file becomes grey levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MaskReader {
    /// By what the file means: the table of this module.
    #[default]
    Meaning,
    /// OpenCV's `imread` with `IMREAD_GRAYSCALE` (4.x, 5.0): the low byte of 16 bits cut off, colours to grey as the format's
    /// library does (of a JPEG its luma, of a PNG by its gamma), alpha dropped, but a TIFF's colours multiplied by it.
    OpenCv,
    /// Pillow's `convert("L")`: levels above 255 of 16-bit grey clipped at 255, colours to grey, alpha dropped, orientation applied to
    /// TIFF alone.
    Pillow,
}

/// What a file is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MaskRole {
    /// A model's answer: probabilities, or a mask. Never taken for labels.
    Prediction,
    /// A ground truth.
    Truth,
    /// A mask that a model starts from.
    Prompt,
}

/// What was taken for inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Meaning {
    /// Levels as stored, 255 the highest.
    Levels,
    /// 0 and this level alone.
    TwoLevels(u16),
    /// 16-bit levels that fit into so many bits.
    Bits(u8),
    /// Whole numbers up to this one, labels.
    Labels(u16),
    /// 8-bit levels, nearly all of them at most this one beside some of 255: labels with void, perhaps.
    LabelsAndVoid(u16),
    /// 8-bit levels up to this one alone, which a toolkit's reader takes as they are.
    SmallLevels(u16),
    /// So many 8-bit levels up to this one, none of them white: labels, perhaps.
    FewLevels(u16, u16),
    /// Indices of a palette, labels.
    Palette,
    /// The colours of a palette, or of the picture: all but black is inside.
    Colours,
    /// The largest of red, green and blue.
    Brightest,
    /// The alpha channel.
    Alpha,
    /// Alpha times grey.
    AlphaAndGrey,
    /// 16-bit levels, which Pillow cuts off at 255.
    CutOff,
    /// 16-bit levels up to this one, of which OpenCV keeps the high byte, which is 0.
    LowBytes(u16),
    /// The colours of a palette, of which toolkits take the grey.
    PaletteAsGrey,
    /// A GIF with transparent pixels, for which OpenCV takes the file's background colour.
    Backdrop,
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Levels => f.write_str("levels from 0 to 255"),
            Self::TwoLevels(level) => write!(f, "levels 0 and {level} alone: {level} is taken as inside"),
            Self::Bits(bits) => write!(f, "16-bit levels that fit into {bits} bits: taken as levels of {bits} bits"),
            Self::Labels(most) => write!(f, "whole numbers up to {most}: taken as labels, all but 0 inside"),
            Self::LabelsAndVoid(most) => {
                write!(f, "levels up to {most}, and 255: taken as they are, so that only 255 is inside")
            }
            Self::SmallLevels(most) => {
                write!(f, "levels up to {most} alone, which this protocol's reader takes as they are")
            }
            Self::FewLevels(count, most) => {
                write!(f, "{count} levels up to {most}: taken as grey, not as labels")
            }
            Self::Palette => f.write_str("a palette of colours: every index but 0 is taken as inside"),
            Self::Colours => f.write_str("colours: all but black is taken as inside"),
            Self::Brightest => f.write_str("colours: the largest of red, green and blue is taken as the level"),
            Self::Alpha => f.write_str("transparent parts: the alpha channel is taken as the mask"),
            Self::Backdrop => f.write_str(
                "transparent pixels, for which this protocol's reader (OpenCV) takes the file's background colour",
            ),
            Self::CutOff => f.write_str("16-bit levels, which this protocol's reader (Pillow) cuts off at 255"),
            Self::LowBytes(most) => write!(
                f,
                "16-bit levels up to {most}, of which this protocol's reader (OpenCV) keeps the high byte: nothing"
            ),
            Self::PaletteAsGrey => {
                f.write_str("a palette of colours, of which this protocol's reader takes the grey, not the labels")
            }
            Self::AlphaAndGrey => {
                f.write_str("a black and white mask with transparent parts: these are taken as outside")
            }
        }
    }
}

/// A mask file as grey levels.
#[derive(Clone, Debug)]
pub struct MaskImage {
    /// 255 inside, 0 outside, between them how far; turned as a viewer shows it.
    pub levels: GrayImage,
    /// How the file was understood; worth telling unless it is [`Meaning::Levels`].
    pub meaning: Meaning,
    /// What the decoder noticed.
    pub notes: Vec<String>,
}

/// Reads a mask of any kind as grey levels.
///
/// # Errors
/// As [`load_image`](crate::load_image), and a file that could mean several things ([`DataError::MaskMeaning`]).
pub fn load_levels(
    path: impl AsRef<Path>,
    role: MaskRole,
    reader: MaskReader,
    limits: &DecodeLimits,
) -> Result<MaskImage> {
    let raw = open_mask(path.as_ref(), reader, limits)?;
    levels(raw, role, reader)
}

/// [`load_levels`] from memory; `name` is what error messages call it.
///
/// # Errors
/// As [`load_levels`].
pub fn decode_levels(
    bytes: &[u8],
    name: &str,
    role: MaskRole,
    reader: MaskReader,
    limits: &DecodeLimits,
) -> Result<MaskImage> {
    levels(crate::decode::raw_mask(bytes, name, reader, limits)?, role, reader)
}

/// Reads a mask prompt of any kind: 255 inside (levels of **128 or more**), 0 outside, at the file's size.
///
/// # Errors
/// As [`load_levels`], and a mask with nothing inside ([`DataError::NothingInside`]). A mask with everything inside has a note.
pub fn load_mask(path: impl AsRef<Path>, limits: &DecodeLimits) -> Result<MaskImage> {
    let path = path.as_ref();
    binary_image(load_levels(path, MaskRole::Prompt, MaskReader::Meaning, limits)?, &path.display().to_string())
}

/// [`load_mask`] from memory; `name` is what error messages call it.
///
/// # Errors
/// As [`load_mask`].
pub fn decode_mask(bytes: &[u8], name: &str, limits: &DecodeLimits) -> Result<MaskImage> {
    binary_image(decode_levels(bytes, name, MaskRole::Prompt, MaskReader::Meaning, limits)?, name)
}

/// A mask image of a caller, row by row: 1 inside (128 and more, or the higher of two levels of which the lower is 0), 0 outside.
///
/// # Errors
/// [`DataError::NothingInside`].
pub fn binary(mask: &GrayImage) -> Result<Vec<u8>> {
    let (_, lifted) = plane::eight(mask.as_raw(), MaskRole::Prompt);
    let inside = match lifted {
        Some(levels) => levels.iter().map(|&v| u8::from(v >= 128)).collect(),
        None => crate::mask::to_binary(mask),
    };
    if inside.contains(&1) {
        return Ok(inside);
    }
    let largest = mask.as_raw().iter().copied().max().unwrap_or(0);
    Err(DataError::NothingInside { name: "the mask".into(), largest })
}

fn binary_image(mut read: MaskImage, name: &str) -> Result<MaskImage> {
    let largest = read.levels.as_raw().iter().copied().max().unwrap_or(0);
    if largest < 128 {
        return Err(DataError::NothingInside { name: name.to_owned(), largest });
    }
    if read.meaning != Meaning::Levels {
        read.notes.push(read.meaning.to_string());
    }
    for v in read.levels.iter_mut() {
        *v = if *v >= 128 { 255 } else { 0 };
    }
    if !read.levels.as_raw().contains(&0) {
        read.notes.push("the mask has every pixel inside: it selects the whole image".to_owned());
    }
    Ok(read)
}

fn levels(raw: RawMask, role: MaskRole, reader: MaskReader) -> Result<MaskImage> {
    if reader != MaskReader::Meaning {
        return readers::read(raw, role, reader);
    }
    let RawMask { name, mut pixels, orientation, indices, notes, .. } = raw;
    pixels.apply_orientation(orientation);
    let (meaning, levels) = match indices {
        Some(indices) => match colours::palette(&pixels, &turned(indices, orientation)) {
            Some(found) => found,
            None => meaning(&name, pixels, role)?,
        },
        None => meaning(&name, pixels, role)?,
    };
    Ok(MaskImage { levels, meaning, notes })
}

/// The levels of a picture without a palette of colours.
fn meaning(name: &str, pixels: DynamicImage, role: MaskRole) -> Result<(Meaning, GrayImage)> {
    if let Some(found) = colours::alpha(&pixels) {
        return Ok(found);
    }
    let (width, height) = (pixels.width(), pixels.height());
    let image = |levels: Vec<u8>| GrayImage::from_raw(width, height, levels).unwrap_or_default();
    match pixels {
        DynamicImage::ImageLuma8(gray) => {
            let (meaning, lifted) = plane::eight(gray.as_raw(), role);
            Ok((meaning, lifted.map_or(gray, image)))
        }
        DynamicImage::ImageLuma16(gray) => {
            let (meaning, levels) = plane::sixteen(gray.as_raw(), role);
            Ok((meaning, image(levels)))
        }
        DynamicImage::ImageLumaA16(gray) => {
            let (meaning, levels) = plane::sixteen(&gray.pixels().map(|p| p.0[0]).collect::<Vec<_>>(), role);
            Ok((meaning, image(levels)))
        }
        DynamicImage::ImageLumaA8(gray) => {
            let gray = gray.pixels().map(|p| p.0[0]).collect::<Vec<_>>();
            let (meaning, lifted) = plane::eight(&gray, role);
            Ok((meaning, image(lifted.unwrap_or(gray))))
        }
        other => colours::picture(name, other, role),
    }
}
