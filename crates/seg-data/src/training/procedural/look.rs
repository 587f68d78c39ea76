//! How an object's inside looks, and the shadow that it casts.

use super::blur::blurred;
use super::colours::{Colour, distance};
use super::fill::Coverage;
use super::kinds::Kind;
use super::noise::{Noise, Ramp, Rgb, hsv};
use crate::training::Dice;
use crate::{GrayImage, Result, RgbImage};

/// The colours of an object in its window.
#[derive(Clone, Debug)]
pub(super) enum Look {
    /// Levels of a ramp, lit as if the object were raised.
    Painted { ramp: Ramp, levels: Vec<f32>, relief: f32, height: GrayImage, light: [i64; 2] },
    /// Of a photo.
    Photo(RgbImage),
}

/// The mean colour of a picture where it is covered.
pub(super) fn mean_under(image: &RgbImage, cover: &Coverage) -> Rgb {
    let (mut sum, mut count) = ([0f64; 3], 1e-9);
    for y in (0..cover.height).step_by(2) {
        for (x, level) in cover.row(y).iter().enumerate().filter(|(_, level)| **level > 0) {
            let p = image.get_pixel(cover.left + x as u32, cover.top + y);
            let weight = f64::from(*level);
            sum.iter_mut().zip(p.0).for_each(|(sum, v)| *sum += weight * f64::from(v));
            count += weight;
        }
    }
    sum.map(|v| (v / count) as f32)
}

/// A colour for an object of a kind: near what is behind it if `alike`, else well apart from it.
pub(super) fn colour(kind: Kind, behind: Rgb, alike: bool, dice: &mut Dice) -> Rgb {
    if alike {
        let light = dice.between(16., 52.) as f32 * if dice.chance(0.5) { 1. } else { -1. };
        return behind.map(|v| (v + light + dice.normal() as f32 * 9.).clamp(4., 250.));
    }
    let mut best = behind;
    for _ in 0..8 {
        let natural = dice.chance(0.6);
        let rgb = match kind {
            Kind::Hair if natural => hsv(dice.between(0.04, 0.12), dice.between(0.1, 0.6), dice.between(0.06, 0.9)),
            Kind::Leaves if natural => hsv(dice.between(0.12, 0.38), dice.between(0.4, 0.9), dice.between(0.2, 0.8)),
            Kind::Branches if natural => hsv(dice.between(0.04, 0.13), dice.between(0.1, 0.5), dice.between(0.05, 0.6)),
            Kind::Wires | Kind::Lattice | Kind::Spokes | Kind::Fence if natural => {
                hsv(dice.unit(), dice.between(0., 0.12), dice.between(0.05, 0.95))
            }
            _ => dice.pick(&Colour::ALL).copied().unwrap_or(Colour::Gray).shade(dice),
        };
        if distance(rgb, behind) > distance(best, behind) {
            best = rgb;
        }
        if distance(best, behind) > 70. {
            break;
        }
    }
    best
}

impl Look {
    /// Around a colour: plain, cloudy, striped or shaded, flat or raised.
    pub fn paint(kind: Kind, colour: Rgb, cover: &Coverage, dice: &mut Dice) -> Result<Self> {
        let size = (cover.width, cover.height);
        let least = f64::from(cover.width.min(cover.height));
        let vary = dice.between(0.1, 0.75) as f32;
        let (dark, bright) = (colour.map(|v| v * (1. - 0.6 * vary)), colour.map(|v| v + (255. - v) * 0.5 * vary));
        let plain = !matches!(kind, Kind::Hair | Kind::Leaves) && dice.chance(0.25);
        let cell = (least * dice.between(0.05, 0.5)).max(2.);
        let slim = if kind == Kind::Hair { 4. } else { dice.between(1., 5.) };
        let cell = if dice.chance(0.5) { [cell, cell / slim] } else { [cell / slim, cell] };
        let octaves = if plain { 1 } else { 4 };
        let mut levels = Noise { cell, octaves, gain: dice.between(0.5, 0.8) as f32 }.plane(size, dice);
        let angle = dice.between(0., 6.3);
        let shading = dice.between(0., 0.8) as f32;
        let (dx, dy) = (angle.cos() as f32 * shading / size.0 as f32, angle.sin() as f32 * shading / size.1 as f32);
        let flat = if plain { 0.15 } else { 1. };
        for (y, row) in levels.chunks_exact_mut(size.0 as usize).enumerate() {
            let down = (y as f32 - size.1 as f32 / 2.) * dy;
            for (x, level) in row.iter_mut().enumerate() {
                *level = 0.5 + (*level - 0.5) * flat + (x as f32 - size.0 as f32 / 2.) * dx + down;
            }
        }
        let body = matches!(kind, Kind::Disc | Kind::Ring | Kind::Polygon | Kind::Star | Kind::Blob | Kind::Text);
        let round = if body { least * dice.between(0.01, 0.08) } else { dice.between(0.4, 1.2) };
        let relief = if dice.chance(0.7) { dice.between(0.2, 0.9) as f32 } else { 0. };
        let height = GrayImage::from_raw(size.0, size.1, cover.levels.clone()).unwrap_or_default();
        let height = if relief > 0. { blurred(&height, round.max(0.3))? } else { height };
        let reach = (round * 0.8).max(1.);
        let from = dice.between(0., 6.3);
        let light = [(from.cos() * reach).round() as i64, (from.sin() * reach).round() as i64];
        Ok(Self::Painted { ramp: Ramp::new(&[dark, colour, bright]), levels, relief, height, light })
    }

