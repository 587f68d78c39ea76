//! The orientation in EXIF data: a TIFF header and its first directory, in either byte order.

/// 1 to 8, whatever whole-number type it is stored as; `None` without the tag or with another value. The six bytes `Exif\0\0` may
/// stand before the header.
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
            _ => return None,
        };
        return number(at + 8, bytes).and_then(|v| u8::try_from(v).ok()).filter(|v| (1..=8).contains(v));
    }
    None
}
