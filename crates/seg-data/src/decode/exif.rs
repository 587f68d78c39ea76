//! The orientation that a file asks for: in EXIF data (a TIFF header and its first directory, in either byte order), or in XMP.

use image::metadata::Orientation;

/// How a picture is turned for the viewer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    pub orientation: Orientation,
    /// By EXIF or the TIFF's own tag, which all readers heed, and not by XMP or a text, of which OpenCV knows nothing.
    pub by_exif: bool,
}

impl Turn {
    pub const NONE: Self = Self { orientation: Orientation::NoTransforms, by_exif: true };

    /// By the numbers that EXIF and XMP have. As in Pillow XMP counts where EXIF has none at all.
    pub fn new(exif: Option<u8>, xmp: Option<u8>) -> Self {
        let orientation = exif.or(xmp).and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms);
        Self { orientation, by_exif: exif.is_some() || xmp.is_none() }
    }
}

/// The number in an XMP packet, found as Pillow finds it: `tiff:Orientation="6"` or `<tiff:Orientation>6<`.
pub(super) fn in_xmp(packet: &[u8]) -> Option<u8> {
    const TAG: &[u8] = b"tiff:Orientation";
    let numbers = packet.windows(TAG.len()).enumerate().filter(|(_, found)| *found == TAG).map(|(at, _)| {
        let rest = &packet[at + TAG.len()..];
        let digit = rest.strip_prefix(b"=\"").or(rest.strip_prefix(b">"))?.first()?;
        digit.is_ascii_digit().then(|| digit - b'0')
    });
    numbers.flatten().next()
}

/// The tag's number, whatever whole-number type it is stored as; 0 where it is none of 1 to 8, `None` without the tag. The six bytes
/// `Exif\0\0` may stand before the header.
pub(super) fn orientation(block: &[u8]) -> Option<u8> {
    let tiff = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    let big = match tiff.get(..4)? {
        b"MM\0*" => true,
        b"II*\0" => false,
        _ => return None,
    };
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let raw = tiff.get(at..at.checked_add(bytes)?)?;
        let join = |n: usize, &b: &u8| n << 8 | usize::from(b);
        Some(if big { raw.iter().fold(0, join) } else { raw.iter().rev().fold(0, join) })
    };
    let directory = number(4, 4)?;
    let entries = number(directory, 2)?;
    for i in 0..entries {
        let at = directory.checked_add(2 + 12 * i)?;
        if number(at, 2)? != 0x0112 {
            continue;
        }
        let bytes = match number(at + 2, 2)? {
            1 | 6 => 1,
            3 | 8 => 2,
            4 | 9 => 4,
            _ => return Some(0),
        };
        let known = number(at + 8, bytes).and_then(|v| u8::try_from(v).ok()).filter(|v| (1..=8).contains(v));
        return Some(known.unwrap_or(0));
    }
    None
}
