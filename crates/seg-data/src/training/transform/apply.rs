//! The steps, done.

use image::imageops::{crop_imm, flip_horizontal, flip_vertical, rotate90, rotate180, rotate270};
use image::{GrayImage, RgbImage};

use super::distort::{Distortion, distort};
use super::enhance::{Quality, enhance, factor, grey};
use super::follow::{Map, follow};
use super::sampling::{bilinear, floats, planes, whole};
use super::{Planes, Prepared, Sampling, Step, rotate};
use crate::error::{DataError, Result};
use crate::geometry::extent;
use crate::mask::to_binary;
use crate::resize::{PilFilter, resize_pil};
use crate::training::{Dice, Example, ExamplePrompt, Place};

/// A picture, its mask and its prompt on their way.
struct Work {
    image: RgbImage,
    mask: GrayImage,
    prompt: Option<ExamplePrompt>,
    /// What a step that samples in floats gave.
    floats: Option<(Planes, Planes)>,
    mirrored: bool,
}

pub(super) fn apply(steps: &[Step], example: Example, place: Place, frame: u64) -> Result<Prepared> {
    let Example { name, image, mask, prompt } = example;
    let size = |what, found: (u32, u32)| {
        let text = |(w, h): (u32, u32)| format!("{w}x{h} pixels");
        DataError::size(what, text(found), format!("{} like the picture of {name}", text(image.dimensions())))
    };
    if mask.dimensions() != image.dimensions() {
        return Err(size("the mask", mask.dimensions()));
    }
    if let Some(coarse) = prompt.as_ref().and_then(|p| p.coarse.as_ref())
        && coarse.dimensions() != image.dimensions()
    {
        return Err(size("the coarse mask", coarse.dimensions()));
    }
    let mut work = Work { image, mask, prompt, floats: None, mirrored: false };
    for (i, step) in steps.iter().enumerate() {
        // the same kind of step counts for itself, so that others may come and go
        let same = |other: &&Step| std::mem::discriminant(*other) == std::mem::discriminant(step);
        let before = steps[..i].iter().filter(same).count();
        let purpose = match step {
            Step::Distort { .. } | Step::Enhance { each_frame: true, .. } if frame > 0 => {
                format!("{} {before} frame {frame}", kind(step))
            }
            _ => format!("{} {before}", kind(step)),
        };
        work.step(step, &mut Dice::new(place, &purpose))?;
    }
    let Work { image, mask, prompt, floats, mirrored } = work;
    let (image, mask) = floats.unwrap_or_else(|| (planes(&image), planes(&mask)));
    Ok(Prepared { name, image, mask, prompt, mirrored })
}

/// What a step's random numbers are called: never to be changed, as runs that are resumed depend on it.
fn kind(step: &Step) -> String {
    step.name().replace('-', " ")
}

