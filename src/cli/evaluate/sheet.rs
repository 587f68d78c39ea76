//! The contact sheet of the worst cases: prediction, ground truth, and where they differ, a row a pair.

use std::fmt::Write as _;
use std::path::Path;

use base64::Engine as _;
use image::imageops::FilterType;
use image::{GrayImage, Luma, Rgb, RgbImage};
use seg_data::DecodeLimits;
use seg_data::output::{Overwrite, png, write};

use super::pairs::Pairs;
use super::plots::{escape, file_name};
use super::reading::{Read, read};
use super::report::Report;

/// Width and height of a panel, and the space between panels.
const PANEL: (u32, u32) = (240, 180);
const GAP: u32 = 8;
/// Height of a row's caption in the SVG.
const CAPTION: u32 = 20;

/// Right, missed, and wrongly found foreground.
const RIGHT: [u8; 3] = [225, 225, 225];
const MISSED: [u8; 3] = [60, 120, 255];
const EXTRA: [u8; 3] = [235, 60, 50];

/// Writes the sheet of one report, if it has errors to sort by; returns what was written. The PNG has the panels alone,
/// the SVG names and values too.
pub fn write_sheet(
    report: &Report,
    pairs: &Pairs,
    limits: &DecodeLimits,
    count: usize,
    folder: &Path,
    overwrite: Overwrite,
) -> anyhow::Result<Vec<String>> {
    let mut worst: Vec<(&str, f64)> = Vec::new();
    for measured in report.all.pairs() {
        let measured = measured?;
        let Some((_, mae)) = measured.numbers().find(|(name, _)| *name == "mae") else { continue };
        // the first of equals stays first
        let place = worst.partition_point(|(_, other)| other.total_cmp(&mae).is_ge());
        worst.insert(place, (measured.stem, mae));
        worst.truncate(count);
    }
    if worst.is_empty() {
        return Ok(Vec::new());
    }
    let rows = worst.len() as u32;
    let (width, step) = (3 * PANEL.0 + 4 * GAP, PANEL.1 + GAP);
    let mut sheet = RgbImage::from_pixel(width, rows * step + GAP, Rgb([255; 3]));
    let mut captions = String::new();
    for (row, (stem, mae)) in worst.iter().enumerate() {
        let Some(pair) = pairs.iter().find(|pair| pair.stem == *stem) else { continue };
        let Read { pred, gt, .. } = read(&pair, report.all.protocol(), limits)?;
        for (column, panel) in panels(&pred, &gt).iter().enumerate() {
            let x = GAP + column as u32 * (PANEL.0 + GAP) + (PANEL.0 - panel.width()) / 2;
            image::imageops::replace(&mut sheet, panel, x.into(), (GAP + row as u32 * step).into());
        }
        let y = row as u32 * (step + CAPTION) + CAPTION - 5;
        let _ = writeln!(captions, "<text x=\"{GAP}\" y=\"{y}\">{}  MAE {mae:.4}</text>", escape(stem));
    }
    let name = format!("{}.{}.worst", file_name(&report.model), file_name(&report.dataset));
    let (png_name, svg_name) = (format!("{name}.png"), format!("{name}.svg"));
    write(folder.join(&png_name), &png(&sheet)?, overwrite)?;
    write(folder.join(&svg_name), svg(&sheet, rows, step, &captions)?.as_bytes(), overwrite)?;
    Ok(vec![png_name, svg_name])
}

/// The rows of the sheet as images of their own, each under its caption.
fn svg(sheet: &RgbImage, rows: u32, step: u32, captions: &str) -> anyhow::Result<String> {
    let (width, height) = (sheet.width(), rows * (step + CAPTION) + GAP);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for row in 0..rows {
        let strip = image::imageops::crop_imm(sheet, 0, GAP + row * step, width, PANEL.1).to_image();
        let data = base64::engine::general_purpose::STANDARD.encode(png(&strip)?);
        let y = row * (step + CAPTION) + CAPTION;
        let _ = writeln!(
            out,
            "<image x=\"0\" y=\"{y}\" width=\"{width}\" height=\"{}\" href=\"data:image/png;base64,{data}\"/>",
            PANEL.1
        );
    }
    let _ = writeln!(out, "{captions}</svg>");
    Ok(out)
}

fn panels(pred: &GrayImage, gt: &GrayImage) -> [RgbImage; 3] {
    let scale = (f64::from(PANEL.0) / f64::from(gt.width())).min(f64::from(PANEL.1) / f64::from(gt.height()));
    let side = |n: u32| ((f64::from(n) * scale).round() as u32).max(1);
    let (w, h) = (side(gt.width()).min(PANEL.0), side(gt.height()).min(PANEL.1));
    let small = |image: &GrayImage| image::imageops::resize(image, w, h, FilterType::Triangle);
    let (pred, gt) = (small(pred), small(gt));
    let gray = |image: &GrayImage| RgbImage::from_fn(w, h, |x, y| Rgb([image.get_pixel(x, y).0[0]; 3]));
    let difference = RgbImage::from_fn(w, h, |x, y| {
        let (Luma([p]), Luma([t])) = (*pred.get_pixel(x, y), *gt.get_pixel(x, y));
        Rgb(match (p > 128, t > 128) {
            (true, true) => RIGHT,
            (false, true) => MISSED,
            (true, false) => EXTRA,
            (false, false) => [0; 3],
        })
    });
    [gray(&pred), gray(&gt), difference]
}
