//! All masks of a photo, without prompts: SAM's automatic masks, and what is told and shown of them.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageBuffer, ImageEncoder, Luma};
use seg_data::output::png;
use seg_data::{DataError, GrayImage, RgbImage, labels};
use seg_models::automatic::AutomaticMaskRecord;
use seg_models::registry::{ModelKind, ModelName};
use seg_models::{AutomaticMask, AutomaticMaskConfig, AutomaticMaskGenerator, ImageEmbedding};
use serde::{Deserialize, Serialize};

use super::Pipeline;
use super::error::{Error, Result};
use super::frames::colour;
use super::record::with_files;

/// Numbers of masks, pixel by pixel; 0 where there is none.
pub type LabelMap = ImageBuffer<Luma<u16>, Vec<u16>>;

/// Most masks that a picture keeps: what a label map has numbers for.
pub const MOST: usize = u16::MAX as usize;

/// The official settings for this model; none for models that are not asked by clicks alone.
pub fn defaults(model: ModelName) -> Option<AutomaticMaskConfig> {
    match model {
        ModelName::PiSam(_) => None,
        ModelName::Sam2(..) => Some(AutomaticMaskConfig::sam2()),
        _ if model.kind() == ModelKind::Promptable => Some(AutomaticMaskConfig::sam()),
        _ => None,
    }
}

impl Pipeline {
    /// All masks of `image`, best first. `embedding`: the whole image's, where it is there already. `tell` is told how many clicks of how many are done, and says whether
    /// to go on: none when it did not.
    ///
    /// # Errors
    /// [`Error::NotEverything`]; those of the model.
    pub fn everything(
        &self,
        image: &RgbImage,
        embedding: Option<&ImageEmbedding>,
        settings: &AutomaticMaskConfig,
        tell: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Option<Vec<AutomaticMask>>> {
        let refused = Error::NotEverything { model: self.name() };
        let (Some(_), Some((_, model))) = (defaults(self.name()), self.encoder()) else { return Err(refused) };
        let generator = AutomaticMaskGenerator::new(model.as_ref(), settings.clone())?;
        let found = generator.generate_watched(image, embedding, tell)?;
        Ok(found.map(|mut masks| {
            masks.truncate(MOST);
            masks
        }))
    }
}

/// The JSON of a picture in which everything was looked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EverythingRecord {
    /// The image's name.
    pub image: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// The model's name.
    pub model: String,
    /// How it was looked for, under the official names.
    pub settings: AutomaticMaskConfig,
    /// Best first.
    pub masks: Vec<LabelledRecord>,
}

/// A mask, as the official code writes it, with its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LabelledRecord {
    /// In the label map, from 1.
    pub label: u32,
    /// All else.
    #[serde(flatten)]
    pub mask: AutomaticMaskRecord,
}

impl EverythingRecord {
    /// Of the `masks` of `image`, whose `size` is width and height.
    pub fn new(
        image: String,
        size: (u32, u32),
        model: ModelName,
        settings: &AutomaticMaskConfig,
        masks: &[AutomaticMask],
    ) -> Self {
        let masks = (1..).zip(masks).map(|(label, mask)| LabelledRecord { label, mask: mask.record() }).collect();
        let (settings, model) = (settings.clone(), model.to_string());
        Self { image, width: size.0, height: size.1, model, settings, masks }
    }

    /// One line for a program: the record with the `files` written.
    ///
    /// # Errors
    /// Those of serde.
    pub fn line(&self, files: Vec<String>) -> Result<String> {
        with_files(self, files)
    }
}

/// Which mask each pixel is of: the number of its place in `masks`, from 1. Where masks lie on each other, the smaller one is seen.
pub fn label_map(masks: &[AutomaticMask], (width, height): (u32, u32)) -> LabelMap {
    let mut map = LabelMap::new(width, height);
    let mut order: Vec<usize> = (0..masks.len().min(MOST)).collect();
    order.sort_by_key(|&at| (std::cmp::Reverse(masks[at].area), at));
    for at in order {
        let label = (at + 1) as u16;
        for (to, inside) in map.iter_mut().zip(masks[at].rle.decode()) {
            if inside != 0 {
                *to = label;
            }
        }
    }
    map
}

