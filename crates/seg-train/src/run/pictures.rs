//! Pictures of predictions: a row an example, with the image, the truth and the answer; of a clip a row each of them.

use crate::Result;
use crate::log::Canvas;
use image::imageops::{FilterType, replace, resize};
use image::{DynamicImage, GrayImage, Rgb, RgbImage};
use seg_data::output::{Overwrite, create_folder, write_png};
use std::path::Path;

/// The longer side of a panel, and the space between panels, in pixels.
const PANEL: u32 = 256;
const GAP: u32 = 6;

/// Writes the sheet; one that is there is replaced.
pub(super) fn write(path: &Path, rows: &[(RgbImage, GrayImage, GrayImage)]) -> Result<()> {
    let step = PANEL + GAP;
    let mut sheet = RgbImage::from_pixel(3 * step + GAP, rows.len() as u32 * step + GAP, Rgb([255; 3]));
    for (row, (image, truth, answer)) in rows.iter().enumerate() {
        for (column, panel) in [image.clone(), grey(truth), grey(answer)].iter().enumerate() {
            put(&mut sheet, panel, PANEL, (GAP + column as u32 * step, GAP + row as u32 * step));
        }
    }
    save(path, &sheet)
}

/// A clip with what was said of it, what is meant, and what was answered.
pub(super) struct ClipRow {
    pub sentence: String,
    pub frames: Vec<RgbImage>,
    pub truths: Vec<GrayImage>,
    pub answers: Vec<GrayImage>,
}

/// The longer side of a clip's panel, the height of its sentence, and how many of its frames are shown at most.
const FRAME: u32 = 128;
const CAPTION: u32 = 20;
const SHOWN: usize = 8;

/// Writes a sheet of clips, each a sentence above three rows: frames, truths, answers; of single frames they are one row. Of long clips frames are shown that lie
/// evenly in it.
pub(super) fn write_clips(path: &Path, clips: &[ClipRow]) -> Result<()> {
    let step = FRAME + GAP;
    let columns = clips.iter().map(|clip| clip.frames.len().min(SHOWN)).max().unwrap_or(1).max(3) as u32;
    let single = clips.iter().all(|clip| clip.frames.len() == 1);
    let height = CAPTION + if single { step } else { 3 * step } + GAP;
    let size = (columns * step + GAP, clips.len() as u32 * height + GAP);
    let mut sheet = Canvas::new(RgbImage::from_pixel(size.0, size.1, Rgb([255; 3])));
    for (row, clip) in clips.iter().enumerate() {
        let top = row as u32 * height + GAP;
        sheet.caption(&clip.sentence, (GAP as i32, top as i32 + 12));
        let count = clip.frames.len().min(SHOWN);
        for column in 0..count {
            let at = column * (clip.frames.len() - 1) / (count.max(2) - 1);
            let panels = [clip.frames[at].clone(), grey(&clip.truths[at]), grey(&clip.answers[at])];
            for (line, panel) in (0..).zip(&panels) {
                let (column, line) = if single { (line, 0) } else { (column as u32, line) };
                put(sheet.image(), panel, FRAME, (GAP + column * step, top + CAPTION + line * step));
            }
        }
    }
    save(path, sheet.image())
}

fn grey(mask: &GrayImage) -> RgbImage {
    DynamicImage::ImageLuma8(mask.clone()).to_rgb8()
}

/// Puts a picture, made so small or large that its longer side is `side`.
fn put(sheet: &mut RgbImage, panel: &RgbImage, side: u32, (x, y): (u32, u32)) {
    let scale = f64::from(side) / f64::from(panel.width().max(panel.height()).max(1));
    let scaled = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
    let small = resize(panel, scaled(panel.width()), scaled(panel.height()), FilterType::Triangle);
    replace(sheet, &small, x.into(), y.into());
}

fn save(path: &Path, sheet: &RgbImage) -> Result<()> {
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    Ok(write_png(path, sheet, Overwrite::Replace)?)
}
