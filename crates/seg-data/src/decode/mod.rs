//! Safe decoding: the header and the limits first, then the pixels, turned as a viewer shows them.
//!
//! | in the file | what comes out |
//! | --- | --- |
//! | grey, grey+alpha, palette | R = G = B, or the palette's colours |
//! | alpha | dropped, not composited, premultiplied colours divided by it: what PIL's `convert("RGB")` does, so that the model sees what the reference saw |
//! | 16 bits a channel | 8 bits by rounding, `(v·255 + 32767) / 65535` (PIL cuts the low byte off) |
//! | other numbers (TIFF) | float in 0..1 times 255; whole numbers by their type's largest; others as levels with a note, or refused with their range |
//! | CMYK, YCCK JPEG | RGB by the formula of PIL and libjpeg, without a colour profile |
//! | several frames (GIF, WebP, APNG, TIFF pages) | the first, on its canvas; a note says so |
//! | PBM, PGM, PPM, PAM | levels scaled by the largest that the header names |
//! | 16-bit BMP | levels of 5 and 6 bits cut as Pillow does, `v·255 / 31` |
//! | PNG without an end, with a damaged chunk that is not needed; GIF without a trailer | read, a note says so for PNG |
//! | an embedded colour profile | kept, not applied, as the reference does not either: [`LoadedImage::to_srgb`] applies it |
//! | EXIF / TIFF orientation 1 to 8, that of XMP or of a PNG's text where there is none | applied: everything else works in the pixels that a viewer shows |
//!
//! JPEG pixels are bit-equal to libjpeg-turbo's default decoding (accurate integer IDCT, triangle upsampling), which is
//! what PIL, OpenCV and torchvision use.

mod bmp_header;
pub(crate) mod canvas;
mod exif;
pub(crate) mod gif;
mod gif_blocks;
mod jpeg;
mod labels;
mod limits;
mod loader;
mod masks;
mod png_chunks;
mod png_text;
mod profile;
mod raster;
mod sniff;
mod tiff;
pub(crate) mod webp;

use std::borrow::Cow;
use std::fs::File;
use std::io::{Cursor, Read as _};
use std::path::Path;

pub use image::ImageFormat;
pub use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};

use crate::error::{DataError, Result};
use exif::Turn;
pub use labels::LabelImage;
pub use limits::DecodeLimits;
pub use loader::ImageLoader;
use loader::Room;
pub use profile::ColourProfile;
use profile::StoredProfile;

/// A decoded photo.
#[derive(Debug, Clone)]
pub struct LoadedImage {
    /// `height × width` RGB, 8 bits, as stored, orientation applied.
    pub image: RgbImage,
    /// What the numbers of `image` mean; none in a file that does not say, which is taken for sRGB.
    pub profile: Option<ColourProfile>,
    /// The container, recognised by content.
    pub format: ImageFormat,
    /// Transparency, 255 opaque, of the image's size; none where every pixel is opaque. A cut-out must not be more opaque.
    pub alpha: Option<GrayImage>,
    /// The orientation that the file asked for, and that was applied.
    pub orientation: Orientation,
    /// What the caller may want to tell the user ("only the first of several frames is used").
    pub notes: Vec<String>,
}

impl LoadedImage {
    /// `(width, height)` in pixels, as a viewer shows it.
    pub fn dimensions(&self) -> (u32, u32) {
        self.image.dimensions()
    }

    /// A mask that was made on the pixels as they are stored, turned as the picture is: where the picture is turned and the mask has its size as stored, and
    /// not also as shown.
    pub fn turn_as_stored(&self, mask: &GrayImage) -> Option<GrayImage> {
        let (width, height) = self.dimensions();
        let stored = self.orientation != Orientation::NoTransforms && mask.dimensions() == (height, width);
        (stored && width != height).then(|| turned(mask.clone(), self.orientation))
    }

    /// The picture in sRGB, where its colour profile is another one.
    pub fn to_srgb(&self) -> Option<RgbImage> {
        let profile = self.profile.as_ref().filter(|profile| !profile.is_srgb())?;
        profile.to_srgb(&self.image).ok()
    }
}

