//! Pillow's `Image.transform` with an affine matrix, and what `Image.rotate` asks of it.
//!
//! Source: Pillow, `src/libImaging/Geometry.c`. Measured with 12.3 and 13.0. Its bicubic filter is another than that of
//! `resize` (`findings/pillow_two_bicubics.sh`).

use image::{GrayImage, RgbImage};
use rayon::prelude::*;

use super::follow::Map;

/// The matrix of `Image.rotate(degrees)`, from places of the result to those of the source.
pub(super) fn rotation(degrees: f64, (width, height): (u32, u32)) -> Map {
    let angle = -degrees.rem_euclid(360.).to_radians();
    // Python rounds to 15 decimals, so that a quarter turn has a cosine of 0
    let round = |v: f64| (v * 1e15).round() / 1e15;
    let (cos, sin) = (round(angle.cos()), round(angle.sin()));
    let (x, y) = (f64::from(width) / 2., f64::from(height) / 2.);
    let turned = Map([cos, sin, 0., -sin, cos, 0.]);
    let (dx, dy) = turned.point(-x, -y);
    Map([cos, sin, dx + x, -sin, cos, dy + y])
}

/// The picture through a matrix, bicubic (a = -1) or bilinear; `fill` where the source has nothing.
pub(super) fn smooth(image: &RgbImage, map: &Map, bicubic: bool, fill: [u8; 3]) -> RgbImage {
    let (w, h) = image.dimensions();
    let mut out = RgbImage::from_pixel(w, h, image::Rgb(fill));
    let [a, b, c, d, e, f] = map.0;
    out.par_chunks_mut(3 * w as usize).enumerate().for_each(|(y, row)| {
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let (at_x, at_y) = (x as f64 + 0.5, y as f64 + 0.5);
            let (from_x, from_y) = (a * at_x + b * at_y + c, d * at_x + e * at_y + f);
            let within = |v: f64, side: u32| (0. ..f64::from(side)).contains(&v);
            if within(from_x, w) && within(from_y, h) {
                let found = if bicubic {
                    cubic(image, from_x - 0.5, from_y - 0.5)
                } else {
                    linear(image, from_x - 0.5, from_y - 0.5)
                };
                pixel.copy_from_slice(&found);
            }
        }
    });
    out
}

/// The row or column within the picture, and the part behind it.
fn split(v: f64) -> (i64, f64) {
    (v.floor() as i64, v - v.floor())
}

fn clip(v: i64, side: u32) -> u32 {
    v.clamp(0, i64::from(side) - 1) as u32
}

fn linear(image: &RgbImage, x: f64, y: f64) -> [u8; 3] {
    let ((x, dx), (y, dy)) = (split(x), split(y));
    let (w, h) = image.dimensions();
    let mix = |a: f64, b: f64, part: f64| a + (b - a) * part;
    let row = |y: i64, c: usize| {
        let at = |x: i64| f64::from(image.get_pixel(clip(x, w), clip(y, h)).0[c]);
        mix(at(x), at(x + 1), dx)
    };
    std::array::from_fn(|c| {
        let upper = row(y, c);
        let lower = if (0..i64::from(h)).contains(&(y + 1)) { row(y + 1, c) } else { upper };
        mix(upper, lower, dy) as u8
    })
}

fn cubic(image: &RgbImage, x: f64, y: f64) -> [u8; 3] {
    let ((x, dx), (y, dy)) = (split(x), split(y));
    let (w, h) = image.dimensions();
    let mix = |[v1, v2, v3, v4]: [f64; 4], d: f64| {
        let (p1, p2, p3, p4) = (v2, -v1 + v3, 2. * (v1 - v2) + v3 - v4, -v1 + v2 - v3 + v4);
        p1 + d * (p2 + d * (p3 + d * p4))
    };
    std::array::from_fn(|c| {
        let row = |y: i64| {
            let at = |x: i64| f64::from(image.get_pixel(clip(x, w), clip(y, h)).0[c]);
            mix([at(x - 1), at(x), at(x + 1), at(x + 2)], dx)
        };
        let first = row(clip(y - 1, h).into());
        // a row below the picture is taken to be like the one above it
        let mut rows = [first; 4];
        for i in 1..4 {
            let below = y - 1 + i as i64;
            rows[i] = if (0..i64::from(h)).contains(&below) { row(below) } else { rows[i - 1] };
        }
        mix(rows, dy).clamp(0., 255.) as u8
    })
}

/// A mask through a matrix, the nearest pixel, 0 where the source has nothing: in fixed point with 16 fractional bits.
pub(super) fn nearest(mask: &GrayImage, map: &Map) -> GrayImage {
    let (w, h) = mask.dimensions();
    let [a, b, c, d, e, f] = map.0;
    let fixed = |v: f64| (v * 65536. + 0.5).floor() as i64;
    let (step_x, step_y) = ([fixed(a), fixed(d)], [fixed(b), fixed(e)]);
    let start = [fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5)];
    let mut out = GrayImage::new(w, h);
    for (y, row) in out.chunks_exact_mut((w as usize).max(1)).enumerate() {
        let mut at: [i64; 2] = std::array::from_fn(|i| start[i] + y as i64 * step_y[i]);
        for value in row {
            let [x, y] = at.map(|v| v >> 16);
            if (0..i64::from(w)).contains(&x) && (0..i64::from(h)).contains(&y) {
                *value = mask.get_pixel(x as u32, y as u32).0[0];
            }
            at = std::array::from_fn(|i| at[i] + step_x[i]);
        }
    }
    out
}
