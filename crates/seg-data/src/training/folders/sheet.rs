//! A contact sheet of pairs, for the eye.

use std::collections::HashSet;

use image::imageops::replace;
use image::{GrayImage, Rgb, RgbImage};

use super::pairs::{Pair, Pairs};
use super::{Reading, Report, read_pair};
use crate::error::Result;
use crate::render::{OverlayStyle, Prompts, overlay};
use crate::resize::{PilFilter, resize_pil};
use crate::training::Example;

/// Width and height of a panel, and the space between panels.
const PANEL: (u32, u32) = (200, 160);
const GAP: u32 = 6;
/// Pairs in a row.
const COLUMNS: u32 = 3;
const PAPER: Rgb<u8> = Rgb([255; 3]);
/// Around a pair with which something is wrong.
const WRONG: Rgb<u8> = Rgb([220, 40, 40]);

/// A contact sheet, and what is on it.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// Pairs in rows: the picture with its mask drawn over it, and the mask. Those with which something is wrong have a red frame.
    pub image: RgbImage,
    /// The stems on it, a row each.
    pub rows: Vec<Vec<String>>,
}

impl Sheet {
    /// Sheets under each other.
    pub fn stack(sheets: Vec<Self>) -> Self {
        let width = sheets.iter().map(|sheet| sheet.image.width()).max().unwrap_or(1);
        let height = sheets.iter().map(|sheet| sheet.image.height()).sum::<u32>().max(1);
        let mut image = RgbImage::from_pixel(width, height, PAPER);
        let (mut rows, mut y) = (Vec::new(), 0);
        for sheet in sheets {
            replace(&mut image, &sheet.image, 0, y);
            y += i64::from(sheet.image.height());
            rows.extend(sheet.rows);
        }
        Self { image, rows }
    }
}

/// Draws up to `count` pairs: up to a third of them those with which something is wrong by the report, the others from all over the folder. Pairs that cannot
/// be read are left out.
///
/// # Errors
/// Those of resizing.
pub fn sheet(pairs: &Pairs, report: &Report, count: usize, reading: &Reading) -> Result<Sheet> {
    let chosen = choose(pairs, report, count);
    let mut cells = Vec::new();
    for (pair, wrong) in chosen {
        if let Ok(read) = read_pair(pair, reading) {
            cells.push((pair.stem.clone(), cell(&read.image, &read.mask.levels)?, wrong));
        }
    }
    Ok(arrange(cells))
}

/// Draws examples as [`sheet`] draws pairs.
///
/// # Errors
/// Those of resizing.
pub fn sheet_of(examples: &[Example]) -> Result<Sheet> {
    let cells = examples.iter().map(|e| Ok((e.name.clone(), cell(&e.image, &e.mask)?, false)));
    Ok(arrange(cells.collect::<Result<_>>()?))
}

/// Named cells in rows, those with a red frame with which something is wrong.
fn arrange(cells: Vec<(String, RgbImage, bool)>) -> Sheet {
    let columns = COLUMNS.min(cells.len().max(1) as u32);
    let rows = (cells.len() as u32).div_ceil(columns).max(1);
    let (width, height) = (2 * PANEL.0 + 3 * GAP, PANEL.1 + 2 * GAP);
    let mut out = RgbImage::from_pixel(columns * (width + GAP) + GAP, rows * (height + GAP) + GAP, PAPER);
    for (i, (_, cell, wrong)) in cells.iter().enumerate() {
        let (x, y) = (GAP + (i as u32 % columns) * (width + GAP), GAP + (i as u32 / columns) * (height + GAP));
        if *wrong {
            replace(&mut out, &RgbImage::from_pixel(width, height, WRONG), x.into(), y.into());
        }
        replace(&mut out, cell, (x + GAP / 2).into(), (y + GAP / 2).into());
    }
    let names: Vec<String> = cells.into_iter().map(|(stem, ..)| stem).collect();
    Sheet { image: out, rows: names.chunks(columns as usize).map(<[String]>::to_vec).collect() }
}

fn choose<'a>(pairs: &'a Pairs, report: &Report, count: usize) -> Vec<(&'a Pair, bool)> {
    let groups = report.same_pairs.iter().chain(&report.same_images);
    let mut wrong: HashSet<&String> =
        [&report.empty, &report.full, &report.void].into_iter().chain(groups).flatten().collect();
    wrong.extend(report.sizes_differ.iter().map(|d| &d.stem));
    let broken: HashSet<&String> = report.broken.iter().map(|b| &b.stem).collect();
    let readable = pairs.pairs.iter().filter(|pair| !broken.contains(&pair.stem));
    let (wrong, sound): (Vec<&Pair>, Vec<&Pair>) = readable.partition(|pair| wrong.contains(&pair.stem));
    let few = wrong.len().min(count.div_ceil(3).max(count.saturating_sub(sound.len())));
    let rest = sound.len().min(count.saturating_sub(few));
    let spread = (0..rest).map(|i| (sound[i * sound.len() / rest.max(1)], false));
    wrong.iter().take(few).map(|pair| (*pair, true)).chain(spread).collect()
}

/// The picture with the mask over it, and the mask; where sizes differ the picture alone.
fn cell(image: &RgbImage, levels: &GrayImage) -> Result<RgbImage> {
    let small = resize_pil(image, fit(image.dimensions()), PilFilter::Bilinear)?;
    let mask = resize_pil(levels, fit(levels.dimensions()), PilFilter::Bilinear)?;
    let grey = RgbImage::from_fn(mask.width(), mask.height(), |x, y| Rgb([mask.get_pixel(x, y).0[0]; 3]));
    let picture = if levels.dimensions() == image.dimensions() {
        // drawn after it was made small, so that the outline can be seen
        let style = OverlayStyle { tint_opacity: 0.3, dim: 0., contour: [255, 40, 40], ..OverlayStyle::default() };
        overlay(&small, &mask, &Prompts::default(), &style)?
    } else {
        small
    };
    let mut out = RgbImage::from_pixel(2 * PANEL.0 + 2 * GAP, PANEL.1 + GAP, Rgb([238; 3]));
    for (i, panel) in [picture, grey].iter().enumerate() {
        let left = GAP / 2 + i as u32 * (PANEL.0 + GAP) + (PANEL.0 - panel.width()) / 2;
        replace(&mut out, panel, left.into(), (GAP / 2 + (PANEL.1 - panel.height()) / 2).into());
    }
    Ok(out)
}

/// The size at which a picture fits into a panel.
fn fit((w, h): (u32, u32)) -> (u32, u32) {
    let scale = (f64::from(PANEL.0) / f64::from(w)).min(f64::from(PANEL.1) / f64::from(h));
    let side = |n: u32, most: u32| ((f64::from(n) * scale).round() as u32).clamp(1, most);
    (side(w, PANEL.0), side(h, PANEL.1))
}
