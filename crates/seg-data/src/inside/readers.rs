//! The readers of evaluation toolkits, as they are: measured with OpenCV 4.14 and Pillow 13.0.

use std::borrow::Cow;

use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};

use super::{MaskImage, MaskReader, MaskRole, Meaning, libpng, plane};
use crate::decode::{RawMask, TiffFacts, high_bytes, rgb_and_alpha, turned};
use crate::error::{DataError, Result};

pub(super) fn read(raw: RawMask, role: MaskRole, reader: MaskReader) -> Result<MaskImage> {
    if raw.tiff.is_some_and(|facts| facts.scaled) {
        return Err(DataError::MaskMeaning {
            name: raw.name,
            found: "a TIFF whose numbers are not levels of 8 or 16 bits",
            expected: match reader {
                MaskReader::OpenCv => "levels of 8 or 16 bits: OpenCV reads no other numbers as grey",
                _ => "levels of 8 or 16 bits: Pillow cuts the fractions of other numbers off",
            },
        });
    }
    let lost = lost(&raw, reader);
    let RawMask { format, pixels, orientation, tiff, gamma, notes, .. } = raw;
    let levels = match reader {
        MaskReader::OpenCv => turned(opencv(pixels, format, tiff, gamma), orientation),
        _ if format == ImageFormat::Tiff => turned(pillow(pixels, tiff), orientation),
        _ => pillow(pixels, tiff),
    };
    let void = || (role == MaskRole::Truth).then(|| plane::labels_and_void(levels.as_raw())).flatten();
    let meaning = lost.or_else(void).unwrap_or(Meaning::Levels);
    Ok(MaskImage { levels, meaning, notes })
}

/// What the toolkit's reader makes of the file that its owner will not have meant.
fn lost(raw: &RawMask, reader: MaskReader) -> Option<Meaning> {
    if raw.backdrop {
        return Some(Meaning::Backdrop);
    }
    let (values, step): (&[u16], usize) = match &raw.pixels {
        DynamicImage::ImageLuma16(grey) => (grey.as_raw(), 1),
        DynamicImage::ImageLumaA16(grey) => (grey.as_raw(), 2),
        DynamicImage::ImageRgb8(rgb) if raw.indexed => {
            let coloured = rgb.pixels().any(|p| p.0[0] != p.0[1] || p.0[1] != p.0[2]);
            return coloured.then_some(Meaning::PaletteAsGrey);
        }
        _ => return None,
    };
    let levels = || values.iter().step_by(step).copied().filter(|v| *v > 0);
    let first = levels().next()?;
    match reader {
        // of two levels the higher stays the higher
        MaskReader::Pillow if step == 1 && levels().any(|v| v != first) && levels().any(|v| v > 255) => {
            Some(Meaning::CutOff)
        }
        MaskReader::OpenCv if levels().all(|v| v < 256) => Some(Meaning::LowBytes(levels().max()?)),
        _ => None,
    }
}

/// The first sample of each pixel of grey with or without alpha, in 8 bits; none of colours.
fn grey(pixels: DynamicImage, narrow: impl Fn(u16) -> u8) -> std::result::Result<GrayImage, DynamicImage> {
    let (width, height) = (pixels.width(), pixels.height());
    let image = |levels: Vec<u8>| Ok(GrayImage::from_raw(width, height, levels).unwrap_or_default());
    match pixels {
        DynamicImage::ImageLuma8(grey) => Ok(grey),
        DynamicImage::ImageLumaA8(grey) => image(grey.pixels().map(|p| p.0[0]).collect()),
        DynamicImage::ImageLuma16(grey) => image(grey.as_raw().iter().map(|&v| narrow(v)).collect()),
        // 16 bits beside alpha are read as their high bytes by both
        DynamicImage::ImageLumaA16(grey) => image(grey.pixels().map(|p| high(p.0[0])).collect()),
        colours => Err(colours),
    }
}

fn high(v: u16) -> u8 {
    (v >> 8) as u8
}

fn opencv(pixels: DynamicImage, format: ImageFormat, tiff: Option<TiffFacts>, gamma: Option<u32>) -> GrayImage {
    let premultiplied = tiff.and_then(|facts| facts.premultiplied);
    let colours = match grey(pixels, high) {
        Ok(levels) => return levels,
        Err(colours) => colours,
    };
    match format {
        ImageFormat::Png => match &colours {
            DynamicImage::ImageRgb16(rgb) => {
                let grey = libpng::Grey::new(gamma, true);
                map(rgb, |p| grey.sixteen(p.0))
            }
            DynamicImage::ImageRgba16(rgba) => {
                let grey = libpng::Grey::new(gamma, true);
                map(rgba, |p| grey.sixteen([p.0[0], p.0[1], p.0[2]]))
            }
            _ => {
                let grey = libpng::Grey::new(gamma, false);
                map(&*rgb_and_alpha(&colours).0, |p| grey.eight(p.0))
            }
        },
        // libtiff multiplies colours by the alpha where the file has not done so
        ImageFormat::Tiff if premultiplied == Some(false) => {
            let (rgb, alpha) = rgb_and_alpha(&colours);
            let Some(alpha) = alpha else { return map(&*rgb, |p| opencv_grey(p.0)) };
            let times = |v: u8, a: u8| ((u32::from(v) * u32::from(a) + 127) / 255) as u8;
            let levels =
                rgb.pixels().zip(alpha.as_raw()).map(|(p, &a)| opencv_grey(p.0.map(|v| times(v, a)))).collect();
            GrayImage::from_raw(rgb.width(), rgb.height(), levels).unwrap_or_default()
        }
        _ => map(&*rgb_and_alpha(&colours).0, |p| opencv_grey(p.0)),
    }
}

fn pillow(pixels: DynamicImage, facts: Option<TiffFacts>) -> GrayImage {
    // Pillow does not turn 16-bit levels round of which 0 is white
    let as_stored = facts.is_some_and(|facts| facts.white_is_zero);
    let clip = |v: u16| (if as_stored { u16::MAX - v } else { v }).min(255) as u8;
    let colours = match grey(pixels, clip) {
        Ok(levels) => return levels,
        Err(colours) => high_bytes(colours),
    };
    let rgb = match &colours {
        DynamicImage::ImageRgba8(rgba) if facts.is_some_and(|facts| facts.premultiplied == Some(true)) => {
            Cow::Owned(RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
                let [r, g, b, alpha] = rgba.get_pixel(x, y).0;
                let divided = |v: u8| (u32::from(v) * 255).checked_div(alpha.into()).map_or(v, |v| v.min(255) as u8);
                [r, g, b].map(divided).into()
            }))
        }
        _ => rgb_and_alpha(&colours).0,
    };
    crate::resize::to_luma_pil(&rgb)
}

fn map<P: image::Pixel>(pixels: &image::ImageBuffer<P, Vec<P::Subpixel>>, level: impl Fn(&P) -> u8) -> GrayImage {
    let levels = pixels.pixels().map(level).collect();
    GrayImage::from_raw(pixels.width(), pixels.height(), levels).unwrap_or_default()
}

/// OpenCV's own: weights in 14 bits, rounded.
fn opencv_grey([r, g, b]: [u8; 3]) -> u8 {
    ((4899 * u32::from(r) + 9617 * u32::from(g) + 1868 * u32::from(b) + (1 << 13)) >> 14) as u8
}
