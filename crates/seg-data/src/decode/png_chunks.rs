//! The chunks of a PNG before it is decoded: what stands behind the pixels, what is cut off at the end, what no decoder reads.

use std::borrow::Cow;

use super::exif::{self, Turn};
use super::png_text::{self, Text};
use crate::error::{DataError, Result};

const SIGNATURE: usize = 8;
const END: [u8; 12] = [0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82];

/// A PNG that the decoder takes.
pub(super) struct Prepared<'b> {
    /// The file, with an end where it had none.
    pub bytes: Cow<'b, [u8]>,
    /// By `eXIf`, a text with EXIF data or XMP, wherever it stands.
    pub turn: Turn,
    /// Of `cICP`.
    pub cicp: Option<[u8; 4]>,
    pub notes: Vec<String>,
}

/// Walks over the chunks.
///
/// # Errors
/// Apple's variant, a wrong checksum in a chunk that matters, a file that breaks off in the pixels.
pub(super) fn prepare<'b>(bytes: &'b [u8], name: &str) -> Result<Prepared<'b>> {
    let fail = |reason: String| DataError::Decode { name: name.to_owned(), format: "PNG", reason };
    let cut = |reason: &str| DataError::Truncated { name: name.to_owned(), format: "PNG", reason: reason.into() };
    let mut prepared = Prepared { bytes: Cow::Borrowed(bytes), turn: Turn::NONE, cicp: None, notes: Vec::new() };
    let (mut at, mut pixels, mut ended, mut animated) = (SIGNATURE, false, false, false);
    let (mut exif, mut raw_profile, mut xmp) = (None, None, None);
    let mut colours = Colours::default();
    let mut end = "it has no end mark (IEND)";
    while let Some(chunk) = Chunk::read(bytes, at) {
        let kind = chunk.kind;
        if kind == *b"CgBI" {
            let reason = "it is Apple's variant for iPhones (chunk CgBI), which other programs cannot read; convert it with Xcode's `pngcrush -revert-iphone-optimizations`";
            return Err(DataError::Unsupported { name: name.to_owned(), format: "PNG", reason: reason.into() });
        }
        let shown = kind.escape_ascii();
        let critical = kind[0].is_ascii_uppercase();
        if !kind.iter().all(u8::is_ascii_alphabetic) {
            if pixels {
                break; // garbage behind the pixels
            }
            return Err(fail(format!("where a chunk should begin, at byte {at}, is \"{shown}\"")));
        }
        let Some(data) = chunk.data else {
            match (kind == *b"IDAT", pixels) {
                (true, _) | (_, false) => return Err(cut(&format!("it ends in the middle of the chunk {shown}"))),
                // something about the picture, behind its pixels
                _ => break,
            }
        };
        if kind == *b"IEND" && pixels && (!chunk.checksum_is_right || chunk.next > bytes.len()) {
            end = "its end mark (IEND) is damaged";
            break;
        }
        if !chunk.checksum_is_right {
            if critical {
                return Err(wrong_checksum(name, kind, at));
            }
            prepared.notes.push(format!("the chunk {shown} has a wrong checksum and is left out"));
        }
        match &kind {
            b"IDAT" => pixels = true,
            b"IEND" => ended = true,
            b"iCCP" | b"sRGB" | b"cICP" if chunk.checksum_is_right && !pixels => {
                colours.told = true;
                if kind == *b"cICP" {
                    prepared.cicp = data.try_into().ok();
                }
            }
            b"gAMA" if chunk.checksum_is_right => colours.gamma = numbers::<1>(data).map(|[gamma]| gamma),
            b"cHRM" if chunk.checksum_is_right => colours.primaries = numbers::<8>(data),
            b"acTL" => animated = true,
            b"eXIf" if chunk.checksum_is_right => exif = Some(exif::orientation(data)),
            b"tEXt" | b"zTXt" | b"iTXt" if chunk.checksum_is_right => match png_text::read(&kind, data) {
                Some(Text::Exif(block)) => raw_profile = Some(exif::orientation(&block)),
                Some(Text::Xmp(packet)) => xmp = exif::in_xmp(&packet),
                None => {}
            },
            _ => {}
        }
        if ended {
            break;
        }
        at = chunk.next;
    }
    prepared.turn = match exif {
        Some(found) => Turn::new(found, xmp),
        None => Turn { by_exif: false, ..Turn::new(raw_profile.flatten(), xmp) },
    };
    prepared.notes.extend(colours.note());
    if animated {
        prepared.notes.push("an animation: only its first picture is used".to_owned());
    }
    if !ended {
        if !pixels {
            return Err(cut("it ends before its pixels"));
        }
        // whether all pixels are there, the decoder finds out
        let mut whole = bytes[..at].to_vec();
        whole.extend(END);
        prepared.bytes = Cow::Owned(whole);
        prepared.notes.push(format!("{end}; all its pixels are there"));
    }
    Ok(prepared)
}

