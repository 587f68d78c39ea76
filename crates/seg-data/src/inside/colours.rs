//! Palettes, colours and alpha.

use std::collections::HashSet;

use image::{DynamicImage, GrayImage, RgbImage};

use super::{MaskRole, Meaning, plane};
use crate::decode::rgb_and_alpha;
use crate::error::{DataError, Result};

/// Channels of one grey differ by no more than this, after lossy compression.
const GREY: u8 = 16;
/// A mask drawn in flat colours has no more of them.
const FLAT: usize = 64;
/// A flat colour is at least as bright, so that it is not black that was smoothed or compressed.
const BRIGHT: u8 = 40;
/// Black, after lossy compression.
const BLACK: u8 = 16;

fn brightest(p: [u8; 3]) -> u8 {
    p[0].max(p[1]).max(p[2])
}

fn is_grey(p: [u8; 3], within: u8) -> bool {
    brightest(p) - p[0].min(p[1]).min(p[2]) <= within
}

/// The levels of a palette of colours; none where it is one of greys, or has transparent entries.
pub(super) fn palette(pixels: &DynamicImage, indices: &GrayImage) -> Option<(Meaning, GrayImage)> {
    let (rgb, alpha) = rgb_and_alpha(pixels);
    if alpha.is_some() || rgb.dimensions() != indices.dimensions() || rgb.pixels().all(|p| is_grey(p.0, 0)) {
        return None;
    }
    let first = rgb.pixels().zip(indices.as_raw()).find(|(_, i)| **i == 0).map(|(p, _)| p.0);
    let has_black = || rgb.pixels().any(|p| p.0 == [0; 3]);
    let by_colour = first != Some([0; 3]) && has_black();
    let (width, height) = rgb.dimensions();
    let inside = |yes: bool| if yes { 255 } else { 0 };
    let levels = match by_colour {
        true => rgb.pixels().map(|p| inside(p.0 != [0; 3])).collect(),
        false => indices.as_raw().iter().map(|&i| inside(i > 0)).collect(),
    };
    let meaning = if by_colour { Meaning::Colours } else { Meaning::Palette };
    GrayImage::from_raw(width, height, levels).map(|levels| (meaning, levels))
}

/// The levels of a picture with transparent parts; none where nothing is transparent, or everything is so alike.
pub(super) fn alpha(pixels: &DynamicImage) -> Option<(Meaning, GrayImage)> {
    if !pixels.color().has_alpha() {
        return None;
    }
    let (rgb, alpha) = rgb_and_alpha(pixels);
    let alpha = alpha?;
    if alpha.as_raw().iter().all(|a| *a == alpha.as_raw()[0]) && alpha.as_raw()[0] > 0 {
        return None;
    }
    // is what is opaque a mask itself, black and white?
    let (mut black, mut white, mut other) = (0usize, 0usize, 0usize);
    for (p, _) in rgb.pixels().zip(alpha.as_raw()).filter(|(_, a)| **a >= 128) {
        match (is_grey(p.0, GREY), brightest(p.0)) {
            (true, 0..=BLACK) => black += 1,
            (true, 239..=255) => white += 1,
            _ => other += 1,
        }
    }
    if black == 0 || white == 0 || other > (black + white) / 50 {
        return Some((Meaning::Alpha, alpha));
    }
    let (width, height) = alpha.dimensions();
    let times = |g: u8, a: u8| ((u32::from(g) * u32::from(a) + 127) / 255) as u8;
    let levels = rgb.pixels().zip(alpha.as_raw()).map(|(p, a)| times(brightest(p.0), *a)).collect();
    GrayImage::from_raw(width, height, levels).map(|levels| (Meaning::AlphaAndGrey, levels))
}

/// The levels of a picture whose alpha says nothing.
pub(super) fn picture(name: &str, pixels: DynamicImage, role: MaskRole) -> Result<(Meaning, GrayImage)> {
    let (rgb, _) = rgb_and_alpha(&pixels);
    if rgb.pixels().all(|p| is_grey(p.0, GREY)) {
        let gray = crate::resize::to_luma_pil(&rgb);
        let (meaning, lifted) = plane::eight(gray.as_raw(), role);
        return Ok((meaning, of(&rgb, lifted.unwrap_or_else(|| gray.into_raw()))));
    }
    if is_flat(&rgb) {
        let levels = rgb.pixels().map(|p| if p.0 == [0; 3] { 0 } else { 255 }).collect();
        return Ok((Meaning::Colours, of(&rgb, levels)));
    }
    if !rgb.pixels().any(|p| brightest(p.0) <= BLACK) {
        return Err(DataError::MaskMeaning {
            name: name.to_owned(),
            found: "colours and no black pixel, as a photo has",
            expected: "a mask: grey, in colours on black, with a palette, or with an alpha channel",
        });
    }
    let levels = rgb.pixels().map(|p| brightest(p.0)).collect();
    Ok((Meaning::Brightest, of(&rgb, levels)))
}

/// Whether a picture has few colours, black among them and the others bright.
fn is_flat(rgb: &RgbImage) -> bool {
    let mut found = HashSet::new();
    let mut last = None;
    for p in rgb.pixels() {
        if last != Some(p.0) {
            last = Some(p.0);
            if p.0 != [0; 3] && brightest(p.0) < BRIGHT || (found.insert(p.0) && found.len() > FLAT) {
                return false;
            }
        }
    }
    found.contains(&[0; 3])
}

fn of(rgb: &RgbImage, levels: Vec<u8>) -> GrayImage {
    GrayImage::from_raw(rgb.width(), rgb.height(), levels).unwrap_or_default()
}
