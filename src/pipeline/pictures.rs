//! Pictures of masks, as PNG files' bytes.

use seg_data::output::{png, png_with_profile};
use seg_data::{GrayImage, RgbImage, render};

use super::Photo;
use super::error::Result;
use super::segmented::Mask;

pub use super::record::drawn;

/// A mask, 8 bits of grey: 255 inside, 0 outside; of models that give probabilities these.
///
/// # Errors
/// Those of encoding.
pub fn mask(levels: &GrayImage) -> Result<Vec<u8>> {
    Ok(png(levels)?)
}

/// The object alone, RGBA, in the photo's own colours, with its profile; where the photo is transparent, so is the cut-out.
///
/// # Errors
/// When the mask's size is not the photo's.
pub fn cutout(photo: &Photo, mask: &Mask) -> Result<Vec<u8>> {
    let loaded = &photo.loaded;
    let cutout = match &loaded.alpha {
        Some(alpha) => render::cutout(&loaded.image, &render::within_alpha(&mask.levels, alpha)?)?,
        None => render::cutout(&loaded.image, &mask.levels)?,
    };
    Ok(png_with_profile(&cutout, loaded.profile.as_ref())?)
}

/// The photo with the mask and the prompts drawn over it.
///
/// # Errors
/// When the mask's size is not the photo's.
pub fn overlay(seen: &RgbImage, mask: &Mask, prompts: &render::Prompts) -> Result<Vec<u8>> {
    Ok(png(&render::overlay(seen, &mask.levels, prompts, &render::OverlayStyle::default())?)?)
}

/// Coarse and exact mask side by side.
///
/// # Errors
/// When a mask's size is not the photo's.
pub fn compare(seen: &RgbImage, coarse: &GrayImage, exact: &Mask) -> Result<Vec<u8>> {
    // a line along the edge would hide what is as thin as itself
    let style = render::OverlayStyle { contour_width: 0.0, tint_opacity: 0.7, dim: 0.5, ..Default::default() };
    Ok(png(&render::compare(seen, &[coarse, &exact.levels], &render::Prompts::default(), &style)?)?)
}
