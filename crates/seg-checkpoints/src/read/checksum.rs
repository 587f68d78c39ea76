//! The checksum that an archive has of an entry, against the bytes that are read.

use super::Reader;
use crate::error::{Fault, shorten};
use std::sync::OnceLock;

/// An entry of an archive with the CRC-32 of its bytes. Checked once, by the first tensor that is read from it.
#[derive(Debug)]
pub(crate) struct Checksum {
    name: String,
    offset: u64,
    len: u64,
    expected: u32,
    /// What was found.
    found: OnceLock<u32>,
}

impl Checksum {
    /// None for 0, which torch writes when it was told not to compute it (`set_crc32_options(False)`, `skip_data`).
    pub fn new(name: String, offset: u64, len: u64, expected: u32) -> Option<Self> {
        (expected != 0).then_some(Self { name, offset, len, expected, found: OnceLock::new() })
    }

    /// Whether the bytes from `offset` on are the whole entry.
    pub fn is_of(&self, offset: u64, len: u64) -> bool {
        (self.offset, self.len) == (offset, len)
    }

    /// Reads the entry, unless it was read already, and compares.
    pub fn check(&self, reader: &Reader) -> Result<(), Fault> {
        if self.found.get().is_some() {
            return self.compare();
        }
        let mut hasher = crc32fast::Hasher::new();
        reader.pieces(self.offset, self.len, |piece| hasher.update(piece))?;
        self.take(hasher)
    }

    /// Compares with what was computed from all bytes of the entry.
    pub fn take(&self, hasher: crc32fast::Hasher) -> Result<(), Fault> {
        self.found.get_or_init(|| hasher.finalize());
        self.compare()
    }

    fn compare(&self) -> Result<(), Fault> {
        match self.found.get() {
            Some(found) if *found != self.expected => Err(Fault::malformed(format!(
                "entry '{}' of the archive has the checksum {found:08x}, expected {:08x}: some of its bytes changed; \
                 download or copy the file again",
                shorten(&self.name),
                self.expected
            ))),
            _ => Ok(()),
        }
    }
}
