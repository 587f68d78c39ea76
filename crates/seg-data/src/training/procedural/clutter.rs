//! Backgrounds of many small things.

use super::background::{Ground, any_palette, palette, pixel, shorter};
use super::fill::{Coverage, fill};
use super::look::over_row;
use super::path::{Path, polar};
use crate::RgbImage;
use crate::training::Dice;

/// Many small things over each other, the deeper the darker.
pub(super) fn clutter(ground: Ground, size: (u32, u32), dice: &mut Dice) -> RgbImage {
    let ramp = match ground {
        Ground::Gravel => any_palette(dice),
        _ => {
            let (hue, saturation) = (dice.between(0.12, 0.36), dice.between(0.35, 0.8));
            palette(dice, hue, saturation)
        }
    };
    let area = f64::from(size.0) * f64::from(size.1);
    let large = (shorter(size) * dice.between(0.025, 0.12)).max((area * 2. / 2500.).sqrt());
    // round, long or very long
    let slim = if ground == Ground::Gravel { dice.between(0.6, 1.) } else { dice.between(0.08, 0.5) };
    let main = dice.between(0., 6.3);
    let order = if dice.chance(0.5) { 0.4 } else { 6. };
    let dark = ramp.colour(0.5).map(|v| v * 0.15);
    let mut image = RgbImage::from_pixel(size.0, size.1, pixel(dark));
    let count = ((2.5 * area / (large * large * slim.max(0.25))) as usize).min(3000);
    let rough = if ground == Ground::Gravel { 0.15 } else { 0. };
    let mut outline = || {
        let (half, angle) = (large * dice.between(0.35, 0.8), main + order * dice.normal());
        let (sin, cos) = angle.sin_cos();
        let middle = [large * 1.2 + dice.unit(), large * 1.2 + dice.unit()];
        let mut path = Path::default();
        path.area(
            (0..12)
                .map(|k| {
                    let out = half * (1. + rough * dice.normal());
                    let [x, y] = polar([0., 0.], out, f64::from(k) * std::f64::consts::FRAC_PI_6);
                    // leaves are pointed
                    let y = y * slim * if rough == 0. { 1. - 0.6 * (x / half).abs() } else { 1. };
                    [middle[0] + x * cos - y * sin, middle[1] + x * sin + y * cos]
                })
                .collect(),
        );
        let side = (2.4 * large).ceil() as u32 + 2;
        fill(&path, (side, side))
    };
    // each is seen many times, in other colours and half hidden
    let stamps: Vec<Coverage> = (0..96).filter_map(|_| outline()).collect();
    for i in 0..count {
        let depth = i as f64 / count as f64;
        let Some(stamp) = dice.pick(&stamps) else { break };
        let place = |all: u32, own: u32, dice: &mut Dice| {
            (dice.between(-0.02, 1.02) * f64::from(all)) as i64 - i64::from(own / 2)
        };
        let (left, top) = (place(size.0, stamp.width, dice), place(size.1, stamp.height, dice));
        let light = (0.3 + 0.7 * depth) as f32;
        let colour = ramp.colour((0.5 + 0.25 * dice.normal()) as f32).map(|v| v * light);
        let within = |at: i64, own: u32, all: u32| ((-at).max(0), (i64::from(all) - at).min(i64::from(own)));
        let ((from, to), (first, last)) = (within(left, stamp.width, size.0), within(top, stamp.height, size.1));
        for y in first..if to > from { last } else { first } {
            // lit from above
            let fade = 1.2 - 0.5 * y as f32 / stamp.height as f32;
            let at = ((top + y) * i64::from(size.0) + left + from) as usize * 3;
            let row = &mut image.as_mut()[at..at + (to - from) as usize * 3];
            over_row(row, colour.map(|v| (v * fade).min(255.)), &stamp.row(y as u32)[from as usize..to as usize]);
        }
    }
    image
}
