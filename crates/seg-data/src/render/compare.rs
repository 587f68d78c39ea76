//! Masks of one object, side by side.

use image::imageops::{FilterType, crop_imm, resize};
use image::{GrayImage, RgbImage};

use super::{OverlayStyle, Prompts, overlay};
use crate::error::Result;
use crate::geometry::extent;
use crate::mask::to_binary;

/// Longest side of a panel, in pixels: larger ones are reduced to it, and those under half of it enlarged to that.
const PANEL: u32 = 1200;
/// Pixels between panels.
const GAP: u32 = 12;

/// One panel for each mask, from left to right: the photo with the mask over it, cut to the surroundings of all masks together, so that thin parts can be
/// seen. Panels are at most 1200 pixels wide and high.
///
/// # Errors
/// When a mask has another size than the image.
pub fn compare(image: &RgbImage, masks: &[&GrayImage], prompts: &Prompts, style: &OverlayStyle) -> Result<RgbImage> {
    let [x0, y0, x1, y1] = window(image, masks)?;
    let (width, height) = (x1 - x0, y1 - y0);
    let longer = f64::from(width.max(height).max(1));
    let scale = (f64::from(PANEL) / longer).min((f64::from(PANEL / 2) / longer).max(1.0));
    let scaled = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
    let (panel_width, panel_height) = (scaled(width), scaled(height));
    let count = masks.len() as u32;
    let mut out = RgbImage::from_pixel(
        count * panel_width + count.saturating_sub(1) * GAP,
        panel_height,
        image::Rgb([255, 255, 255]),
    );
    for (i, mask) in masks.iter().enumerate() {
        let drawn = overlay(image, mask, prompts, style)?;
        let cut = crop_imm(&drawn, x0, y0, width, height).to_image();
        let panel = if scale == 1.0 { cut } else { resize(&cut, panel_width, panel_height, FilterType::Triangle) };
        image::imageops::replace(&mut out, &panel, i64::from(i as u32 * (panel_width + GAP)), 0);
    }
    Ok(out)
}

/// Left, top, right, bottom (exclusive) of all masks with a tenth of their longer side around them; the whole image where all are empty.
fn window(image: &RgbImage, masks: &[&GrayImage]) -> Result<[u32; 4]> {
    let (w, h) = image.dimensions();
    let mut all: Option<[u32; 4]> = None;
    for mask in masks {
        let Some([a, b, c, d]) = extent(&to_binary(mask), mask.width(), mask.height())? else { continue };
        all = Some(all.map_or([a, b, c, d], |[x0, y0, x1, y1]| [x0.min(a), y0.min(b), x1.max(c), y1.max(d)]));
    }
    let Some([x0, y0, x1, y1]) = all else { return Ok([0, 0, w, h]) };
    let margin = x1.saturating_sub(x0).max(y1.saturating_sub(y0)) / 10;
    Ok([x0.saturating_sub(margin), y0.saturating_sub(margin), (x1 + margin).min(w), (y1 + margin).min(h)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_show_the_surroundings_of_all_masks() {
        let image = RgbImage::from_pixel(100, 60, image::Rgb([200, 100, 50]));
        let square = |x0: u32| {
            GrayImage::from_fn(100, 60, |x, y| {
                image::Luma([u8::from((x0..x0 + 20).contains(&x) && (10..30).contains(&y)) * 255])
            })
        };
        let (left, right) = (square(10), square(30));
        let out = compare(&image, &[&left, &right], &Prompts::default(), &OverlayStyle::default()).unwrap();
        // x 10..50 and y 10..30 with a margin of 4, enlarged
        assert_eq!(out.dimensions(), (600 * 2 + GAP, 350));
        assert_ne!(out.get_pixel(175, 175), out.get_pixel(600 + GAP + 175, 175), "each panel has its own mask");
        let empty = GrayImage::new(100, 60);
        let whole = compare(&image, &[&empty], &Prompts::default(), &OverlayStyle::default()).unwrap();
        assert_eq!(whole.dimensions(), (600, 360));
        let small = GrayImage::new(10, 10);
        assert!(compare(&image, &[&small], &Prompts::default(), &OverlayStyle::default()).is_err());
    }
}
