//! Prompts as users and promptable models give them.

use image::imageops;

use super::finish::draw_whole;
use super::noise::Noise;
use super::scene::Scene;
use super::spec::PromptSpec;
use crate::training::{Dice, ExamplePrompt};
use crate::{GrayImage, PilFilter, Result, components, resize_pil};

/// The longer side of a promptable model's own masks in pixels.
const COARSE: u32 = 256;

/// A prompt for what a scene means.
pub(super) fn prompt(scene: &Scene, spec: &PromptSpec, dice: &mut Dice) -> Result<ExamplePrompt> {
    let bounds = dice.chance(spec.boxes).then(|| jittered(scene, spec.jitter, dice));
    let mut clicks: Vec<(f32, f32, bool)> = Vec::new();
    for number in 0..draw_whole(spec.positive, dice) {
        clicks.extend(on_object(scene, number == 0, dice).map(|(x, y)| (x as f32, y as f32, true)));
    }
    for _ in 0..draw_whole(spec.negative, dice) {
        clicks.extend(beside(scene, dice).map(|(x, y)| (x as f32, y as f32, false)));
    }
    let coarse = dice.chance(spec.coarse).then(|| coarse(scene, dice)).transpose()?;
    Ok(ExamplePrompt { bounds, clicks, coarse })
}

/// The box of what is meant, each edge moved a little.
fn jittered(scene: &Scene, jitter: f64, dice: &mut Dice) -> [f32; 4] {
    let [left, top, right, bottom] = scene.objects[scene.meant].bounds.map(f64::from);
    let (width, height) = scene.image.dimensions();
    let mut moved = |at: f64, size: f64, last: u32| {
        (at + jitter * size * dice.between(-1., 1.)).clamp(0., f64::from(last - 1)) as f32
    };
    let (w, h) = (right - left, bottom - top);
    [moved(left, w, width), moved(top, h, height), moved(right - 1., w, width), moved(bottom - 1., h, height)]
}

/// A pixel of the object; `middle`: where much of it is around.
fn on_object(scene: &Scene, middle: bool, dice: &mut Dice) -> Option<(u32, u32)> {
    let mask = &scene.objects[scene.meant].mask;
    let sure = mask.as_raw().iter().copied().max()?.min(200);
    let inside = |mask: &GrayImage, x: u32, y: u32| mask.get_pixel(x, y)[0] >= sure;
    let (width, height) = mask.dimensions();
    let reach = (width.max(height) / 24).max(1);
    let around = |&(x, y): &(u32, u32)| {
        let near = |at: u32, last: u32| {
            (at.saturating_sub(reach)..(at + reach + 1).min(last)).step_by((reach / 4).max(1) as usize)
        };
        near(y, height).map(|y| near(x, width).map(|x| u32::from(mask.get_pixel(x, y)[0])).sum::<u32>()).sum::<u32>()
    };
    let tries = if middle { 12 } else { 1 };
    let pixels = pixels(mask, |x, y| inside(mask, x, y));
    (0..tries).filter_map(|_| dice.pick(&pixels).copied()).max_by_key(around)
}

/// A pixel without anything of the object: on another one, or on the background nearby.
fn beside(scene: &Scene, dice: &mut Dice) -> Option<(u32, u32)> {
    let object = &scene.objects[scene.meant];
    let away = |x: u32, y: u32| object.mask.get_pixel(x, y)[0] == 0;
    let others: Vec<&GrayImage> =
        scene.objects.iter().enumerate().filter(|(i, _)| *i != scene.meant).map(|(_, o)| &o.mask).collect();
    if dice.chance(0.7)
        && let Some(other) = dice.pick(&others)
    {
        let pixels = pixels(other, |x, y| away(x, y) && other.get_pixel(x, y)[0] >= 200);
        if let Some(found) = dice.pick(&pixels) {
            return Some(*found);
        }
    }
    // within twice its box
    let (width, height) = object.mask.dimensions();
    let [left, top, right, bottom] = object.bounds;
    let (w, h) = ((right - left) / 2 + 2, (bottom - top) / 2 + 2);
    let (left, right) = (left.saturating_sub(w), (right + w).min(width));
    let (top, bottom) = (top.saturating_sub(h), (bottom + h).min(height));
    let any = |low: u32, high: u32, dice: &mut Dice| low + dice.below(u64::from(high - low)) as u32;
    (0..64).map(|_| (any(left, right, dice), any(top, bottom, dice))).find(|&(x, y)| away(x, y))
}

