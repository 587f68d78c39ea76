//! The texts of a PNG that decide how it is turned.

use std::borrow::Cow;
use std::io::Read as _;

use flate2::read::ZlibDecoder;

/// Bytes of an unpacked text, as in Pillow; a longer one is not looked at.
const MOST: u64 = 1 << 20;

/// What stands under the two keys that Pillow looks at.
pub(super) enum Text<'b> {
    /// EXIF data, which ImageMagick writes as hexadecimal digits.
    Exif(Vec<u8>),
    Xmp(Cow<'b, [u8]>),
}

/// Of the data of a chunk `tEXt`, `zTXt` or `iTXt`.
pub(super) fn read<'b>(kind: &[u8; 4], data: &'b [u8]) -> Option<Text<'b>> {
    let (key, rest) = split(data)?;
    if !matches!(key, b"Raw profile type exif" | b"XML:com.adobe.xmp") {
        return None;
    }
    let value = match kind {
        b"tEXt" => Cow::Borrowed(rest),
        b"zTXt" => unpacked(rest.strip_prefix(&[0])?)?,
        _ => {
            let [packed, method, rest @ ..] = rest else { return None };
            let (_language, rest) = split(rest)?;
            let (_translated, text) = split(rest)?;
            match (packed, method) {
                (0, _) => Cow::Borrowed(text),
                (_, 0) => unpacked(text)?,
                _ => return None,
            }
        }
    };
    if key == b"XML:com.adobe.xmp" { Some(Text::Xmp(value)) } else { digits(&value).map(Text::Exif) }
}

/// What stands before and behind the first zero.
fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = data.iter().position(|b| *b == 0)?;
    Some((&data[..at], &data[at + 1..]))
}

fn unpacked(packed: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut out = Vec::new();
    ZlibDecoder::new(packed).take(MOST + 1).read_to_end(&mut out).ok()?;
    (out.len() as u64 <= MOST).then_some(Cow::Owned(out))
}

/// The bytes in hexadecimal behind three lines: an empty one, the profile's name, its length.
fn digits(text: &[u8]) -> Option<Vec<u8>> {
    let lines = text.splitn(4, |b| *b == b'\n').nth(3)?;
    let digits: Vec<u8> = lines.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    hex::decode(digits).ok()
}
