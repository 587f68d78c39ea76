//! Anti-aliased circles and rectangles: each pixel's colour is mixed by how far its centre lies inside the shape.

use image::{Rgb, RgbImage};

const GREEN: [u8; 3] = [40, 200, 80];
const RED: [u8; 3] = [230, 45, 45];
const YELLOW: [u8; 3] = [255, 215, 0];
const WHITE: [u8; 3] = [255, 255, 255];
const DARK: [u8; 3] = [20, 20, 20];

/// Radius of a point's coloured disc and width of its rim, at 1024 pixels.
const DISC: f32 = 6.5;
const RIM: f32 = 2.0;
/// Half the width of a box's line and of the dark line around it, at 1024 pixels.
const LINE: f32 = 1.25;
const SHADE: f32 = 0.9;

/// Mixes `colour` into `pixel`.
pub(super) fn blend(pixel: &mut [u8; 3], colour: [u8; 3], opacity: f32) {
    for (p, c) in pixel.iter_mut().zip(colour) {
        let v = f32::from(*p);
        *p = (v + (f32::from(c) - v) * opacity.clamp(0.0, 1.0) + 0.5) as u8;
    }
}

/// A disc with a white rim, and a thin shade around it so that it shows on white too.
pub(super) fn point(image: &mut RgbImage, (x, y): (f32, f32), positive: bool, unit: f32) {
    let unit = unit.max(0.5);
    let disc = DISC * unit;
    let rim = disc + RIM * unit;
    let shade = rim + 0.75 * unit;
    let colour = if positive { GREEN } else { RED };
    let area = [x - shade, y - shade, x + shade, y + shade];
    for_each(image, area, |pixel, px, py| {
        let d = (px - x).hypot(py - y);
        blend(pixel, DARK, 0.6 * cover(shade - d));
        blend(pixel, WHITE, cover(rim - d));
        blend(pixel, colour, cover(disc - d));
    });
}

/// A yellow outline with a dark one around it.
pub(super) fn rectangle(image: &mut RgbImage, [x0, y0, x1, y1]: [f32; 4], unit: f32) {
    let (x0, x1, y0, y1) = (x0.min(x1), x0.max(x1), y0.min(y1), y0.max(y1));
    let line = (LINE * unit).max(0.75);
    let shade = line + (SHADE * unit).max(0.5);
    let outline = |pixel: &mut [u8; 3], px: f32, py: f32| {
        // distance to the outline: outside as to a rectangle, inside to the nearest side
        let (dx, dy) = ((x0 - px).max(px - x1), (y0 - py).max(py - y1));
        let d = if dx.max(dy) > 0.0 { dx.max(0.0).hypot(dy.max(0.0)) } else { -dx.max(dy) };
        blend(pixel, DARK, 0.6 * cover(shade - d));
        blend(pixel, YELLOW, cover(line - d));
    };
    let s = shade + 1.0;
    // four strips, not the whole area; the side strips leave out the corners, which are drawn already
    for_each(image, [x0 - s, y0 - s, x1 + s, y0 + s], outline);
    for_each(image, [x0 - s, (y1 - s).max(y0 + s).floor() + 1.0, x1 + s, y1 + s], outline);
    let (top, bottom) = ((y0 + s).floor() + 1.0, ((y1 - s).max(y0 + s).floor() + 1.0).ceil() - 1.0);
    for_each(image, [x0 - s, top, x0 + s, bottom], outline);
    for_each(image, [(x1 - s).max(x0 + s).floor() + 1.0, top, x1 + s, bottom], outline);
}

/// How much of a pixel is covered, from the signed distance of its centre to the edge.
pub(super) fn cover(depth: f32) -> f32 {
    (depth + 0.5).clamp(0.0, 1.0)
}

/// Calls `f(pixel, x, y)` for the pixels of the image whose centres lie in `[x0, y0, x1, y1]`.
fn for_each(image: &mut RgbImage, [x0, y0, x1, y1]: [f32; 4], f: impl Fn(&mut [u8; 3], f32, f32)) {
    let (w, h) = image.dimensions();
    // NaN and anything off the image clamp to an empty or a cut range
    let range = |lo: f32, hi: f32, n: u32| lo.ceil().max(0.0) as u32..((hi.floor() + 1.0).clamp(0.0, n as f32)) as u32;
    for y in range(y0, y1, h) {
        for x in range(x0, x1, w) {
            let Rgb(pixel) = image.get_pixel_mut(x, y);
            f(pixel, x as f32, y as f32);
        }
    }
}
