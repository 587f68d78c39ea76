//! Pillow's `ImageEnhance`: a blend of a picture with a version of it that lacks something.
//!
//! Source: Pillow, `ImageEnhance.py`, `src/libImaging/Blend.c`, `Filter.c`. Measured with 12.3.

use image::{GrayImage, Rgb, RgbImage};

use crate::resize::to_luma_pil;
use crate::training::Dice;

/// What is enhanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quality {
    Brightness,
    Contrast,
    Colour,
    Sharpness,
}

/// A factor in a range, in whole tenths or any.
pub(super) fn factor(dice: &mut Dice, [low, high]: [f64; 2], tenths: bool) -> f64 {
    if !tenths {
        return dice.between(low, high);
    }
    let [low, high] = [low, high].map(|v| (v * 10.).round() as u64);
    (low + dice.below(high.saturating_sub(low) + 1)) as f64 / 10.
}

/// `ImageEnhance.…(image).enhance(factor)`.
pub(super) fn enhance(image: &RgbImage, quality: Quality, factor: f64) -> RgbImage {
    let lacking = match quality {
        Quality::Brightness => RgbImage::new(image.width(), image.height()),
        Quality::Contrast => {
            let sum: u64 = to_luma_pil(image).as_raw().iter().map(|&v| u64::from(v)).sum();
            let mean = (sum as f64 / f64::from(image.width()) / f64::from(image.height()) + 0.5) as u8;
            RgbImage::from_pixel(image.width(), image.height(), Rgb([mean; 3]))
        }
        Quality::Colour => grey(image),
        Quality::Sharpness => smooth(image),
    };
    blend(lacking, image, factor as f32)
}

/// Without colours.
pub(super) fn grey(image: &RgbImage) -> RgbImage {
    let luma: GrayImage = to_luma_pil(image);
    RgbImage::from_fn(image.width(), image.height(), |x, y| Rgb([luma.get_pixel(x, y).0[0]; 3]))
}

/// `from` and what `part` of the way leads to `to`; beyond 1 it goes on, up to black and white.
fn blend(mut from: RgbImage, to: &RgbImage, part: f32) -> RgbImage {
    for (a, &b) in from.iter_mut().zip(to.iter()) {
        let start = f32::from(*a);
        *a = (start + part * (f32::from(b) - start)).clamp(0., 255.) as u8;
    }
    from
}

/// `ImageFilter.SMOOTH`: the pixel counts five times, its neighbours once; the border stays as it is.
fn smooth(image: &RgbImage) -> RgbImage {
    let mut out = image.clone();
    let (w, h) = image.dimensions();
    let (one, five) = (1f32 / 13., 5f32 / 13.);
    for y in 1..h.saturating_sub(1) {
        for x in 1..w.saturating_sub(1) {
            let at = |dx: u32, dy: u32, c: usize| f32::from(image.get_pixel(x + dx - 1, y + dy - 1).0[c]);
            out.get_pixel_mut(x, y).0 = std::array::from_fn(|c| {
                let row = |dy: u32, middle: f32| at(0, dy, c) * one + at(1, dy, c) * middle + at(2, dy, c) * one;
                // from the lowest row up, as there
                (0.5 + row(2, one) + row(1, five) + row(0, one)).clamp(0., 255.) as u8
            });
        }
    }
    out
}