/// What all decoders here give: pixels not yet turned, and what was noticed on the way.
pub(crate) struct Decoded {
    pub pixels: DynamicImage,
    pub turn: Turn,
    pub profile: Option<StoredProfile>,
    pub notes: Vec<String>,
}

/// Reads and decodes an image file as RGB.
///
/// The format is recognised by content; the name's ending is not looked at. The header is read and checked against
/// `limits` before memory is taken for pixels.
///
/// # Errors
/// One line with the file's name, the value and what was expected: missing or unreadable file, not a regular file,
/// 0 bytes, not an image, a format that is not built in, a limit exceeded, truncated or damaged data.
pub fn load_image(path: impl AsRef<Path>, limits: &DecodeLimits) -> Result<LoadedImage> {
    let (format, decoded) = open(path.as_ref(), limits, &mut Room::default())?;
    Ok(finish(format, decoded))
}

/// Decodes an image held in memory; `name` is what error messages call it. See [`load_image`].
///
/// # Errors
/// As [`load_image`].
pub fn decode_image(bytes: &[u8], name: &str, limits: &DecodeLimits) -> Result<LoadedImage> {
    limits.check_file(name, bytes.len() as u64)?;
    let format = sniff::format(bytes, name)?;
    Ok(finish(format, decode_as(format, bytes, name, limits, &mut Room::default())?))
}

/// Reads an image of labels: the indices of a palette PNG, not its colours, or the levels of a gray one of up to 8 bits.
///
/// # Errors
/// As [`load_image`]; a file that is not a PNG, or has colours or 16 bits.
pub fn load_labels(path: impl AsRef<Path>, limits: &DecodeLimits) -> Result<LabelImage> {
    let (name, bytes) = read(path.as_ref(), limits)?;
    let format = sniff::format(&bytes, &name)?;
    if format != ImageFormat::Png {
        let reason =
            "expected label numbers in a PNG (palette or 8-bit gray): other formats change or mix them".to_owned();
        return Err(DataError::Unsupported { name, format: sniff::label(format), reason });
    }
    guarded(&name, "PNG", || labels::decode(&bytes, &name, limits))
}

/// RGB, and the alpha where not every pixel is opaque.
pub(crate) fn rgb_and_alpha(pixels: &DynamicImage) -> (Cow<'_, RgbImage>, Option<GrayImage>) {
    let rgb = match pixels {
        DynamicImage::ImageRgb8(rgb) => Cow::Borrowed(rgb),
        other => Cow::Owned(raster::converted(other)),
    };
    (rgb, raster::alpha(pixels))
}

pub(crate) use masks::{RawMask, load_palette_labels, open_mask, raw_mask, turned};
pub(crate) use raster::high_bytes;
pub(crate) use sniff::is_lfs_pointer;
pub(crate) use tiff::Facts as TiffFacts;

/// The name and the bytes of a file that is not over the limits.
pub(crate) fn read(path: &Path, limits: &DecodeLimits) -> Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    Ok((read_into(path, limits, &mut bytes)?, bytes))
}

/// [`read`] into memory that is there.
fn read_into(path: &Path, limits: &DecodeLimits, bytes: &mut Vec<u8>) -> Result<String> {
    let name = path.display().to_string();
    let len = check_is_file(path)?;
    limits.check_file(&name, len)?;
    let file = File::open(path).map_err(|e| DataError::io(path, "open it", e))?;
    bytes.clear();
    bytes.try_reserve_exact(len as usize).map_err(|_| limits.no_memory(&name, len))?;
    // a file may grow between the two checks
    file.take(limits.max_file_bytes.saturating_add(1))
        .read_to_end(bytes)
        .map_err(|e| DataError::io(path, "read it", e))?;
    limits.check_file(&name, bytes.len() as u64)?;
    Ok(name)
}

