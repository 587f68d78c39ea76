//! What lies behind the objects.

use image::Rgb as Pixel;
use serde::{Deserialize, Serialize};

use super::clutter::clutter;
use super::noise::{Noise, Ramp, Rgb, hsv};
use super::photos::Photos;
use crate::training::Dice;
use crate::{Result, RgbImage};

/// A kind of background.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ground {
    /// Clouds, sand, rust: noise of several octaves.
    Noise,
    /// A calm change from one colour to another.
    Gradient,
    /// Stripes, straight or bent: fabric, grain of wood, water.
    Stripes,
    /// Bricks and tiles.
    Tiles,
    /// Pebbles over each other.
    Gravel,
    /// Leaves, needles and blades over each other.
    Foliage,
    /// A part of a photo, from [`Spec::background_photos`](super::Spec::background_photos).
    Photo,
}

impl Ground {
    /// All that need no files.
    pub const DRAWN: [Self; 6] = [Self::Noise, Self::Gradient, Self::Stripes, Self::Tiles, Self::Gravel, Self::Foliage];

    /// Its name in a specification.
    pub fn name(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Gradient => "gradient",
            Self::Stripes => "stripes",
            Self::Tiles => "tiles",
            Self::Gravel => "gravel",
            Self::Foliage => "foliage",
            Self::Photo => "photo",
        }
    }

    /// Whether the upper or lower part of a picture may be of this kind alone.
    pub(super) fn has_horizon(self) -> bool {
        self != Self::Photo
    }

    /// A background of this kind.
    pub(super) fn paint(self, size: (u32, u32), dice: &mut Dice, photos: &Photos) -> Result<RgbImage> {
        let mut image = match self {
            Self::Noise => noise(size, dice),
            Self::Gradient => gradient(size, dice),
            Self::Stripes => stripes(size, dice),
            Self::Tiles => tiles(size, dice),
            Self::Gravel | Self::Foliage => clutter(self, size, dice),
            Self::Photo => return photos.background(size, dice),
        };
        light(&mut image, dice);
        Ok(image)
    }
}

/// A few colours that go together: near in hue, from dark to light.
pub(super) fn palette(dice: &mut Dice, hue: f64, saturation: f64) -> Ramp {
    let stops = 3 + dice.below(3);
    let (dark, bright) = (dice.between(0.08, 0.45), dice.between(0.55, 0.98));
    let drift = dice.normal() * 0.05;
    let mut colours: Vec<Rgb> = (0..stops)
        .map(|i| {
            let t = i as f64 / (stops - 1) as f64;
            let value = dark + (bright - dark) * (t + dice.normal() * 0.08);
            let saturation = saturation * dice.between(0.7, 1.2) * (1.15 - 0.5 * t);
            hsv(hue + drift * t + dice.normal() * 0.015, saturation.clamp(0., 1.), value.clamp(0., 1.))
        })
        .collect();
    if dice.chance(0.5) {
        colours.reverse();
    }
    Ramp::new(&colours)
}

/// Hues as they are outdoors and indoors: earth, plants, sky, stone, now and then anything.
pub(super) fn any_palette(dice: &mut Dice) -> Ramp {
    let (hue, saturation) = match dice.below(6) {
        0 => (dice.between(0.03, 0.12), dice.between(0.2, 0.6)),
        1 => (dice.between(0.2, 0.4), dice.between(0.2, 0.6)),
        2 => (dice.between(0.52, 0.65), dice.between(0.15, 0.6)),
        3 | 4 => (dice.unit(), dice.between(0., 0.15)),
        _ => (dice.unit(), dice.between(0.2, 0.8)),
    };
    palette(dice, hue, saturation)
}

pub(super) fn pixel(colour: Rgb) -> Pixel<u8> {
    Pixel(colour.map(|v| (v + 0.5) as u8))
}

/// A ramp's colours for a plane of levels.
fn coloured(size: (u32, u32), levels: &[f32], ramp: &Ramp) -> RgbImage {
    let mut image = RgbImage::new(size.0, size.1);
    image.pixels_mut().zip(levels).for_each(|(out, level)| *out = pixel(ramp.colour(*level)));
    image
}

pub(super) fn shorter(size: (u32, u32)) -> f64 {
    f64::from(size.0.min(size.1))
}

fn noise(size: (u32, u32), dice: &mut Dice) -> RgbImage {
    let cell = shorter(size) * dice.between(0.05, 0.5);
    let stretch = if dice.chance(0.4) { dice.between(2., 8.) } else { 1. };
    let cell = if dice.chance(0.5) { [cell, cell / stretch] } else { [cell / stretch, cell] };
    let noise = Noise { cell, octaves: 6, gain: dice.between(0.45, 0.75) as f32 };
    let levels = noise.plane(size, dice);
    coloured(size, &levels, &any_palette(dice))
}

