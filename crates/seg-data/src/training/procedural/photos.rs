//! Folders of photos and of cut-outs.

use std::path::{Path, PathBuf};

use image::imageops;
use sha2::{Digest, Sha256};

use super::fill::Coverage;
use crate::training::Dice;
use crate::{
    DataError, DecodeLimits, GrayImage, PilFilter, Result, RgbImage, geometry, inputs, load_image, resize_pil,
};

/// The images of a folder, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Photos(Vec<PathBuf>);

impl Photos {
    pub fn read(folder: Option<&Path>) -> Result<Self> {
        folder.map_or_else(|| Ok(Self::default()), |folder| Ok(Self(inputs::expand(&[folder])?)))
    }

    /// Adds names and contents.
    pub fn digest(&self, hash: &mut Sha256) -> Result<()> {
        for file in &self.0 {
            let bytes = std::fs::read(file).map_err(|e| DataError::io(file, "read it", e))?;
            hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
            hash.update([0]);
            hash.update(Sha256::digest(&bytes));
        }
        Ok(())
    }

    fn any(&self, dice: &mut Dice) -> Result<&Path> {
        let empty = || DataError::InputNotFound { input: "a folder of photos".into() };
        dice.pick(&self.0).map(PathBuf::as_path).ok_or_else(empty)
    }

    /// A part of one of them, of the size wanted, mirrored or not.
    pub fn background(&self, (width, height): (u32, u32), dice: &mut Dice) -> Result<RgbImage> {
        let loaded = load_image(self.any(dice)?, &DecodeLimits::default())?;
        let photo = loaded.to_srgb().unwrap_or(loaded.image);
        let (w, h) = photo.dimensions();
        let fits = (f64::from(w) / f64::from(width)).min(f64::from(h) / f64::from(height));
        let part = fits * dice.between(0.6, 1.);
        let cut = |whole: u32, wanted: u32| ((f64::from(wanted) * part) as u32).clamp(1, whole);
        let (wide, high) = (cut(w, width), cut(h, height));
        let (x, y) = (dice.below(u64::from(w - wide) + 1) as u32, dice.below(u64::from(h - high) + 1) as u32);
        let mut cut =
            resize_pil(&imageops::crop_imm(&photo, x, y, wide, high).to_image(), (width, height), PilFilter::Bilinear)?;
        if dice.chance(0.5) {
            imageops::flip_horizontal_in_place(&mut cut);
        }
        Ok(cut)
    }

    /// One of them at a place: what it covers, and its colours in that window. `longer` is its longer side in pixels, `spec` what messages call the specification.
    pub fn cutout(
        &self,
        longer: f64,
        centre: [f64; 2],
        size: (u32, u32),
        dice: &mut Dice,
        spec: &str,
    ) -> Result<Option<(Coverage, RgbImage)>> {
        let path = self.any(dice)?;
        let loaded = load_image(path, &DecodeLimits::default())?;
        let alpha = loaded.alpha.as_ref().ok_or_else(|| DataError::Spec {
            name: spec.to_owned(),
            key: "cutouts".into(),
            found: format!("a folder with {}, which has no transparent pixel", path.display()),
            expected: "images with transparency around the object".into(),
        })?;
        let (w, h) = alpha.dimensions();
        let Some([left, top, right, bottom]) = geometry::extent(alpha.as_raw(), w, h)? else { return Ok(None) };
        let image = loaded.to_srgb().unwrap_or_else(|| loaded.image.clone());
        // colours as thick as they are seen, so that those of transparent pixels do not bleed in
        let mut thick = imageops::crop_imm(&image, left, top, right - left, bottom - top).to_image();
        let mut alpha = imageops::crop_imm(alpha, left, top, right - left, bottom - top).to_image();
        thick
            .pixels_mut()
            .zip(alpha.pixels())
            .for_each(|(p, a)| p.0 = p.0.map(|v| (u16::from(v) * u16::from(a[0]) / 255) as u8));
        if dice.chance(0.5) {
            imageops::flip_horizontal_in_place(&mut thick);
            imageops::flip_horizontal_in_place(&mut alpha);
        }
        let scale = longer / f64::from(alpha.width().max(alpha.height()));
        let to = |side: u32| ((f64::from(side) * scale) as u32).clamp(1, 8192);
        let to = (to(alpha.width()), to(alpha.height()));
        let alpha: GrayImage = resize_pil(&alpha, to, PilFilter::Bilinear)?;
        let mut colours: RgbImage = resize_pil(&thick, to, PilFilter::Bilinear)?;
        colours.pixels_mut().zip(alpha.pixels()).for_each(|(p, a)| {
            p.0 = p.0.map(|v| (u16::from(v) * 255 / u16::from(a[0].max(1))).min(255) as u8);
        });
        // the part within the picture
        let edge = |centre: f64, side: u32| (centre - f64::from(side) / 2.) as i64;
        let (x, y) = (edge(centre[0], to.0), edge(centre[1], to.1));
        let within = |at: i64, side: u32, all: u32| (at.max(0), (at + i64::from(side)).min(i64::from(all)));
        let ((x0, x1), (y0, y1)) = (within(x, to.0, size.0), within(y, to.1, size.1));
        if x1 <= x0 || y1 <= y0 {
            return Ok(None);
        }
        let (width, height) = ((x1 - x0) as u32, (y1 - y0) as u32);
        let window = ((x0 - x) as u32, (y0 - y) as u32);
        let levels = imageops::crop_imm(&alpha, window.0, window.1, width, height).to_image().into_raw();
        let colours = imageops::crop_imm(&colours, window.0, window.1, width, height).to_image();
        Ok(Some((Coverage { left: x0 as u32, top: y0 as u32, width, height, levels }, colours)))
    }
}
