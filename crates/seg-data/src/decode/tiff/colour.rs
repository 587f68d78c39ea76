//! What the samples of a pixel mean.

use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, RgbImage, RgbaImage};

use super::Raw;
use super::codec::Compression;
use super::fault::Fault;
use super::header::{Alpha, Header, Photometric};
use super::scale::{self, Levels};
use super::ycbcr;

/// The picture of `raw`, all samples side by side: grey or RGB of 8 or 16 bits, with alpha if there is any.
pub(super) fn picture(header: &Header, raw: Raw, notes: &mut Vec<String>) -> Result<DynamicImage, Fault> {
    let mut colours = header.photometric.colours();
    if header.unknown > 0 {
        let s = if header.unknown == 1 { "" } else { "s" };
        notes.push(format!("the TIFF has {} further channel{s} of unknown meaning, not used", header.unknown));
    }
    let levels = match (header.photometric, raw) {
        (_, Raw::Words(values)) => scale::words(header, values, colours, notes),
        (Photometric::Palette, Raw::Bytes(raw)) => {
            colours = 3;
            Levels::Eight(paint(header, &raw, notes)?)
        }
        (Photometric::YCbCr, Raw::Bytes(mut raw)) => {
            // the JPEG decoder has done it where the planes lie together
            if header.compression != Compression::JPEG || header.planar {
                ycbcr::to_rgb(header, &mut raw, header.samples);
            }
            Levels::Eight(raw)
        }
        (_, Raw::Bytes(raw)) => scale::levels(header, raw, colours, notes)?,
    };
    let mut layout =
        Layout { samples: header.samples - header.photometric.colours() + colours, colours, alpha: header.alpha };
    if let Some(alpha) = &mut layout.alpha {
        alpha.at += colours - header.photometric.colours();
    }
    let levels = match (header.photometric, levels) {
        (Photometric::Cmyk, levels) => {
            let levels = cmyk(levels, &mut layout, header.libtiff_inks);
            Levels::Eight(levels)
        }
        (Photometric::WhiteIsZero, Levels::Eight(values)) => Levels::Eight(layout.turned_round(values, |v| 255 - v)),
        (Photometric::WhiteIsZero, Levels::Sixteen(values)) => {
            Levels::Sixteen(layout.turned_round(values, |v| 65535 - v))
        }
        (_, levels) => levels,
    };
    let size = (header.width, header.height);
    let made = match levels {
        Levels::Eight(values) => layout.eight(values, size),
        Levels::Sixteen(values) => layout.sixteen(values, size),
    };
    made.ok_or_else(|| Fault::Damaged(format!("its samples do not make {}x{} pixels", size.0, size.1)))
}

/// The colours of a palette, in place of the indices; what lies behind them stays.
fn paint(header: &Header, raw: &[u8], notes: &mut Vec<String>) -> Result<Vec<u8>, Fault> {
    let map = &header.color_map;
    let count = map.len() / 3;
    // colours of 8 bits, by writers that take them for the 16 bits of the format
    let small = map.iter().all(|v| *v < 256) && map.iter().any(|v| *v > 1);
    if small {
        notes.push("the palette's colours go up to 255 of 65535 only and are taken as levels of 8 bits".to_owned());
    }
    let level = |v: u16| if small { v as u8 } else { (v >> 8) as u8 };
    let size = header.sample_bytes();
    let index = |v: &[u8]| match size {
        1 => usize::from(v[0]),
        _ => usize::from(u16::from_ne_bytes([v[0], v[1]])),
    };
    let mut out = Vec::with_capacity(raw.len() / size / header.samples * (header.samples + 2));
    for pixel in raw.chunks_exact(size * header.samples) {
        let at = index(pixel);
        if at >= count {
            return Err(Fault::Damaged(format!("a pixel has the colour {at}, expected less than {count}")));
        }
        out.extend([0, 1, 2].map(|plane| level(map[plane * count + at])));
        out.extend(pixel.chunks_exact(size).skip(1).map(|v| (index(v) >> (8 * (size - 1))) as u8));
    }
    Ok(out)
}

