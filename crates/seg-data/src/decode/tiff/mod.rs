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

use image::GrayImage;
use tiff::decoder::{Decoder, Limits};

use super::{DecodeLimits, Decoded, StoredProfile};
use crate::error::Result;
use crate::inside::MaskReader;
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

/// What decides about the meaning of a mask, beside its pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// The samples are other numbers than unsigned ones of at most 16 bits.
    pub scaled: bool,
    /// Whether colours are multiplied by the alpha; none without alpha.
    pub premultiplied: Option<bool>,
    pub white_is_zero: bool,
}

pub(super) fn decode(bytes: &[u8], name: &str, limits: &DecodeLimits) -> Result<Decoded> {
    let source = Source { bytes, name, limits };
    let (header, notes) = source.header()?;
    let raw = Raw::read(&header, &source)?;
    picture(&source, header, raw, notes)
}

/// The same of a mask, and the indices of a palette of at most 256 colours (not turned). For the readers of toolkits the alpha is not
/// divided out.
pub(super) fn mask(
    bytes: &[u8],
    name: &str,
    reader: MaskReader,
    limits: &DecodeLimits,
) -> Result<(Decoded, Facts, Option<GrayImage>)> {
    let source = Source { bytes, name, limits };
    let (mut header, notes) = source.header()?;
    let facts = Facts {
        scaled: header.format != Format::Unsigned || header.bits > 16,
        premultiplied: header.alpha.map(|alpha| alpha.associated),
        white_is_zero: header.photometric == Photometric::WhiteIsZero,
    };
    if let (true, Some(alpha)) = (reader != MaskReader::Meaning, &mut header.alpha) {
        alpha.associated = false;
    }
    header.libtiff_inks = reader == MaskReader::OpenCv;
    let raw = Raw::read(&header, &source)?;
    let indices = match &raw {
        Raw::Bytes(raw) if header.photometric == Photometric::Palette && header.bits <= 8 => {
            let first = raw.chunks_exact(header.samples).map(|pixel| pixel[0]).collect();
            GrayImage::from_raw(header.width, header.height, first)
        }
        _ => None,
    };
    Ok((picture(&source, header, raw, notes)?, facts, indices))
}

fn picture(source: &Source<'_>, header: Header, raw: Raw, mut notes: Vec<String>) -> Result<Decoded> {
    let pixels = colour::picture(&header, raw, &mut notes).map_err(|f| f.of(source.name))?;
    let profile = header.profile.map(StoredProfile::Icc);
    Ok(Decoded { pixels, turn: header.turn, profile, notes })
}

impl Raw {
    fn read(header: &Header, source: &Source<'_>) -> Result<Self> {
        Ok(match header.is_words() {
            true => Self::Words(chunks::read(header, source)?),
            false => Self::Bytes(chunks::read(header, source)?),
        })
    }
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
