//! Pictures of predictions: a row an example, with the image, the truth and the answer.

use crate::Result;
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
        let grey = |mask: &GrayImage| DynamicImage::ImageLuma8(mask.clone()).to_rgb8();
        for (column, panel) in [image.clone(), grey(truth), grey(answer)].iter().enumerate() {
            let scale = f64::from(PANEL) / f64::from(panel.width().max(panel.height()).max(1));
            let side = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
            let small = resize(panel, side(panel.width()), side(panel.height()), FilterType::Triangle);
            let (x, y) = (GAP + column as u32 * step, GAP + row as u32 * step);
            replace(&mut sheet, &small, x.into(), y.into());
        }
    }
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    Ok(write_png(path, &sheet, Overwrite::Replace)?)
}