    /// Lays the object over the picture.
    pub fn lay(&self, canvas: &mut RgbImage, cover: &Coverage) {
        for y in 0..cover.height {
            let row = cover.row(y);
            for x in (0..cover.width).filter(|x| row[*x as usize] > 0) {
                let colour = self.colour(x, y, cover);
                over(&mut canvas.get_pixel_mut(cover.left + x, cover.top + y).0, colour, row[x as usize]);
            }
        }
    }

    fn colour(&self, x: u32, y: u32, cover: &Coverage) -> Rgb {
        match self {
            Self::Photo(image) => image.get_pixel(x, y).0.map(f32::from),
            Self::Painted { ramp, levels, relief, height, light } => {
                let colour = ramp.colour(levels[(y * cover.width + x) as usize]);
                if *relief == 0. {
                    return colour;
                }
                let (w, h) = (i64::from(cover.width), i64::from(cover.height));
                let at = |dx: i64, dy: i64| {
                    let (x, y) = (i64::from(x) + dx, i64::from(y) + dy);
                    let inside = (0..w).contains(&x) && (0..h).contains(&y);
                    if inside { f32::from(height.as_raw()[(y * w + x) as usize]) } else { 0. }
                };
                let slope = (at(-light[0], -light[1]) - at(light[0], light[1])) / 255. * relief;
                colour.map(|v| if slope > 0. { v + (255. - v) * slope * 0.8 } else { v * (1. + slope) })
            }
        }
    }
}

/// Lays a colour over a pixel, as much of it as the level says.
fn over(out: &mut [u8], colour: Rgb, level: u8) {
    let a = f32::from(level) / 255.;
    for (out, colour) in out.iter_mut().zip(colour) {
        *out = (f32::from(*out) * (1. - a) + colour * a + 0.5) as u8;
    }
}

/// The same over the pixels of a row.
pub(super) fn over_row(out: &mut [u8], colour: Rgb, levels: &[u8]) {
    let whole = colour.map(|v| (v + 0.5) as u8);
    for (out, level) in out.chunks_exact_mut(3).zip(levels) {
        match level {
            0 => {}
            255 => out.copy_from_slice(&whole),
            _ => over(out, colour, *level),
        }
    }
}

/// Darkens what an object's shadow falls on.
pub(super) fn cast(canvas: &mut RgbImage, cover: &Coverage, dice: &mut Dice) -> Result<()> {
    let (width, height) = canvas.dimensions();
    let size = f64::from(width.min(height));
    let (far, angle) = (size * dice.between(0.004, 0.04), dice.between(0., 6.3));
    let (strength, soft) = (dice.between(0.2, 0.65) as f32, dice.between(0.6, 1. + far * 0.5));
    let (dx, dy) = ((angle.cos() * far) as i64, (angle.sin() * far) as i64);
    let blurred = softened(cover, soft, (width, height))?;
    for y in 0..blurred.height {
        for (x, level) in blurred.row(y).iter().enumerate().filter(|(_, level)| **level > 0) {
            let (x, y) = (i64::from(blurred.left) + x as i64 + dx, i64::from(blurred.top + y) + dy);
            if (0..i64::from(width)).contains(&x) && (0..i64::from(height)).contains(&y) {
                let keep = 1. - strength * f32::from(*level) / 255.;
                let p = canvas.get_pixel_mut(x as u32, y as u32);
                p.0 = p.0.map(|v| (f32::from(v) * keep) as u8);
            }
        }
    }
    Ok(())
}

/// A coverage whose edges fade over `sigma` pixels.
pub(super) fn softened(cover: &Coverage, sigma: f64, (width, height): (u32, u32)) -> Result<Coverage> {
    if sigma < 0.05 {
        return Ok(cover.clone());
    }
    let pad = (3. * sigma).ceil() as u32;
    let (left, top) = (cover.left.saturating_sub(pad), cover.top.saturating_sub(pad));
    let (right, bottom) = ((cover.left + cover.width + pad).min(width), (cover.top + cover.height + pad).min(height));
    let mut wide = GrayImage::new(right - left, bottom - top);
    for y in 0..cover.height {
        let at = ((cover.top - top + y) * wide.width() + cover.left - left) as usize;
        wide.as_mut()[at..at + cover.width as usize].copy_from_slice(cover.row(y));
    }
    let soft = blurred(&wide, sigma)?;
    Ok(Coverage { left, top, width: right - left, height: bottom - top, levels: soft.into_raw() })
}
