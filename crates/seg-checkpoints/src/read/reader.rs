//! A file read at given positions by many threads.

use crate::dtype::Decode;
use crate::error::Fault;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

/// Bytes read in one go while decoding: large enough for the disk, small enough for the cache.
const CHUNK: usize = 1 << 18;

/// A file and its length when it was opened. Reads past the end are errors, also when the file shrinks later.
#[derive(Debug)]
pub(crate) struct Reader {
    file: Mutex<File>,
    len: u64,
}

impl Reader {
    pub fn new(file: File) -> std::io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file: Mutex::new(file), len })
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buf` from `offset` on.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        let end = offset.saturating_add(buf.len() as u64);
        if end > self.len {
            return Err(Fault::Truncated { expected: end, actual: self.len });
        }
        // A panic in another reader leaves the file position anywhere, and it is set anew here.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buf).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                Fault::Truncated { expected: end, actual: file.metadata().map_or(0, |m| m.len()) }
            }
            _ => Fault::Io(e),
        })
    }

    /// `len` bytes from `offset` on; `len` is checked against the file before memory is taken.
    pub fn bytes(&self, offset: u64, len: usize) -> Result<Vec<u8>, Fault> {
        let end = offset.saturating_add(len as u64);
        if end > self.len {
            return Err(Fault::Truncated { expected: end, actual: self.len });
        }
        let mut buf = reserve(len)?;
        buf.resize(len, 0);
        self.read_at(offset, &mut buf)?;
        Ok(buf)
    }

    /// Calls `visit` with the `len` bytes from `offset` on, in pieces.
    pub fn pieces(&self, offset: u64, len: u64, mut visit: impl FnMut(&[u8])) -> Result<(), Fault> {
        let mut buf = vec![0; len.min(CHUNK as u64) as usize];
        let mut at = 0;
        while at < len {
            let part = (len - at).min(CHUNK as u64) as usize;
            self.read_at(offset.saturating_add(at), &mut buf[..part])?;
            visit(&buf[..part]);
            at += part as u64;
        }
        Ok(())
    }

    /// `count` elements from byte `offset` on, through a small buffer, so that no second copy of a tensor exists.
    /// `visit` sees their bytes, in pieces.
    pub fn elements<T: Decode>(
        &self,
        offset: u64,
        count: usize,
        mut visit: impl FnMut(&[u8]),
    ) -> Result<Vec<T>, Fault> {
        let bytes = (count as u64).saturating_mul(T::SIZE as u64);
        let end = offset.saturating_add(bytes);
        if end > self.len {
            return Err(Fault::Truncated { expected: end, actual: self.len });
        }
        let mut out = reserve(count)?;
        let per_chunk = CHUNK / T::SIZE;
        let mut buf = vec![0u8; per_chunk.min(count) * T::SIZE];
        while out.len() < count {
            let n = per_chunk.min(count - out.len());
            let part = &mut buf[..n * T::SIZE];
            self.read_at(offset + (out.len() * T::SIZE) as u64, part)?;
            visit(part);
            for bytes in part.chunks_exact(T::SIZE) {
                out.push(T::decode(bytes)?);
            }
        }
        Ok(out)
    }
}

/// Memory from a size that came from a file: an error, not an abort, when there is not enough.
pub(crate) fn reserve<T>(count: usize) -> Result<Vec<T>, Fault> {
    let mut v = Vec::new();
    v.try_reserve_exact(count)
        .map_err(|_| Fault::limit(format!("not enough memory for {} bytes", count.saturating_mul(size_of::<T>()))))?;
    Ok(v)
}