/// What is to be said of a file that cannot be decoded because the pixels have another checksum than it says.
pub(super) fn damaged(bytes: &[u8], name: &str) -> Option<DataError> {
    let mut at = SIGNATURE;
    while let Some(chunk) = Chunk::read(bytes, at) {
        let stored = chunk.next.checked_sub(4).and_then(|end| bytes.get(end..chunk.next));
        if let (b"IDAT", Some(data), Some(stored)) = (&chunk.kind, chunk.data, stored)
            && checksum(&chunk.kind, data).to_be_bytes() != *stored
        {
            return Some(wrong_checksum(name, chunk.kind, at));
        }
        at = chunk.next;
    }
    None
}

fn wrong_checksum(name: &str, kind: [u8; 4], at: usize) -> DataError {
    let reason =
        format!("the checksum of the chunk {} at byte {at} is wrong: the file is damaged", kind.escape_ascii());
    DataError::Decode { name: name.to_owned(), format: "PNG", reason }
}

/// What a PNG says of its colours without a profile. It is not used, as no reader of the field uses it.
#[derive(Default)]
struct Colours {
    /// By a profile, or as sRGB: then the rest does not count.
    told: bool,
    /// Times 100,000.
    gamma: Option<u32>,
    /// x and y of white, red, green and blue, times 100,000.
    primaries: Option<[u32; 8]>,
}

impl Colours {
    fn note(&self) -> Option<String> {
        const SRGB: [u32; 8] = [31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000];
        let far = |a: u32, b: u32, most: u32| a.abs_diff(b) > most;
        if self.told {
            return None;
        }
        let gamma = self.gamma.filter(|gamma| far(*gamma, 45455, 4000));
        let primaries = self.primaries.filter(|all| all.iter().zip(&SRGB).any(|(a, b)| far(*a, *b, 600)));
        match (gamma, primaries) {
            (_, Some(_)) => {
                Some("its primaries (cHRM) are not those of sRGB; they are taken as if they were".to_owned())
            }
            (Some(gamma), None) => {
                let gamma = f64::from(gamma) / 1e5;
                Some(format!("its gamma (gAMA) is {gamma}, not that of sRGB (0.45455); it is taken as if it were"))
            }
            _ => None,
        }
    }
}

/// Big-endian numbers of 4 bytes, of which there are as many.
fn numbers<const N: usize>(data: &[u8]) -> Option<[u32; N]> {
    let (all, rest) = data.as_chunks::<4>();
    let all: [[u8; 4]; N] = all.try_into().ok()?;
    rest.is_empty().then(|| all.map(u32::from_be_bytes))
}

struct Chunk<'b> {
    kind: [u8; 4],
    /// None when the file ends before it does.
    data: Option<&'b [u8]>,
    checksum_is_right: bool,
    next: usize,
}

impl<'b> Chunk<'b> {
    /// The chunk at `at`; none when not even its head is there.
    fn read(bytes: &'b [u8], at: usize) -> Option<Self> {
        let head = bytes.get(at..at.checked_add(8)?)?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let kind = [head[4], head[5], head[6], head[7]];
        let end = (at + 8).checked_add(length)?;
        let data = bytes.get(at + 8..end);
        let stored = end.checked_add(4).and_then(|next| bytes.get(end..next));
        // a checksum cut off at the very end of the file is none that is wrong
        let checksum_is_right = match (data, stored) {
            // the decoder compares those of the pixels
            _ if kind == *b"IDAT" => true,
            (Some(data), Some(stored)) => checksum(&kind, data).to_be_bytes() == *stored,
            _ => true,
        };
        let data = if kind == *b"IDAT" && stored.is_none() { None } else { data };
        Some(Self { kind, data, checksum_is_right, next: end.saturating_add(4) })
    }
}

fn checksum(kind: &[u8], data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(kind);
    hasher.update(data);
    hasher.finalize()
}