impl Work {
    fn step(&mut self, step: &Step, dice: &mut Dice) -> Result<()> {
        let (w, h) = self.image.dimensions();
        let (wide, high) = (f64::from(w), f64::from(h));
        match *step {
            Step::FlipHorizontal { chance } if dice.chance(chance) => {
                self.mirrored = !self.mirrored;
                self.each(flip_horizontal, flip_horizontal, &Map([-1., 0., wide, 0., 1., 0.]));
            }
            Step::FlipVertical { chance } if dice.chance(chance) => {
                self.each(flip_vertical, flip_vertical, &Map([1., 0., 0., 0., -1., high]));
            }
            Step::QuarterTurns => match dice.below(4) {
                1 => self.each(rotate90, rotate90, &Map([0., -1., high, 1., 0., 0.])),
                2 => self.each(rotate180, rotate180, &Map([-1., 0., wide, 0., -1., high])),
                3 => self.each(rotate270, rotate270, &Map([0., 1., 0., -1., 0., wide])),
                _ => {}
            },
            Step::TrimBorder { most } => {
                // of n pixels, n - most to n - 1 are kept, in the middle
                let mut kept = |side: u32| {
                    let most = u64::from(most.min(side.saturating_sub(1)));
                    side - if most == 0 { 0 } else { 1 + dice.below(most) as u32 }
                };
                let (cut_w, cut_h) = (kept(w), kept(h));
                let range = |side: u32, kept: u32| ((side - kept) / 2, (side + kept) / 2);
                let ((x0, x1), (y0, y1)) = (range(w, cut_w), range(h, cut_h));
                self.crop(x0, y0, x1 - x0, y1 - y0);
            }
            Step::Crop { width, height } => self.random_part(width.min(w), height.min(h), dice),
            Step::Zoom { area } => {
                let side = dice.between(area[0], area[1]).sqrt();
                let part = |n: f64| ((n * side).round() as u32).max(1);
                self.random_part(part(wide).min(w), part(high).min(h), dice);
            }
            Step::Surroundings { padding, jitter } => self.surroundings(padding, jitter, dice)?,
            Step::Rotate { chance, degrees: [low, high] } if dice.chance(chance) => {
                let degrees = i64::from(low) + dice.below((i64::from(high) - i64::from(low) + 1) as u64) as i64;
                self.matrix(&rotate::rotation(degrees as f64, (w, h)), true, [0; 3]);
            }
            Step::Affine { degrees, shear, fill } => {
                let (turn, shear) = (dice.between(-degrees, degrees), dice.between(-shear, shear));
                // torchvision's way back from the result to the source
                let (turn, shear) = (turn.to_radians(), shear.to_radians());
                let (cos, sin, tan) = (turn.cos(), turn.sin(), shear.tan());
                let forward = Map([cos, -cos * tan - sin, 0., sin, -sin * tan + cos, 0.]);
                if let Some(back) = forward.inverse() {
                    let (x, y) = (wide / 2., high / 2.);
                    let (dx, dy) = back.point(-x, -y);
                    let [a, b, _, d, e, _] = back.0;
                    self.matrix(&Map([a, b, dx + x, d, e, dy + y]), false, fill);
                }
            }
            Step::Enhance { brightness, contrast, colour, sharpness, tenths, shuffled, .. } => {
                let mut all = [
                    (Quality::Brightness, brightness),
                    (Quality::Contrast, contrast),
                    (Quality::Colour, colour),
                    (Quality::Sharpness, sharpness),
                ]
                .map(|(quality, range)| (quality, range.map(|range| factor(dice, range, tenths))));
                if shuffled {
                    dice.shuffle(&mut all);
                }
                for (quality, factor) in all {
                    if let Some(factor) = factor {
                        self.image = enhance(&self.image, quality, factor);
                    }
                }
            }
            Step::Grey { chance } if dice.chance(chance) => self.image = grey(&self.image),
            Step::Distort { brightness, contrast, saturation, hue } => {
                distort(&mut self.image, &Distortion { brightness, contrast, saturation, hue }, dice);
            }
            Step::Resize { width, height, image, mask } => self.resize((width, height), image, mask)?,
            Step::LongestSide { side, image, mask } => {
                let scale = f64::from(side) / wide.max(high);
                let scaled = |n: f64| ((n * scale + 0.5) as u32).max(1);
                self.resize((scaled(wide), scaled(high)), image, mask)?;
            }
            Step::LargeScaleJitter { side, scale, fill } => {
                self.jitter(side, dice.between(scale[0], scale[1]), fill, dice)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The same done to picture, mask and coarse mask; points follow the map.
    fn each(&mut self, image: fn(&RgbImage) -> RgbImage, mask: fn(&GrayImage) -> GrayImage, map: &Map) {
        (self.image, self.mask) = (image(&self.image), mask(&self.mask));
        self.follow(map, mask);
    }

    fn follow(&mut self, map: &Map, mask: impl Fn(&GrayImage) -> GrayImage) {
        let size = self.image.dimensions();
        if let Some(prompt) = &mut self.prompt {
            follow(prompt, map, size);
            prompt.coarse = prompt.coarse.as_ref().map(mask);
        }
    }

    fn crop(&mut self, x: u32, y: u32, width: u32, height: u32) {
        self.image = crop_imm(&self.image, x, y, width, height).to_image();
        self.mask = crop_imm(&self.mask, x, y, width, height).to_image();
        let map = Map::shift(-f64::from(x), -f64::from(y));
        self.follow(&map, |mask| crop_imm(mask, x, y, width, height).to_image());
    }

    fn random_part(&mut self, width: u32, height: u32, dice: &mut Dice) {
        let (w, h) = self.image.dimensions();
        let mut from = |most: u32| dice.below(u64::from(most) + 1) as u32;
        let (x, y) = (from(w - width), from(h - height));
        self.crop(x, y, width, height);
    }

    fn surroundings(&mut self, padding: f64, jitter: f64, dice: &mut Dice) -> Result<()> {
        let (w, h) = self.image.dimensions();
        let Some([x0, y0, x1, y1]) = extent(&to_binary(&self.mask), w, h)? else { return Ok(()) };
        let sides = [x1 - x0, y1 - y0].map(f64::from);
        let mut outwards = |side: f64| dice.between(-jitter / 2., jitter) * side + padding * sides[0].max(sides[1]);
        let before = |edge: u32, by: f64| (f64::from(edge) - by).floor().max(0.) as u32;
        let behind = |edge: u32, by: f64, end: u32| ((f64::from(edge) + by).ceil() as u32).min(end);
        let (left, top) = (before(x0, outwards(sides[0])), before(y0, outwards(sides[1])));
        let right = behind(x1, outwards(sides[0]), w).max(left + 1);
        let bottom = behind(y1, outwards(sides[1]), h).max(top + 1);
        let (width, height) = (right - left, bottom - top);
        if 2 * u64::from(width) * u64::from(height) < u64::from(w) * u64::from(h) {
            self.crop(left, top, width, height);
        }
        Ok(())
    }

    /// Through a matrix from the result to the source.
    fn matrix(&mut self, back: &Map, bicubic: bool, fill: [u8; 3]) {
        self.image = rotate::smooth(&self.image, back, bicubic, fill);
        self.mask = rotate::nearest(&self.mask, back);
        if let Some(map) = back.inverse() {
            self.follow(&map, |mask| rotate::nearest(mask, back));
        }
    }

    fn resize(&mut self, to: (u32, u32), image: Sampling, mask: Sampling) -> Result<()> {
        let from = self.image.dimensions();
        // masks of prompts have two levels, and keep them
        let coarse = match self.prompt.as_mut().and_then(|p| p.coarse.take()) {
            Some(coarse) => Some(resize_pil(&coarse, to, PilFilter::Nearest)?),
            None => None,
        };
        if [image, mask].contains(&Sampling::TorchBilinear) {
            self.floats = Some((floats(&self.image, to, image)?, floats(&self.mask, to, mask)?));
        } else {
            (self.image, self.mask) = (whole(&self.image, to, image)?, whole(&self.mask, to, mask)?);
        }
        let map = Map::scale(f64::from(to.0) / f64::from(from.0), f64::from(to.1) / f64::from(from.1));
        if let Some(prompt) = &mut self.prompt {
            follow(prompt, &map, to);
            prompt.coarse = coarse;
        }
        Ok(())
    }

    fn jitter(&mut self, side: u32, factor: f64, fill: u8, dice: &mut Dice) -> Result<()> {
        let (w, h) = self.image.dimensions();
        let target = (f64::from(side) * factor).round();
        let scale = (target / f64::from(h)).min(target / f64::from(w));
        // ties to even, as torch rounds
        let scaled = |n: u32| ((f64::from(n) * scale).round_ties_even() as u32).max(1);
        let to = (scaled(w), scaled(h));
        let mut from = |n: u32| dice.below(u64::from(n.saturating_sub(side)) + 1) as u32;
        let at = (from(to.0), from(to.1));
        let image = bilinear(&self.image, to).framed(at, side, fill.into());
        self.floats = Some((image, bilinear(&self.mask, to).framed(at, side, 0.)));
        if let Some(prompt) = &mut self.prompt {
            let stretch = Map::scale(f64::from(to.0) / f64::from(w), f64::from(to.1) / f64::from(h));
            let [a, _, _, _, e, _] = stretch.0;
            follow(prompt, &Map([a, 0., -f64::from(at.0), 0., e, -f64::from(at.1)]), (side, side));
            if let Some(coarse) = &prompt.coarse {
                let scaled = resize_pil(coarse, to, PilFilter::Nearest)?;
                let (kept_w, kept_h) = (to.0.min(side), to.1.min(side));
                let mut all = GrayImage::new(side, side);
                image::imageops::replace(&mut all, &crop_imm(&scaled, at.0, at.1, kept_w, kept_h).to_image(), 0, 0);
                prompt.coarse = Some(all);
            }
        }
        Ok(())
    }
}
