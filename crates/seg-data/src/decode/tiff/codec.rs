//! Strips and tiles as they are stored: one after another of the general codecs.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::ZlibDecoder;
use ruzstd::decoding::StreamingDecoder;
use weezl::{BitOrder, LzwStatus, decode::Decoder as Lzw};

use super::fault::Fault;
use super::header::Header;

/// The number of a compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Compression(pub u64);

impl Compression {
    pub const NONE: Self = Self(1);
    pub const FAX3: Self = Self(3);
    pub const FAX4: Self = Self(4);
    pub const LZW: Self = Self(5);
    pub const JPEG: Self = Self(7);
    pub const DEFLATE: Self = Self(8);
    pub const OLD_DEFLATE: Self = Self(32946);
    pub const PACK_BITS: Self = Self(32773);
    pub const ZSTD: Self = Self(50000);
    pub const WEBP: Self = Self(50001);

    /// The usual name.
    pub fn name(self) -> String {
        let name = match self.0 {
            1 => "no",
            2 => "CCITT Huffman (2)",
            3 => "CCITT Group 3 fax (3)",
            4 => "CCITT Group 4 fax (4)",
            5 => "LZW (5)",
            6 => "old-style JPEG (6)",
            7 => "JPEG (7)",
            8 => "deflate (8)",
            9 | 10 => "JBIG (9, 10)",
            32766 => "NeXT (32766)",
            32771 => "CCITT Huffman by words (32771)",
            32773 => "PackBits (32773)",
            32809 => "ThunderScan (32809)",
            32946 => "deflate (32946)",
            33003..=33005 | 34712 => "JPEG 2000",
            34661 => "JBIG (34661)",
            34676 | 34677 => "SGI LogLuv (34676, 34677)",
            34887 => "LERC (34887)",
            34892 => "lossy DNG (34892)",
            34925 => "LZMA (34925)",
            34933 => "PNG (34933)",
            50000 => "Zstandard (50000)",
            50001 => "WebP (50001)",
            50002 | 52546 => "JPEG XL",
            other => return format!("an unknown kind of ({other})"),
        };
        name.to_owned()
    }

    /// Whether it holds a picture, not bytes of any meaning.
    pub fn is_picture(self) -> bool {
        matches!(self, Self::JPEG | Self::WEBP)
    }

    pub fn check(self, fax_options: u64) -> Result<(), Fault> {
        match self {
            Self::FAX3 if fax_options & 1 != 0 => Err(Fault::Unsupported(
                "two-dimensional CCITT Group 3 fax compression; expected the one-dimensional one, or Group 4".into(),
            )),
            Self::NONE
            | Self::FAX3
            | Self::FAX4
            | Self::LZW
            | Self::JPEG
            | Self::DEFLATE
            | Self::OLD_DEFLATE
            | Self::PACK_BITS
            | Self::ZSTD
            | Self::WEBP => Ok(()),
            other => Err(Fault::Unsupported(format!(
                "{} compression; expected none, LZW, deflate, PackBits, Zstandard, JPEG, WebP, Group 3 or Group 4 fax",
                other.name()
            ))),
        }
    }
}

/// The bytes of a strip or tile of `rows` rows of `row_bytes`; they may be fewer where the data ends early.
pub(super) fn expand<'d>(
    header: &Header,
    data: &'d [u8],
    rows: usize,
    row_bytes: usize,
) -> Result<Cow<'d, [u8]>, Fault> {
    let wanted = rows * row_bytes;
    let data = match header.reversed_bits {
        true => Cow::Owned(data.iter().map(|b| b.reverse_bits()).collect()),
        false => Cow::Borrowed(data),
    };
    Ok(match header.compression {
        Compression::NONE => match data {
            Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[..wanted.min(bytes.len())]),
            Cow::Owned(mut bytes) => {
                bytes.truncate(wanted);
                Cow::Owned(bytes)
            }
        },
        Compression::LZW => Cow::Owned(lzw(&data, wanted)?),
        Compression::DEFLATE | Compression::OLD_DEFLATE => {
            Cow::Owned(read(ZlibDecoder::new(&data[..]), wanted, "deflate")?)
        }
        Compression::ZSTD => {
            let decoder = StreamingDecoder::new(&data[..]).map_err(|e| damaged("Zstandard", &e))?;
            Cow::Owned(read(decoder, wanted, "Zstandard")?)
        }
        Compression::PACK_BITS => Cow::Owned(pack_bits(&data, wanted)),
        _ => Cow::Owned(fax(header, &data, rows, row_bytes)?),
    })
}

