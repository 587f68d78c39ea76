//! Bitmaps of OS/2 2.x, whose headers the `image` crate does not know.

use std::borrow::Cow;

use crate::error::{DataError, Result};

/// Bytes of the file's own header, before the bitmap's.
const FILE_HEADER: usize = 14;
/// Bytes of the header that Windows 3 and OS/2 2.x share the beginning of.
const INFO_HEADER: usize = 40;

/// The file with a header of Windows 3 where it has one of OS/2 2.x: of 64 bytes, or cut short, which leaves zeros.
///
/// # Errors
/// Compression that only OS/2 has.
pub(super) fn prepare<'b>(bytes: &'b [u8], name: &str) -> Result<Cow<'b, [u8]>> {
    let Some(size) = bytes.get(FILE_HEADER..FILE_HEADER + 4) else { return Ok(Cow::Borrowed(bytes)) };
    let size = u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize;
    if !(16..=64).contains(&size) || matches!(size, INFO_HEADER | 52 | 56) {
        return Ok(Cow::Borrowed(bytes));
    }
    let Some(found) = bytes.get(FILE_HEADER..FILE_HEADER + size) else { return Ok(Cow::Borrowed(bytes)) };
    let mut header = [0; INFO_HEADER];
    let kept = size.min(INFO_HEADER);
    header[..kept].copy_from_slice(&found[..kept]);
    header[..4].copy_from_slice(&(INFO_HEADER as u32).to_le_bytes());
    let compression = u32::from_le_bytes([header[16], header[17], header[18], header[19]]);
    if compression > 2 {
        let what = if compression == 3 { "Huffman coding" } else { "24-bit run lengths" };
        let reason = format!(
            "it is an OS/2 bitmap with {what} (compression {compression}), expected none or run lengths of 4 or 8 bits"
        );
        return Err(DataError::Unsupported { name: name.to_owned(), format: "BMP", reason });
    }
    let mut out = bytes[..FILE_HEADER].to_vec();
    let shift = |at: u32| (u64::from(at) + INFO_HEADER as u64).saturating_sub(size as u64) as u32;
    let pixels = u32::from_le_bytes([out[10], out[11], out[12], out[13]]);
    out[10..14].copy_from_slice(&shift(pixels).to_le_bytes());
    out.extend(header);
    out.extend(&bytes[FILE_HEADER + size..]);
    Ok(Cow::Owned(out))
}

/// The largest red, green and blue of a bitmap of 16 bits a pixel; none of any other.
pub(super) fn sixteen_bits(bytes: &[u8]) -> Option<[u32; 3]> {
    let u32_at = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let size = u32_at(FILE_HEADER)? as usize;
    let bits = bytes.get(FILE_HEADER + 14..FILE_HEADER + 16)?;
    if size < INFO_HEADER || bits != [16, 0] {
        return None;
    }
    match u32_at(FILE_HEADER + 16)? {
        0 => Some([31; 3]),
        3 => {
            // behind the header of 40 bytes or in a longer one, at the same place
            let mut most = [0; 3];
            for (i, most) in most.iter_mut().enumerate() {
                let mask = u32_at(FILE_HEADER + INFO_HEADER + 4 * i)?;
                *most = mask.checked_shr(mask.trailing_zeros())?;
            }
            most.iter().all(|most| (1..256).contains(most)).then_some(most)
        }
        _ => None,
    }
}
