//! The click that comes next: where a mask is wrong in the largest region.
//!
//! Regions are those of Pi-SAM's simulation ([`ClickSimulation`]: one erosion, 8-connected parts, the largest first). Where a mask is wrong only in lines too thin for that,
//! it is the largest region as it is. A training clicks on any pixel of it, a measurement on the one that is farthest from its edge, as a person would.

use crate::Result;
use seg_data::components::components;
use seg_data::geometry::distance;
use seg_data::training::Dice;
use seg_models::pi_sam::{ClickSimulation, SimulatedClick};

/// Where in the region the click falls.
#[derive(Debug)]
pub enum Aim<'d> {
    /// Anywhere, each pixel as likely as the others.
    Anywhere(&'d mut Dice),
    /// Farthest from the edge; of equals the first, row by row.
    Middle,
}

/// The click that mends most, for `logits` (above 0 is inside) against `labels` in 0..255, both `width · height` row by row. `None`: there is nothing of two pixels or
/// more to mend.
///
/// # Errors
/// Lengths that are not `width · height`.
pub fn next_click(
    logits: &[f32],
    labels: &[f32],
    (width, height): (u32, u32),
    aim: Aim<'_>,
) -> Result<Option<SimulatedClick>> {
    let rules = ClickSimulation::default();
    let clear = rules.regions(logits, Some(labels), width, height)?.regions.into_iter().next();
    let Some((pixels, foreground)) = (match clear {
        Some(region) => Some(region),
        None => largest(logits, labels, (width, height), rules.min_area)?,
    }) else {
        return Ok(None);
    };
    let at = match aim {
        Aim::Anywhere(dice) => dice.pick(&pixels).copied(),
        Aim::Middle => middle(&pixels, (width, height))?,
    };
    let click = |at: usize| SimulatedClick { row: at / width as usize, column: at % width as usize, foreground };
    Ok(at.map(click))
}

/// The largest wrong region with its edge: its pixels, and whether they are missing.
fn largest(
    logits: &[f32],
    labels: &[f32],
    (width, height): (u32, u32),
    least: u32,
) -> Result<Option<(Vec<usize>, bool)>> {
    let mut best: Option<(Vec<usize>, bool)> = None;
    for missing in [true, false] {
        let wrong = |(&logit, &label): (&f32, &f32)| {
            let (predicted, inside) = (logit > 0., label > 128.);
            u8::from(predicted != inside && inside == missing)
        };
        let mask: Vec<u8> = logits.iter().zip(labels).map(wrong).collect();
        let found = components(&mask, width, height)?;
        let Some(label) = found.largest().filter(|label| found.areas[*label as usize - 1] >= least) else { continue };
        let pixels: Vec<usize> = (0..mask.len()).filter(|at| found.labels[*at] == label).collect();
        if best.as_ref().is_none_or(|(other, _)| pixels.len() > other.len()) {
            best = Some((pixels, missing));
        }
    }
    Ok(best)
}

/// The pixel of a region that is farthest from all that is not in it.
fn middle(pixels: &[usize], (width, height): (u32, u32)) -> Result<Option<usize>> {
    // beyond the border is outside, too
    let (wide, high) = (width as usize + 2, height as usize + 2);
    let within = |at: usize| (at / width as usize + 1) * wide + at % width as usize + 1;
    let mut outside = vec![1u8; wide * high];
    pixels.iter().for_each(|at| outside[within(*at)] = 0);
    let far = distance(&outside, width + 2, height + 2)?;
    let farther = |best: usize, at: usize| if far[within(at)] > far[within(best)] { at } else { best };
    Ok(pixels.iter().copied().reduce(farther))
}
