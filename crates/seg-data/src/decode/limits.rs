//! What a file may cost before it is refused.

use crate::error::{DataError, Result};

/// Limits that are checked on a file's length and header, before memory is taken for its pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most pixels, width × height. Default 100 million.
    pub max_pixels: u64,
    /// Longest side in pixels. Default 65 535.
    pub max_side: u32,
    /// Most bytes of the file itself. Default 1 GiB.
    pub max_file_bytes: u64,
    /// Most bytes that decoding may need at once: the pixels as stored (8 bytes each for 16-bit RGBA) and the decoder's
    /// own buffers. Default 2 GiB.
    pub max_decoded_bytes: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_pixels: 100_000_000, max_side: 65_535, max_file_bytes: 1 << 30, max_decoded_bytes: 2 << 30 }
    }
}

impl DecodeLimits {
    /// With so many pixels, and memory for them in any format: 24 bytes each where that is more than the default.
    pub fn with_max_pixels(self, max_pixels: u64) -> Self {
        let max_decoded_bytes = self.max_decoded_bytes.max(max_pixels.saturating_mul(24));
        Self { max_pixels, max_decoded_bytes, ..self }
    }

    /// Refuses empty and oversized files by their length.
    pub(crate) fn check_file(&self, name: &str, len: u64) -> Result<()> {
        if len == 0 {
            return Err(DataError::EmptyFile { name: name.to_owned() });
        }
        self.compare(name, "the file's length in bytes", len, self.max_file_bytes)
    }

    /// Refuses by the header: sides, pixels, and `bytes` (what decoding will take).
    pub(crate) fn check_header(&self, name: &str, width: u32, height: u32, bytes: u64) -> Result<()> {
        if width == 0 || height == 0 {
            return Err(DataError::ZeroSize { name: name.to_owned(), width, height });
        }
        let pixels = u64::from(width) * u64::from(height);
        if pixels > self.max_pixels {
            return Err(DataError::TooLarge {
                name: name.to_owned(),
                what: "the image's size in pixels",
                value: format!("{width}x{height} = {}", millions(pixels)),
                limit: format!("{} (--max-pixels, DecodeLimits::max_pixels)", millions(self.max_pixels)),
            });
        }
        self.compare(name, "the image's longer side in pixels", width.max(height).into(), self.max_side.into())?;
        self.compare(name, "the memory for decoding in bytes", bytes, self.max_decoded_bytes)
    }

    pub(crate) fn no_memory(&self, name: &str, bytes: u64) -> DataError {
        DataError::TooLarge {
            name: name.to_owned(),
            what: "the memory for reading in bytes",
            value: bytes.to_string(),
            limit: "what this machine has free".into(),
        }
    }

    fn compare(&self, name: &str, what: &'static str, value: u64, limit: u64) -> Result<()> {
        if value <= limit {
            return Ok(());
        }
        Err(DataError::TooLarge { name: name.to_owned(), what, value: value.to_string(), limit: limit.to_string() })
    }
}

fn millions(pixels: u64) -> String {
    match pixels {
        0..1_000_000 => pixels.to_string(),
        _ => format!("{} million", (pixels as f64 / 1e5).round() / 10.0),
    }
}
