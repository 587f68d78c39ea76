//! Several masks of one photo as one picture.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageBuffer, ImageEncoder, Luma};
use seg_data::output::png;
use seg_data::{DataError, GrayImage, RgbImage, Rle, labels};

use super::error::Result;
use super::frames::colour;

/// Numbers of masks, pixel by pixel; 0 where there is none.
pub type LabelMap = ImageBuffer<Luma<u16>, Vec<u16>>;

/// Most masks of a picture: what a label map has numbers for.
pub const MOST: usize = u16::MAX as usize;

/// Which mask each pixel is of: the number of its place in `masks`, from 1. Where masks lie on each other, the smaller one is seen.
pub fn label_map<'m>(masks: impl IntoIterator<Item = &'m Rle>, (width, height): (u32, u32)) -> LabelMap {
    let mut map = LabelMap::new(width, height);
    let mut order: Vec<(u16, &Rle)> = (1..=u16::MAX).zip(masks).collect();
    order.sort_by_key(|(label, mask)| (std::cmp::Reverse(mask.area()), *label));
    for (label, mask) in order {
        for (to, inside) in map.iter_mut().zip(mask.decode()) {
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

    fn mask(inside: &[u8]) -> Rle {
        Rle::encode(inside, 4, 1).unwrap()
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
        let map = label_map([&mask(&[1, 1, 0, 0])], (4, 1));
        let drawn = image::load_from_memory(&overlay(&photo, &map).unwrap()).unwrap().into_rgb8();
        assert_eq!(drawn.get_pixel(3, 0), photo.get_pixel(3, 0));
        assert_eq!(drawn.get_pixel(1, 0).0, colour(1), "where it ends");
    }
}
