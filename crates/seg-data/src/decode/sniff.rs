//! Recognising a format by its first bytes.

use image::ImageFormat;

use crate::error::{DataError, Result};

/// How many first bytes are looked at.
pub(super) const HEAD: usize = 160;
/// How Git LFS begins what stands in a file's place until the file is fetched.
const LFS: &[u8] = b"version https://git-lfs";

/// The format that the first [`HEAD`] bytes of `bytes` announce.
pub(super) fn format(bytes: &[u8], name: &str) -> Result<ImageFormat> {
    let head = &bytes[..bytes.len().min(HEAD)];
    // the `image` crate does not know the 64-bit form
    if head.starts_with(b"II+\0\x08\0\0\0") || head.starts_with(b"MM\0+\0\x08\0\0") {
        return Ok(ImageFormat::Tiff);
    }
    if let Some(format) = foreign(head) {
        return Err(DataError::NotBuiltIn { name: name.to_owned(), format });
    }
    match image::guess_format(head) {
        Ok(
            f @ (ImageFormat::Png
            | ImageFormat::Jpeg
            | ImageFormat::WebP
            | ImageFormat::Bmp
            | ImageFormat::Tiff
            | ImageFormat::Gif),
        ) => Ok(f),
        Ok(f @ (ImageFormat::Pnm | ImageFormat::Ico)) if !plausible(f, head) => Err(not_an_image(head, name)),
        Ok(ImageFormat::Pnm) => Ok(ImageFormat::Pnm),
        Ok(other) => Err(DataError::NotBuiltIn { name: name.to_owned(), format: label(other) }),
        Err(_) => match odd(head, name) {
            Some(format) => Err(DataError::NotBuiltIn { name: name.to_owned(), format }),
            None => Err(not_an_image(head, name)),
        },
    }
}

/// "P1" and four zero-ish bytes also begin many files that are no images.
fn plausible(format: ImageFormat, head: &[u8]) -> bool {
    match format {
        ImageFormat::Pnm => head.get(2).is_some_and(u8::is_ascii_whitespace),
        _ => head.get(5) == Some(&0) && head.get(4) != Some(&0),
    }
}

/// A format's usual name.
pub(super) fn label(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        ImageFormat::Gif => "GIF",
        ImageFormat::Avif => "AVIF",
        ImageFormat::Pnm => "PNM",
        ImageFormat::Ico => "ICO",
        ImageFormat::Hdr => "Radiance HDR",
        ImageFormat::OpenExr => "OpenEXR",
        ImageFormat::Qoi => "QOI",
        ImageFormat::Dds => "DDS",
        ImageFormat::Farbfeld => "farbfeld",
        _ => "this format",
    }
}

/// Formats that people have, and that we cannot read.
fn foreign(head: &[u8]) -> Option<&'static str> {
    if head.get(4..8) == Some(b"ftyp") {
        return match head.get(8..12)? {
            b"avif" | b"avis" => Some("AVIF"),
            b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" => Some("HEIC/HEIF"),
            b"crx " => Some("Canon CR3 raw"),
            _ => Some("video (MP4/MOV)"),
        };
    }
    SIGNATURES.iter().find(|(at, magic, _)| head.get(*at..).is_some_and(|h| h.starts_with(magic))).map(|found| found.2)
}

/// Where a format's mark stands, the mark, and what the format is called.
const SIGNATURES: [(usize, &[u8], &str); 48] = [
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"II\xbc", "JPEG XR"),
    (0, b"%PDF-", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript (EPS)"),
    (0, b"8BPS", "Photoshop PSD"),
    (0, b"gimp xcf", "GIMP XCF"),
    (0, b"<svg", "SVG"),
    (0, b"icns", "Apple ICNS"),
    (0, b"\x01\xda\0\x01", "SGI"),
    (0, b"\x01\xda\0\x02", "SGI"),
    (0, b"\x01\xda\x01\x01", "SGI"),
    (0, b"\x01\xda\x01\x02", "SGI"),
    (0, b"PF\n", "PFM (float)"),
    (0, b"Pf\n", "PFM (float)"),
    (0, b"PF\r\n", "PFM (float)"),
    (0, b"Pf\r\n", "PFM (float)"),
    (0, b"\x59\xa6\x6a\x95", "Sun raster"),
    (0, b"/* XPM */", "XPM"),
    (0, b"#define ", "XBM"),
    (0, b"\x8aMNG", "MNG"),
    (0, b"\x8bJNG", "JNG"),
    (0, b"BPG\xfb", "BPG"),
    (0, b"FLIF", "FLIF"),
    (0, b"AT&TFORM", "DjVu"),
    (0, b"\xd7\xcd\xc6\x9a", "Windows metafile (WMF)"),
    (40, b" EMF", "Windows metafile (EMF)"),
    (0, b"SDPX", "DPX"),
    (0, b"XPDS", "DPX"),
    (0, b"\x80\x2a\x5f\xd7", "Cineon"),
    (0, b"SIMPLE  =", "FITS"),
    (128, b"DICM", "DICOM"),
    (0, b"\x93NUMPY", "a NumPy array (.npy)"),
    (0, b"\x89HDF", "HDF5"),
    (0, b"FUJIFILMCCD-RAW", "Fujifilm raw"),
    (0, b"IIRO", "Olympus raw"),
    (0, b"IIRS", "Olympus raw"),
    (0, b"IIU\0", "Panasonic raw"),
    (0, b"FOVb", "Sigma raw"),
    (0, b"\0MRM", "Minolta raw"),
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\x1a\x45\xdf\xa3", "video (MKV/WebM)"),
    (8, b"AVI LIST", "video (AVI)"),
    (0, b"\0\0\x01\xba", "video (MPEG)"),
];

/// Formats without a mark of their own, by what their first fields may be and, where that says little, by the name's ending.
fn odd(head: &[u8], name: &str) -> Option<&'static str> {
    let is_named = |endings: &[&str]| {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        endings.iter().any(|known| known.eq_ignore_ascii_case(ending))
    };
    match head {
        [0x0a, 0 | 2..=5, 0 | 1, 1 | 2 | 4 | 8, ..] => Some("PCX"),
        [_, 0 | 1, 1..=3 | 9..=11, ..]
            if matches!(head.get(16), Some(8 | 15 | 16 | 24 | 32)) && is_named(&["tga", "icb", "vda", "vst"]) =>
        {
            Some("TGA")
        }
        _ => None,
    }
}

/// Whether Git LFS left this in a file's place.
pub(crate) fn is_lfs_pointer(head: &[u8]) -> bool {
    head.starts_with(LFS)
}

fn not_an_image(head: &[u8], name: &str) -> DataError {
    if is_lfs_pointer(head) {
        return DataError::LfsPointer { name: name.to_owned() };
    }
    let shown = &head[..head.len().min(16)];
    let text = shown.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace());
    let found = if text {
        format!("the text {:?}", String::from_utf8_lossy(shown))
    } else {
        let hex: Vec<String> = shown.iter().take(8).map(|b| format!("{b:02x}")).collect();
        format!("the bytes {}", hex.join(" "))
    };
    DataError::NotAnImage { name: name.to_owned(), found }
}