fn open(path: &Path, limits: &DecodeLimits, room: &mut Room) -> Result<(ImageFormat, Decoded)> {
    let name = path.display().to_string();
    limits.check_file(&name, check_is_file(path)?)?;
    // by its first bytes, before the rest is read: what is no image may be large
    let mut head = Vec::with_capacity(sniff::HEAD);
    let file = File::open(path).map_err(|e| DataError::io(path, "open it", e))?;
    file.take(sniff::HEAD as u64).read_to_end(&mut head).map_err(|e| DataError::io(path, "read it", e))?;
    let format = sniff::format(&head, &name)?;
    let mut bytes = std::mem::take(&mut room.file);
    let decoded = read_into(path, limits, &mut bytes).and_then(|name| decode_as(format, &bytes, &name, limits, room));
    room.file = bytes;
    Ok((format, decoded?))
}

/// The length of a regular file.
fn check_is_file(path: &Path) -> Result<u64> {
    let meta = std::fs::metadata(path).map_err(|e| DataError::io(path, "open it", e))?;
    if meta.is_file() {
        return Ok(meta.len());
    }
    let kind = if meta.is_dir() { "a folder" } else { "not a regular file" };
    Err(DataError::size("an image's path", format!("{}, which is {kind}", path.display()), "a file"))
}

fn decode_as(format: ImageFormat, bytes: &[u8], name: &str, limits: &DecodeLimits, room: &mut Room) -> Result<Decoded> {
    guarded(name, sniff::label(format), || match format {
        ImageFormat::Jpeg => jpeg::decode(bytes, name, limits, room),
        ImageFormat::Tiff => tiff::decode(bytes, name, limits),
        ImageFormat::Png => raster::decode_png(bytes, name, limits),
        ImageFormat::Gif => gif::decode(bytes, name, limits),
        ImageFormat::WebP => webp::decode(bytes, name, limits),
        ImageFormat::Pnm => raster::decode(Cursor::new(bytes), format, name, limits),
        _ => raster::decode_bmp(bytes, name, limits),
    })
}

/// A decoder that panics on a hostile file must cost that file, not the run over the whole folder.
pub(crate) fn guarded<T>(name: &str, format: &'static str, f: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_or_else(|_| {
        Err(DataError::Decode { name: name.to_owned(), format, reason: "the decoder gave up on damaged data".into() })
    })
}

fn finish(format: ImageFormat, decoded: Decoded) -> LoadedImage {
    let Decoded { pixels, turn: Turn { orientation, .. }, profile, mut notes } = decoded;
    if let (ImageFormat::Png, Some(note)) = (format, dark(&pixels)) {
        notes.push(note);
    }
    let profile = match profile.map(StoredProfile::read).transpose() {
        Ok(profile) => profile,
        Err(note) => {
            notes.push(note);
            None
        }
    };
    let turned = |mut pixels: DynamicImage| {
        pixels.apply_orientation(orientation);
        pixels
    };
    let alpha = raster::alpha(&pixels);
    if alpha.as_ref().is_some_and(|alpha| alpha.as_raw().iter().all(|a| *a == 0)) {
        notes.push("every pixel of it is transparent, and so will be its cut-out".to_owned());
    }
    let alpha = alpha.map(|alpha| turned(DynamicImage::ImageLuma8(alpha)).into_luma8());
    let image = turned(DynamicImage::ImageRgb8(raster::to_rgb8(pixels))).into_rgb8();
    LoadedImage { image, profile, alpha, format, orientation, notes }
}

/// A note on a 16-bit picture without any bright pixel.
fn dark(pixels: &DynamicImage) -> Option<String> {
    match pixels {
        DynamicImage::ImageLuma16(i) => tiff::dark(i.as_raw(), 1, 1, None),
        DynamicImage::ImageLumaA16(i) => tiff::dark(i.as_raw(), 2, 1, None),
        DynamicImage::ImageRgb16(i) => tiff::dark(i.as_raw(), 3, 3, None),
        DynamicImage::ImageRgba16(i) => tiff::dark(i.as_raw(), 4, 3, None),
        _ => None,
    }
}
