//! Label maps as indexed PNGs, as DAVIS keeps its annotations: the pixel's value is the number of its object, 0 is background.

use std::path::Path;

use image::GrayImage;

use crate::decode::{DecodeLimits, load_palette_labels};
use crate::error::{DataError, Result, one_line};

/// The 256 colours of PASCAL VOC and DAVIS: the bits of the number, spread over red, green and blue from the highest down.
pub fn palette() -> [[u8; 3]; 256] {
    std::array::from_fn(|label| {
        // bit 3k of the number goes to red, 3k + 1 to green, 3k + 2 to blue, each to its bit 7 - k
        let value = |channel: usize| (0..3).map(|k| ((label >> (3 * k + channel) & 1) as u8) << (7 - k)).sum();
        [value(0), value(1), value(2)]
    })
}

/// PNG bytes of a label map, with [`palette`].
///
/// # Errors
/// When the map has a side of 0.
pub fn png(labels: &GrayImage) -> Result<Vec<u8>> {
    let (width, height) = labels.dimensions();
    let fail = |e: png::EncodingError| DataError::Encode {
        what: format!("an indexed PNG of {width}x{height} pixels"),
        reason: one_line(&e.to_string()),
    };
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette().concat());
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().map_err(fail)?;
    writer.write_image_data(labels.as_raw()).map_err(fail)?;
    writer.finish().map_err(fail)?;
    Ok(bytes)
}

/// Reads a label map: the numbers behind the colours of an indexed PNG or TIFF. `None` for any other file, which has no numbers.
///
/// # Errors
/// A file that cannot be read, is over the limits, or is damaged.
pub fn load(path: impl AsRef<Path>, limits: &DecodeLimits) -> Result<Option<GrayImage>> {
    load_palette_labels(path.as_ref(), limits)
}
