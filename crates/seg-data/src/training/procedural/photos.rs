//! Folders of photos and of cut-outs.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use image::imageops;
use sha2::{Digest, Sha256};

use super::fill::Coverage;
use crate::training::Dice;
use crate::{
    DataError, DecodeLimits, GrayImage, PilFilter, Result, RgbImage, geometry, inputs, load_image, resize_pil,
};

/// Bytes of decoded photos that are kept: decoding one takes longer than making a picture.
const KEPT: usize = 256 << 20;

/// A photo, no larger than needed.
struct Photo {
    image: RgbImage,
    alpha: Option<GrayImage>,
}

#[derive(Default)]
struct Kept {
    photos: HashMap<PathBuf, Arc<Photo>>,
    bytes: usize,
}

/// The images of a folder, by name.
#[derive(Clone, Default)]
pub(super) struct Photos {
    files: Vec<PathBuf>,
    /// The longer side that photos are made smaller to.
    most: u32,
    kept: Arc<Mutex<Kept>>,
}

impl fmt::Debug for Photos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.files).finish()
    }
}

impl Photos {
    /// `longest` is the longest side of the pictures that they are for.
    pub fn read(folder: Option<&Path>, longest: f64) -> Result<Self> {
        let files = folder.map_or_else(|| Ok(Vec::new()), |folder| inputs::expand(&[folder]))?;
        Ok(Self { files, most: (2. * longest) as u32, kept: Arc::default() })
    }

    /// One of them, in sRGB, made smaller where it is much larger than a picture. `cut`: less what is around its alpha.
    fn any(&self, cut: bool, dice: &mut Dice) -> Result<(&Path, Arc<Photo>)> {
        let path =
            dice.pick(&self.files).ok_or_else(|| DataError::InputNotFound { input: "a folder of photos".into() })?;
        // only whole photos are put in, so that a panic elsewhere leaves nothing half done
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(photo) = kept().photos.get(path) {
            return Ok((path, photo.clone()));
        }
        let photo = Arc::new(self.load(path, cut)?);
        let bytes = photo.image.as_raw().len() + photo.alpha.as_ref().map_or(0, |alpha| alpha.as_raw().len());
        let mut kept = kept();
        if kept.bytes + bytes <= KEPT && kept.photos.insert(path.clone(), photo.clone()).is_none() {
            kept.bytes += bytes;
        }
        Ok((path, photo))
    }

    fn load(&self, path: &Path, cut: bool) -> Result<Photo> {
        let loaded = load_image(path, &DecodeLimits::default())?;
        let mut image = loaded.to_srgb().unwrap_or(loaded.image);
        let mut alpha = loaded.alpha.filter(|_| cut);
        if let Some(alpha) = &mut alpha {
            let (w, h) = alpha.dimensions();
            let [left, top, right, bottom] = geometry::extent(alpha.as_raw(), w, h)?.unwrap_or([0, 0, w, h]);
            *alpha = imageops::crop_imm(alpha, left, top, right - left, bottom - top).to_image();
            image = imageops::crop_imm(&image, left, top, right - left, bottom - top).to_image();
            // colours as thick as they are seen, so that those of transparent pixels do not bleed in when it is resized
            let thick = |v: u8, a: u8| (u16::from(v) * u16::from(a) / 255) as u8;
            image.pixels_mut().zip(alpha.pixels()).for_each(|(p, a)| p.0 = p.0.map(|v| thick(v, a[0])));
        }
        let (width, height) = image.dimensions();
        let shrink = f64::from(self.most) / f64::from(width.max(height));
        if shrink < 1. {
            let to = (((f64::from(width) * shrink) as u32).max(1), ((f64::from(height) * shrink) as u32).max(1));
            image = resize_pil(&image, to, PilFilter::Bilinear)?;
            alpha = alpha.map(|alpha| resize_pil(&alpha, to, PilFilter::Bilinear)).transpose()?;
        }
        Ok(Photo { image, alpha })
    }

    /// Adds names and contents.
    pub fn digest(&self, hash: &mut Sha256) -> Result<()> {
        for file in &self.files {
            let bytes = std::fs::read(file).map_err(|e| DataError::io(file, "read it", e))?;
            hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
            hash.update([0]);
            hash.update(Sha256::digest(&bytes));
        }
        Ok(())
    }

    /// A part of one of them, of the size wanted, mirrored or not.
    pub fn background(&self, (width, height): (u32, u32), dice: &mut Dice) -> Result<RgbImage> {
        let (_, photo) = self.any(false, dice)?;
        let photo = &photo.image;
        let (w, h) = photo.dimensions();
        let fits = (f64::from(w) / f64::from(width)).min(f64::from(h) / f64::from(height));
        let part = fits * dice.between(0.6, 1.);
        let cut = |whole: u32, wanted: u32| ((f64::from(wanted) * part) as u32).clamp(1, whole);
        let (wide, high) = (cut(w, width), cut(h, height));
        let (x, y) = (dice.below(u64::from(w - wide) + 1) as u32, dice.below(u64::from(h - high) + 1) as u32);
        let mut cut =
            resize_pil(&imageops::crop_imm(photo, x, y, wide, high).to_image(), (width, height), PilFilter::Bilinear)?;
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
        let (path, photo) = self.any(true, dice)?;
        let mut alpha = photo.alpha.clone().ok_or_else(|| DataError::Spec {
            name: spec.into(),
            key: "cutouts".into(),
            found: format!("a folder with {}, which has no transparent pixel", path.display()).into(),
            expected: "images with transparency around the object".into(),
        })?;
        let mut thick = photo.image.clone();
        if dice.chance(0.5) {
            imageops::flip_horizontal_in_place(&mut thick);
            imageops::flip_horizontal_in_place(&mut alpha);
        }
        let scale = longer / f64::from(alpha.width().max(alpha.height()));
        let to = |side: u32| ((f64::from(side) * scale) as u32).clamp(1, 8192);
        let to = (to(alpha.width()), to(alpha.height()));
        let alpha: GrayImage = resize_pil(&alpha, to, PilFilter::Bilinear)?;
        let mut colours: RgbImage = resize_pil(&thick, to, PilFilter::Bilinear)?;
        // lit a little otherwise than where it was taken
        let light = dice.between(0.75, 1.2) * 255.;
        colours.pixels_mut().zip(alpha.pixels()).for_each(|(p, a)| {
            p.0 = p.0.map(|v| (f64::from(v) * light / f64::from(a[0].max(1))) as u8);
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
