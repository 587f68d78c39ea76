//! Recognising a format by its first bytes.

use image::ImageFormat;

use crate::error::{DataError, Result};

/// How many first bytes are looked at.
pub(super) const HEAD: usize = 32;

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
        Err(_) => Err(not_an_image(head, name)),
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
    const SIGNATURES: [(&[u8], &str); 7] = [
        (b"\0\0\0\x0cJXL ", "JPEG XL"),
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\0\x0cjP  ", "JPEG 2000"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"%PDF-", "PDF"),
        (b"8BPS", "Photoshop PSD"),
        (b"<svg", "SVG"),
    ];
    SIGNATURES.iter().find(|(magic, _)| head.starts_with(magic)).map(|&(_, name)| name)
}

fn not_an_image(head: &[u8], name: &str) -> DataError {
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
