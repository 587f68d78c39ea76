//! Pictures for people: cut-outs and overlays.

mod compare;
mod draw;
mod edge;

pub use compare::compare;

use image::{GrayImage, Rgb, RgbImage, Rgba, RgbaImage};
use rayon::prelude::*;

use crate::error::{DataError, Result};

/// The photo's own colours with the mask as alpha: `height × width` RGBA, not premultiplied. Colours are kept where
/// alpha is 0, so that an editor can bring them back.
///
/// A probability mask gives soft edges, a binary one (0 and 255) hard ones.
///
/// # Errors
/// When the two sizes differ.
pub fn cutout(image: &RgbImage, mask: &GrayImage) -> Result<RgbaImage> {
    check_same(image, mask)?;
    let mut out = RgbaImage::new(image.width(), image.height());
    let chunk = 1 << 14;
    out.par_chunks_mut(4 * chunk)
        .zip(image.as_raw().par_chunks(3 * chunk).zip(mask.as_raw().par_chunks(chunk)))
        .for_each(|(out, (rgb, alpha))| {
            for (o, (p, &a)) in out.chunks_exact_mut(4).zip(rgb.chunks_exact(3).zip(alpha)) {
                o[..3].copy_from_slice(p);
                o[3] = a;
            }
        });
    Ok(out)
}

/// The mask where the image is opaque: what lies in `alpha`'s transparent parts is no part of any object. `round(mask·alpha / 255)`.
///
/// # Errors
/// When the two sizes differ.
pub fn within_alpha(mask: &GrayImage, alpha: &GrayImage) -> Result<GrayImage> {
    if mask.dimensions() != alpha.dimensions() {
        let [found, expected] = [alpha, mask].map(|i| format!("{}x{}", i.width(), i.height()));
        return Err(DataError::size("the alpha's size", found, expected));
    }
    let times = |(&m, &a): (&u8, &u8)| ((u32::from(m) * u32::from(a) + 127) / 255) as u8;
    let values = mask.as_raw().iter().zip(alpha.as_raw()).map(times).collect();
    Ok(GrayImage::from_raw(mask.width(), mask.height(), values).unwrap_or_default())
}

/// A cut-out laid over one colour: what a browser shows on a page of that colour.
pub fn flatten(cutout: &RgbaImage, background: [u8; 3]) -> RgbImage {
    let mut out = RgbImage::new(cutout.width(), cutout.height());
    for (o, Rgba([r, g, b, a])) in out.pixels_mut().zip(cutout.pixels()) {
        *o = Rgb(background);
        draw::blend(&mut o.0, [*r, *g, *b], f32::from(*a) / 255.0);
    }
    out
}

/// What the user pointed at, in pixels of the image; `(0, 0)` is the top left corner of the first pixel's centre, as
/// everywhere.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompts {
    /// `(x, y, positive)`: green when positive, red when negative.
    pub points: Vec<(f32, f32, bool)>,
    /// `[x0, y0, x1, y1]`: yellow.
    pub boxes: Vec<[f32; 4]>,
}

/// How an overlay looks. Line widths and circles grow with the image, so that they look alike at any size.
#[derive(Debug, Clone, PartialEq)]
pub struct OverlayStyle {
    /// Colour laid over the mask.
    pub tint: [u8; 3],
    /// How strongly, 0..1.
    pub tint_opacity: f32,
    /// Colour of the line along the mask's edge.
    pub contour: [u8; 3],
    /// Width of that line at an image of 1024 pixels on its longer side; it grows in proportion, and is never under
    /// 1.5 pixels. 0 leaves it out.
    pub contour_width: f32,
    /// How much the background is darkened, 0..1.
    pub dim: f32,
}

impl Default for OverlayStyle {
    fn default() -> Self {
        Self { tint: [30, 144, 255], tint_opacity: 0.5, contour: [255, 255, 255], contour_width: 2.0, dim: 0.35 }
    }
}

/// The photo with the mask tinted, a crisp line along its edge, the background a little darker, and the prompts drawn.
///
/// The tint follows the mask's value (0..255); the line runs where it crosses 128.
///
/// # Errors
/// When the two sizes differ.
pub fn overlay(image: &RgbImage, mask: &GrayImage, prompts: &Prompts, style: &OverlayStyle) -> Result<RgbImage> {
    check_same(image, mask)?;
    let (w, h) = image.dimensions();
    let mut out = image.clone();
    if w == 0 || h == 0 {
        return Ok(out);
    }
    let unit = w.max(h) as f32 / 1024.0;
    tint(&mut out, mask, style);
    if style.contour_width > 0.0 {
        let half = (style.contour_width * unit).max(1.5) / 2.0;
        edge::stroke(&mut out, mask, half, style.contour);
    }
    for &rect in &prompts.boxes {
        draw::rectangle(&mut out, rect, unit);
    }
    for &(x, y, positive) in &prompts.points {
        draw::point(&mut out, (x, y), positive, unit);
    }
    Ok(out)
}

fn tint(out: &mut RgbImage, mask: &GrayImage, style: &OverlayStyle) {
    let w = out.width() as usize;
    let keep = 1.0 - style.dim.clamp(0.0, 1.0);
    out.par_chunks_mut(3 * w).zip(mask.as_raw().par_chunks(w)).for_each(|(out, mask)| {
        for (p, &m) in out.chunks_exact_mut(3).zip(mask) {
            let inside = f32::from(m) / 255.0;
            let strength = inside * style.tint_opacity;
            let light = keep + (1.0 - keep) * inside;
            for (v, t) in p.iter_mut().zip(style.tint) {
                let photo = f32::from(*v) * light;
                *v = (photo + (f32::from(t) - photo) * strength + 0.5) as u8;
            }
        }
    });
}

fn check_same(image: &RgbImage, mask: &GrayImage) -> Result<()> {
    if image.dimensions() == mask.dimensions() {
        return Ok(());
    }
    let text = |(w, h): (u32, u32)| format!("{w}x{h} pixels");
    let expected = format!("{} like the image", text(image.dimensions()));
    Err(DataError::size("the mask", text(mask.dimensions()), expected))
}
