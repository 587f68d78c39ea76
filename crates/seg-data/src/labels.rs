//! Label maps as indexed PNGs, as DAVIS keeps its annotations: the pixel's value is the number of its object, 0 is background.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::GrayImage;

use crate::decode::DecodeLimits;
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

/// Reads a label map: the numbers behind the colours of an indexed PNG. `None` for any other file, which has no numbers.
///
/// # Errors
/// A file that cannot be read, is over the limits, or is damaged.
pub fn load(path: impl AsRef<Path>, limits: &DecodeLimits) -> Result<Option<GrayImage>> {
    let path = path.as_ref();
    let name = path.display().to_string();
    let reading = |e| DataError::io(path, "open it", e);
    limits.check_file(&name, std::fs::metadata(path).map_err(reading)?.len())?;
    let decoder = png::Decoder::new(BufReader::new(File::open(path).map_err(reading)?));
    // no PNG, or one that the caller reads in another way
    let Ok(mut reader) = decoder.read_info() else { return Ok(None) };
    let (width, height, depth) = (reader.info().width, reader.info().height, reader.info().bit_depth);
    if reader.info().color_type != png::ColorType::Indexed {
        return Ok(None);
    }
    limits.check_header(&name, width, height, 2 * u64::from(width) * u64::from(height))?;
    let fail = |reason: String| DataError::Decode { name: name.clone(), format: "PNG", reason };
    let size = reader.output_buffer_size().ok_or_else(|| fail("its size overflows".into()))?;
    let mut packed = vec![0; size];
    let info = reader.next_frame(&mut packed).map_err(|e| fail(one_line(&e.to_string())))?;
    let bits = match depth {
        png::BitDepth::One => 1,
        png::BitDepth::Two => 2,
        png::BitDepth::Four => 4,
        _ => 8,
    };
    let per_byte = 8 / bits;
    let label = |x: u32, y: u32| {
        let (x, row) = (x as usize, y as usize * info.line_size);
        let byte = packed.get(row + x / per_byte).copied().unwrap_or(0);
        let shift = 8 - bits * (x % per_byte + 1);
        (byte >> shift) & (0xff >> (8 - bits)) as u8
    };
    Ok(Some(GrayImage::from_fn(width, height, |x, y| [label(x, y)].into())))
}