fn damaged(what: &str, error: &dyn std::fmt::Display) -> Fault {
    Fault::Damaged(crate::error::one_line(&format!("{what}: {error}")))
}

/// At most `wanted` bytes.
fn read(decoder: impl Read, wanted: usize, what: &str) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::with_capacity(wanted);
    match decoder.take(wanted as u64).read_to_end(&mut out) {
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Err(damaged(what, &error)),
        _ => Ok(out),
    }
}

fn lzw(data: &[u8], wanted: usize) -> Result<Vec<u8>, Fault> {
    if let [0, second, ..] = data
        && second & 1 == 1
    {
        return Err(Fault::Unsupported("old-style LZW compression, the lowest bit first".into()));
    }
    let mut decoder = Lzw::with_tiff_size_switch(BitOrder::Msb, 8);
    let mut out = vec![0; wanted];
    let (mut at, mut filled) = (0, 0);
    while filled < wanted {
        let step = decoder.decode_bytes(&data[at..], &mut out[filled..]);
        at += step.consumed_in;
        filled += step.consumed_out;
        match step.status {
            Ok(LzwStatus::Ok) if step.consumed_in + step.consumed_out > 0 => {}
            Ok(_) => break,
            Err(error) => return Err(damaged("LZW", &error)),
        }
    }
    out.truncate(filled);
    Ok(out)
}

/// Runs of a byte, and bytes as they are.
fn pack_bits(mut data: &[u8], wanted: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(wanted);
    while let [head, rest @ ..] = data {
        data = rest;
        match *head as i8 {
            -128 => {}
            n @ 0.. => {
                let (bytes, behind) = rest.split_at(rest.len().min(n as usize + 1));
                out.extend_from_slice(bytes);
                data = behind;
            }
            n => {
                if let [byte, behind @ ..] = rest {
                    out.resize(out.len() + 1 + usize::from(n.unsigned_abs()), *byte);
                    data = behind;
                }
            }
        }
        if out.len() >= wanted {
            out.truncate(wanted);
            break;
        }
    }
    out
}

/// Group 3 of one dimension and Group 4: 1 is black.
fn fax(header: &Header, data: &[u8], rows: usize, row_bytes: usize) -> Result<Vec<u8>, Fault> {
    let (Ok(width), Ok(height)) = (u16::try_from(header.tiles.width), u16::try_from(rows)) else {
        return Err(Fault::Unsupported(format!("fax compression of strips of {}x{rows} pixels", header.tiles.width)));
    };
    if header.bits != 1 || header.together() != 1 {
        let (bits, samples) = (header.bits, header.together());
        return Err(Fault::Damaged(format!(
            "fax compression of {samples} samples of {bits} bits, expected black and white"
        )));
    }
    let mut out = Vec::with_capacity(rows * row_bytes);
    let mut line = |changes: &[u16]| {
        if out.len() < rows * row_bytes {
            let start = out.len();
            out.resize(start + row_bytes, 0u8);
            // black lies between the first and second change, the third and fourth, …
            for black in changes.chunks(2) {
                let end = black.get(1).copied().unwrap_or(width).min(width);
                for x in usize::from(black[0])..usize::from(end) {
                    out[start + x / 8] |= 0x80 >> (x % 8);
                }
            }
        }
    };
    let bytes = data.iter().copied();
    let done = match header.compression {
        Compression::FAX4 => fax::decoder::decode_g4(bytes, width, Some(height), &mut line),
        // the crate looks for an end of line behind each, which few files have at the end
        _ => fax::decoder::decode_g3(bytes.chain([0, 0x10, 0x01].repeat(4)), &mut line).or(Some(())),
    };
    match done {
        Some(()) => Ok(out),
        None => Err(Fault::Damaged("the fax data is damaged".into())),
    }
}