fn gradient(size: (u32, u32), dice: &mut Dice) -> RgbImage {
    let clouds = dice.between(0., 0.5) as f32;
    let noise = Noise { cell: [shorter(size) * 0.4, shorter(size) * 0.2], octaves: 4, gain: 0.5 };
    let mut levels = noise.plane(size, dice);
    let angle = if dice.chance(0.6) { std::f64::consts::FRAC_PI_2 } else { dice.between(0., 6.3) };
    let (dx, dy) = ((angle.cos() / f64::from(size.0)) as f32, (angle.sin() / f64::from(size.1)) as f32);
    for (y, row) in levels.chunks_exact_mut(size.0 as usize).enumerate() {
        for (x, level) in row.iter_mut().enumerate() {
            let along = 0.5 + (x as f32 - size.0 as f32 / 2.) * dx + (y as f32 - size.1 as f32 / 2.) * dy;
            *level = along + (*level - 0.5) * clouds;
        }
    }
    coloured(size, &levels, &any_palette(dice))
}

fn stripes(size: (u32, u32), dice: &mut Dice) -> RgbImage {
    let period = (shorter(size) * dice.between(0.01, 0.15)).max(4.);
    let angle = dice.between(0., 6.3);
    let bent = if dice.chance(0.6) { dice.between(0.3, 4.) as f32 } else { 0. };
    let cell = shorter(size) * dice.between(0.2, 0.6);
    let noise = Noise { cell: [cell, cell * dice.between(0.3, 1.)], octaves: 3, gain: 0.4 };
    let mut levels = noise.plane(size, dice);
    // bands with edges, or waves
    let sharp = if dice.chance(0.4) { dice.between(1.5, 6.) } else { 1. };
    let wave: Vec<f32> = (0..512)
        .map(|i| (0.5 + 0.5 * sharp * (std::f64::consts::TAU * f64::from(i) / 512.).sin()).clamp(0., 1.) as f32)
        .collect();
    let (dx, dy) = ((angle.cos() / period) as f32, (angle.sin() / period) as f32);
    for (y, row) in levels.chunks_exact_mut(size.0 as usize).enumerate() {
        for (x, level) in row.iter_mut().enumerate() {
            let phase = x as f32 * dx + y as f32 * dy + (*level - 0.5) * bent;
            let turn = phase - phase.floor();
            *level = 0.75 * wave[(turn * 512.) as usize & 511] + 0.25 * *level;
        }
    }
    coloured(size, &levels, &any_palette(dice))
}

fn tiles(size: (u32, u32), dice: &mut Dice) -> RgbImage {
    let high = (shorter(size) * dice.between(0.04, 0.16)).max(6.);
    let wide = high * if dice.chance(0.6) { dice.between(1.8, 3.2) } else { 1. };
    let joint = (high * dice.between(0.03, 0.14)).max(1.);
    let shift = if dice.chance(0.7) { 0.5 } else { 0. };
    let noise = Noise { cell: [high * 0.7; 2], octaves: 4, gain: 0.7 };
    let mut levels = noise.plane(size, dice);
    let (first, uneven) = ([dice.unit(), dice.unit()], dice.between(0.1, 0.6));
    let (columns, rows) = ((f64::from(size.0) / wide) as usize + 3, (f64::from(size.1) / high) as usize + 3);
    let tones: Vec<f32> = (0..columns * rows).map(|_| (dice.unit() * uneven) as f32).collect();
    let mortar = if dice.chance(0.5) { 0. } else { 1. };
    for (y, row) in levels.chunks_exact_mut(size.0 as usize).enumerate() {
        let v = y as f64 / high + first[1];
        let (j, gap) = (v as usize, v.fract() * high < joint);
        for (x, level) in row.iter_mut().enumerate() {
            let u = x as f64 / wide + first[0] + shift * (j % 2) as f64;
            let tone = 0.3 + 0.4 * *level + tones[j * columns + u as usize] - uneven as f32 / 2.;
            *level = if gap || u.fract() * wide < joint { mortar * 0.8 + 0.2 * *level } else { tone };
        }
    }
    coloured(size, &levels, &any_palette(dice))
}

/// Light that falls unevenly.
fn light(image: &mut RgbImage, dice: &mut Dice) {
    let (width, height) = image.dimensions();
    let angle = dice.between(0., 6.3);
    let strength = dice.between(0., 0.45);
    let (dx, dy) =
        ((angle.cos() * strength / f64::from(width)) as f32, (angle.sin() * strength / f64::from(height)) as f32);
    for (x, y, p) in image.enumerate_pixels_mut() {
        let light =
            1. - strength as f32 / 3. + (x as f32 - width as f32 / 2.) * dx + (y as f32 - height as f32 / 2.) * dy;
        p.0 = p.0.map(|v| (f32::from(v) * light) as u8);
    }
}
