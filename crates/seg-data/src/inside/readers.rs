//! The readers of evaluation toolkits, as they are: measured with OpenCV 4.14 and Pillow 13.0.

use image::{DynamicImage, GrayImage, ImageFormat};

use super::{MaskImage, MaskReader, Meaning};
use crate::decode::{RawMask, rgb_and_alpha};
use crate::error::{DataError, Result};

pub(super) fn read(raw: RawMask, reader: MaskReader) -> Result<MaskImage> {
    let RawMask { name, format, mut pixels, orientation, notes, scaled, .. } = raw;
    if scaled {
        return Err(DataError::MaskMeaning {
            name,
            found: "a TIFF whose numbers are not levels of 8 or 16 bits",
            expected: match reader {
                MaskReader::OpenCv => "levels of 8 or 16 bits: OpenCV reads no other numbers as grey",
                _ => "levels of 8 or 16 bits: Pillow cuts the fractions of other numbers off",
            },
        });
    }
    if reader == MaskReader::OpenCv {
        pixels.apply_orientation(orientation);
    }
    let (width, height) = (pixels.width(), pixels.height());
    let image = |levels: Vec<u8>| GrayImage::from_raw(width, height, levels).unwrap_or_default();
    let narrow: fn(u16) -> u8 = match reader {
        MaskReader::Pillow => |v| v.min(255) as u8,
        _ => |v| (v >> 8) as u8,
    };
    let levels = match &pixels {
        DynamicImage::ImageLuma16(gray) => image(gray.as_raw().iter().map(|&v| narrow(v)).collect()),
        // Pillow reads 16 bits beside alpha, and colours of 16 bits, as their high bytes
        DynamicImage::ImageLumaA16(gray) => image(gray.pixels().map(|p| (p.0[0] >> 8) as u8).collect()),
        DynamicImage::ImageLumaA8(gray) => image(gray.pixels().map(|p| p.0[0]).collect()),
        DynamicImage::ImageLuma8(_) => {
            return Ok(MaskImage { levels: pixels.into_luma8(), meaning: Meaning::Levels, notes });
        }
        _ => {
            let (rgb, _) = rgb_and_alpha(&crate::decode::high_bytes(pixels));
            match (reader, format) {
                (MaskReader::OpenCv, ImageFormat::Png) => image(rgb.pixels().map(|p| libpng_grey(p.0)).collect()),
                (MaskReader::OpenCv, _) => image(rgb.pixels().map(|p| opencv_grey(p.0)).collect()),
                _ => crate::resize::to_luma_pil(&rgb),
            }
        }
    };
    Ok(MaskImage { levels, meaning: Meaning::Levels, notes })
}

/// OpenCV has libpng make the grey of a PNG: weights 0.299 and 0.587 in 15 bits, cut off; greys stay.
fn libpng_grey([r, g, b]: [u8; 3]) -> u8 {
    if r == g && g == b {
        return r;
    }
    ((9798 * u32::from(r) + 19235 * u32::from(g) + 3735 * u32::from(b)) >> 15) as u8
}

/// OpenCV's own: weights in 14 bits, rounded.
fn opencv_grey([r, g, b]: [u8; 3]) -> u8 {
    ((4899 * u32::from(r) + 9617 * u32::from(g) + 1868 * u32::from(b) + (1 << 13)) >> 14) as u8
}