/// A label map as PNG: indexed, in DAVIS's colours, up to 255 masks; 16 bits of grey with more.
///
/// # Errors
/// Those of encoding.
pub fn label_png(map: &LabelMap) -> Result<Vec<u8>> {
    let (width, height) = map.dimensions();
    if map.iter().all(|label| *label <= 255) {
        let narrow = map.iter().map(|label| *label as u8).collect();
        let narrow = GrayImage::from_raw(width, height, narrow).unwrap_or_else(|| GrayImage::new(width, height));
        return Ok(labels::png(&narrow)?);
    }
    let mut bytes = Vec::new();
    let wide: Vec<u8> = map.iter().flat_map(|label| label.to_ne_bytes()).collect();
    let encoded = PngEncoder::new(&mut bytes).write_image(&wide, width, height, ExtendedColorType::L16);
    encoded.map_err(|error| DataError::Encode {
        what: format!("a PNG of {width}x{height} pixels of 16 bits"),
        reason: error.to_string(),
    })?;
    Ok(bytes)
}

/// The photo with each mask in a colour of its own, as PNG: tinted, with a line of the full colour where it ends.
///
/// # Errors
/// Those of encoding.
pub fn overlay(seen: &RgbImage, map: &LabelMap) -> Result<Vec<u8>> {
    const TINT: u32 = 115; // of 256
    let mut picture = seen.clone();
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let at = |x, y| map.get_pixel_checked(x, y).map_or(0, |label| label[0]);
        let label = at(x, y);
        let ends = || at(x + 1, y) != label || at(x, y + 1) != label;
        let part = match label {
            0 => continue,
            _ if ends() => 256,
            _ => TINT,
        };
        for (value, tint) in pixel.0.iter_mut().zip(colour(u32::from(label))) {
            *value = ((u32::from(*value) * (256 - part) + u32::from(tint) * part) >> 8) as u8;
        }
    }
    Ok(png(&picture)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use seg_data::Rle;

    fn mask(inside: &[u8]) -> AutomaticMask {
        let rle = Rle::encode(inside, 4, 1).unwrap();
        let (area, bbox) = (rle.area(), rle.bbox());
        AutomaticMask {
            rle,
            area,
            bbox,
            predicted_iou: 0.9,
            stability_score: 1.,
            point: [0.5, 0.5],
            crop_box: [0, 0, 4, 1],
        }
    }

    #[test]
    fn the_smaller_mask_lies_above() {
        let masks = [mask(&[0, 1, 0, 0]), mask(&[1, 1, 1, 0])];
        assert_eq!(label_map(&masks, (4, 1)).into_raw(), [2, 1, 2, 0]);
    }

    #[test]
    fn many_masks_take_sixteen_bits() {
        let few = LabelMap::from_raw(4, 1, vec![0, 1, 255, 3]).unwrap();
        let read = |bytes: &[u8]| image::load_from_memory(bytes).unwrap();
        assert_eq!(read(&label_png(&few).unwrap()).color(), image::ColorType::Rgb8, "a palette's");
        let many = LabelMap::from_raw(4, 1, vec![0, 1, 256, 40_000]).unwrap();
        assert_eq!(read(&label_png(&many).unwrap()).into_luma16().into_raw(), [0, 1, 256, 40_000]);
    }

    #[test]
    fn what_is_no_mask_stays_as_it_is() {
        let photo = RgbImage::from_pixel(4, 1, image::Rgb([10, 200, 30]));
        let map = label_map(&[mask(&[1, 1, 0, 0])], (4, 1));
        let drawn = image::load_from_memory(&overlay(&photo, &map).unwrap()).unwrap().into_rgb8();
        assert_eq!(drawn.get_pixel(3, 0), photo.get_pixel(3, 0));
        assert_eq!(drawn.get_pixel(1, 0).0, colour(1), "where it ends");
    }

    #[test]
    fn settings_are_those_of_the_model() {
        assert_eq!(defaults(ModelName::MobileSam), Some(AutomaticMaskConfig::sam()));
        assert_eq!(defaults("sam2.1-tiny".parse().unwrap()), Some(AutomaticMaskConfig::sam2()));
        for name in ["is-net", "sam+isnet", "pi-sam-b", "mpg-sam2"] {
            assert_eq!(defaults(name.parse().unwrap()), None, "{name}");
        }
    }
}
