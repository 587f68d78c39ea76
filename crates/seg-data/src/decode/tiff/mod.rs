//! TIFF: the `tiff` crate reads the directories, codecs of other crates the data; what the samples mean is decided here.
//!
//! | in the file | what comes out |
//! | --- | --- |
//! | grey or RGB of 1 to 16 bits | the type's largest value is white; `v·255/max` up to 8 bits, 16 bits above |
//! | 32- and 64-bit, signed integers | the type's largest value is white; values up to 255 or 65535 alone are levels, with a note; negative ones are refused |
//! | float of 16, 32, 64 bits in 0..1 | times 255 |
//! | other floats | whole numbers up to 255, or any up to 65535, are levels, with a note; what is neither is refused |
//! | white is 0 | turned round |
//! | palette | the colours, of which Pillow takes the high bytes too |
//! | premultiplied alpha | divided out |
//! | YCbCr, CMYK | RGB by the formulas of libtiff and Pillow |
//! | several pages | the first that is no thumbnail; a note |

mod chunks;
mod codec;
mod colour;
mod fault;
mod header;
mod jpeg;
mod pages;
mod rows;
mod scale;
mod ycbcr;

use std::io::Cursor;

use image::{DynamicImage, GrayImage};
use tiff::decoder::{Decoder, Limits};

use super::{ColourProfile, DecodeLimits, Decoded};
use crate::error::Result;
use fault::Fault;
use header::{Format, Header, Photometric};
pub(super) use scale::dark;

/// One file.
struct Source<'f> {
    bytes: &'f [u8],
    name: &'f str,
    limits: &'f DecodeLimits,
}

/// All samples, side by side: bytes, [`Header::sample_bytes`] to each, or unsigned ones of 9 to 16 bits.
enum Raw {
    Bytes(Vec<u8>),
    Words(Vec<u16>),
}

type Directory<'f> = Decoder<Cursor<&'f [u8]>>;

pub(super) fn decode(bytes: &[u8], name: &str, limits: &DecodeLimits) -> Result<Decoded> {
    let source = Source { bytes, name, limits };
    let (header, mut notes) = source.header()?;
    let raw = match header.is_words() {
        true => Raw::Words(chunks::read(&header, &source)?),
        false => Raw::Bytes(chunks::read(&header, &source)?),
    };
    let pixels = colour::picture(&header, raw, &mut notes).map_err(|f| f.of(name))?;
    let profile = header.profile.map(ColourProfile::read);
    Ok(Decoded { pixels, orientation: header.orientation, profile, notes })
}

/// The indices of a file with a palette of at most 256 colours, turned as a viewer shows them; `None` of any other.
pub(super) fn indices(bytes: &[u8], name: &str, limits: &DecodeLimits) -> Result<Option<GrayImage>> {
    let source = Source { bytes, name, limits };
    let (header, _) = source.header()?;
    if header.photometric != Photometric::Palette || header.bits > 8 {
        return Ok(None);
    }
    let first = chunks::read::<u8>(&header, &source)?.chunks_exact(header.samples).map(|pixel| pixel[0]).collect();
    let indices = GrayImage::from_raw(header.width, header.height, first).unwrap_or_default();
    let mut pixels = DynamicImage::ImageLuma8(indices);
    pixels.apply_orientation(header.orientation);
    Ok(Some(pixels.into_luma8()))
}

/// Whether the samples are other numbers than unsigned ones of at most 16 bits.
pub(super) fn is_scaled(bytes: &[u8], name: &str, limits: &DecodeLimits) -> Result<bool> {
    let (header, _) = Source { bytes, name, limits }.header()?;
    Ok(header.format != Format::Unsigned || header.bits > 16)
}

impl Source<'_> {
    /// The header of the page that is taken, within the limits, and what to tell of the others.
    fn header(&self) -> Result<(Header, Vec<String>)> {
        let fail = |f: Fault| f.of(self.name);
        let mut directory = Decoder::new(Cursor::new(self.bytes)).map_err(|e| fail(e.into()))?;
        let mut limits = Limits::default();
        limits.ifd_value_size = self.bytes.len();
        directory = directory.with_limits(limits);
        let notes = pages::choose(&mut directory).map_err(fail)?;
        let mut header = Header::read(&mut directory).map_err(fail)?;
        self.limits.check_header(self.name, header.width, header.height, header.memory())?;
        header.check().map_err(fail)?;
        header.split();
        Ok((header, notes))
    }
}