fn pixels(mask: &GrayImage, mut holds: impl FnMut(u32, u32) -> bool) -> Vec<(u32, u32)> {
    let (width, height) = mask.dimensions();
    (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .filter(|&(x, y)| mask.get_pixel(x, y)[0] > 0 && holds(x, y))
        .collect()
}

/// What SAM might make of the object: small, smoothed, without its thin parts or with its gaps filled, with bits of neighbours and some of it lost.
fn coarse(scene: &Scene, dice: &mut Dice) -> Result<GrayImage> {
    let size = scene.image.dimensions();
    let shrink = f64::from(COARSE) / f64::from(size.0.max(size.1).max(COARSE));
    let side = |side: u32| ((f64::from(side) * shrink).round() as u32).max(1);
    let small = (side(size.0), side(size.1));
    let sigma = dice.between(0.8, 3.) as f32;
    let shrunk = |mask: &GrayImage| -> Result<GrayImage> { resize_pil(mask, small, PilFilter::Bilinear) };
    let mut plane = shrunk(&scene.objects[scene.meant].mask)?;
    let own = plane.clone();
    for (_, other) in scene.objects.iter().enumerate().filter(|(i, _)| *i != scene.meant) {
        if dice.chance(0.35) {
            take_bit(&mut plane, &shrunk(&other.mask)?, &own, dice);
        }
    }
    if dice.chance(0.4) {
        lose_part(&mut plane, &own, dice);
    }
    let plane = imageops::fast_blur(&plane, sigma);
    // against what is usual within it, so that of a net something is left: its hull or its thicker parts
    let mut within: Vec<u8> =
        plane.as_raw().iter().zip(own.as_raw()).filter(|(_, own)| **own > 0).map(|(v, _)| *v).collect();
    within.sort_unstable();
    let usual = within.get(within.len() * 4 / 5).copied().unwrap_or(0);
    let level = f64::from(usual) * dice.between(0.35, 0.75);
    let wobble = Noise { cell: [14.; 2], octaves: 2, gain: 0.5 }.plane(small, dice);
    let mut inside: Vec<f32> =
        plane.as_raw().iter().zip(&wobble).map(|(v, w)| f32::from(*v) - (level as f32) * (0.75 + 0.5 * w)).collect();
    if dice.chance(0.5) {
        let largest = dice.below(400) as u32;
        components::fill_holes(&mut inside, small.0, small.1, 0., largest, 1.)?;
    }
    components::remove_sprinkles(&mut inside, small.0, small.1, 0., dice.below(24) as u32, -1.)?;
    if inside.iter().all(|v| *v <= 0.) {
        // nothing left: the best of it
        let best = inside.iter().copied().fold(f32::MIN, f32::max);
        inside.iter_mut().filter(|v| **v >= best).for_each(|v| *v = 1.);
    }
    let levels = inside.iter().map(|v| if *v > 0. { 255 } else { 0 }).collect();
    let small = GrayImage::from_raw(small.0, small.1, levels).unwrap_or_default();
    let mut full = resize_pil(&small, size, PilFilter::Bilinear)?;
    full.iter_mut().for_each(|v| *v = if *v >= 128 { 255 } else { 0 });
    Ok(full)
}

/// A round part of a neighbour, where it comes near.
fn take_bit(plane: &mut GrayImage, other: &GrayImage, own: &GrayImage, dice: &mut Dice) {
    let (theirs, ours) = (pixels(other, |_, _| true), pixels(own, |_, _| true));
    let Some(&to) = dice.pick(&ours) else { return };
    let near = |p: &(u32, u32)| p.0.abs_diff(to.0).pow(2) + p.1.abs_diff(to.1).pow(2);
    let Some(at) = (0..24).filter_map(|_| dice.pick(&theirs).copied()).min_by_key(near) else { return };
    if near(&at) > 20 * 20 {
        return;
    }
    let radius = dice.between(5., 28.).powi(2) as u32;
    for &(x, y) in theirs.iter().filter(|p| p.0.abs_diff(at.0).pow(2) + p.1.abs_diff(at.1).pow(2) <= radius) {
        let level = &mut plane.get_pixel_mut(x, y)[0];
        *level = level.saturating_add(other.get_pixel(x, y)[0]);
    }
}

/// Empties a round part.
fn lose_part(plane: &mut GrayImage, own: &GrayImage, dice: &mut Dice) {
    let pixels = pixels(own, |_, _| true);
    let Some(&at) = dice.pick(&pixels) else { return };
    // at most so much that most of it stays
    let most = (pixels.len() as f64 * 0.1).sqrt();
    let radius = dice.between(0.3 * most, most).powi(2) as u32;
    for &(x, y) in pixels.iter().filter(|p| p.0.abs_diff(at.0).pow(2) + p.1.abs_diff(at.1).pow(2) <= radius) {
        plane.get_pixel_mut(x, y)[0] = 0;
    }
}