/// Inks to light, in 8 bits.
fn cmyk(levels: Levels, layout: &mut Layout, libtiff: bool) -> Vec<u8> {
    let values = match levels {
        Levels::Eight(values) => values,
        Levels::Sixteen(values) => values.into_iter().map(|v| ((u32::from(v) * 255 + 32767) / 65535) as u8).collect(),
    };
    let mut out = Vec::with_capacity(values.len() / layout.samples * (layout.samples - 1));
    for pixel in values.chunks_exact(layout.samples) {
        let light = 255 - u32::from(pixel[3]);
        for ink in &pixel[..3] {
            let lost = u32::from(*ink) * light + 128;
            out.push(match libtiff {
                true => light * (255 - u32::from(*ink)) / 255,
                false => (light - (((lost >> 8) + lost) >> 8)).min(255),
            } as u8);
        }
        out.extend_from_slice(&pixel[4..]);
    }
    layout.samples -= 1;
    layout.colours = 3;
    if let Some(alpha) = &mut layout.alpha {
        alpha.at -= 1;
    }
    out
}

/// Where a pixel's samples are.
struct Layout {
    samples: usize,
    /// 1 or 3 at last.
    colours: usize,
    alpha: Option<Alpha>,
}

impl Layout {
    fn turned_round<T: Copy>(&self, mut values: Vec<T>, turn: impl Fn(T) -> T) -> Vec<T> {
        for pixel in values.chunks_exact_mut(self.samples) {
            pixel[..self.colours].iter_mut().for_each(|v| *v = turn(*v));
        }
        values
    }

    /// The colour and the alpha of each pixel alone, the colour no longer multiplied by it.
    fn kept<T: Copy>(&self, values: Vec<T>, divided: impl Fn(T, T) -> T) -> Vec<T> {
        let kept = self.colours + usize::from(self.alpha.is_some());
        if kept == self.samples && self.alpha.is_none_or(|a| !a.associated) {
            return values;
        }
        let mut out = Vec::with_capacity(values.len() / self.samples * kept);
        for pixel in values.chunks_exact(self.samples) {
            match self.alpha {
                Some(Alpha { at, associated: true }) => {
                    out.extend(pixel[..self.colours].iter().map(|v| divided(*v, pixel[at])));
                }
                _ => out.extend_from_slice(&pixel[..self.colours]),
            }
            out.extend(self.alpha.map(|alpha| pixel[alpha.at]));
        }
        out
    }

    fn eight(&self, values: Vec<u8>, (w, h): (u32, u32)) -> Option<DynamicImage> {
        // as Pillow divides: what is clear keeps its colour, the rest is cut off
        let values = self.kept(values, |v, alpha| match alpha {
            0 => v,
            alpha => (u32::from(v) * 255 / u32::from(alpha)).min(255) as u8,
        });
        match (self.colours, self.alpha) {
            (1, None) => GrayImage::from_raw(w, h, values).map(DynamicImage::ImageLuma8),
            (1, Some(_)) => GrayAlphaImage::from_raw(w, h, values).map(DynamicImage::ImageLumaA8),
            (_, None) => RgbImage::from_raw(w, h, values).map(DynamicImage::ImageRgb8),
            (_, Some(_)) => RgbaImage::from_raw(w, h, values).map(DynamicImage::ImageRgba8),
        }
    }

    fn sixteen(&self, values: Vec<u16>, (w, h): (u32, u32)) -> Option<DynamicImage> {
        let values = self.kept(values, |v, alpha| match alpha {
            0 => v,
            alpha => ((u32::from(v) * 65535 + u32::from(alpha) / 2) / u32::from(alpha)).min(65535) as u16,
        });
        match (self.colours, self.alpha) {
            (1, None) => ImageBuffer::from_raw(w, h, values).map(DynamicImage::ImageLuma16),
            (1, Some(_)) => ImageBuffer::from_raw(w, h, values).map(DynamicImage::ImageLumaA16),
            (_, None) => ImageBuffer::from_raw(w, h, values).map(DynamicImage::ImageRgb16),
            (_, Some(_)) => ImageBuffer::from_raw(w, h, values).map(DynamicImage::ImageRgba16),
        }
    }
}
