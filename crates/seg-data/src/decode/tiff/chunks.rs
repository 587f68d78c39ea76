//! Strips and tiles put together: all samples of all pixels, side by side.

use std::borrow::Cow;

use rayon::prelude::*;

use super::codec::{self, Compression};
use super::fault::Fault;
use super::header::{Header, Photometric};
use super::{Source, jpeg, rows, ycbcr};
use crate::error::Result;

/// The samples of a strip or tile, row by row, in whole bytes of this machine's order.
pub(super) struct Chunk<'d> {
    pub samples: Cow<'d, [u8]>,
    /// Of a row.
    pub row_bytes: usize,
}

/// What all samples are gathered in: bytes, some to a sample, or samples of two bytes.
pub(super) trait Cell: Copy + Default + Send + Sync {
    /// Of one.
    const BYTES: usize;

    /// Fills `out` with what `bytes` are in this machine's order.
    fn fill(out: &mut [Self], bytes: &[u8]);
}

impl Cell for u8 {
    const BYTES: usize = 1;

    fn fill(out: &mut [Self], bytes: &[u8]) {
        out.copy_from_slice(bytes);
    }
}

impl Cell for u16 {
    const BYTES: usize = 2;

    fn fill(out: &mut [Self], bytes: &[u8]) {
        for (out, v) in out.iter_mut().zip(bytes.chunks_exact(2)) {
            *out = u16::from_ne_bytes([v[0], v[1]]);
        }
    }
}

/// All samples: `height × width × samples`, [`Header::sample_bytes`] each, in this machine's byte order.
pub(super) fn read<T: Cell>(header: &Header, source: &Source<'_>) -> Result<Vec<T>> {
    let (size, samples) = (header.sample_bytes(), header.samples);
    let cells = samples * size / T::BYTES;
    let row = header.width as usize * cells;
    let mut out = Vec::new();
    let count = row * header.height as usize;
    out.try_reserve_exact(count).map_err(|_| source.limits.no_memory(source.name, (count * T::BYTES) as u64))?;
    out.resize(count, T::default());
    let across = header.width.div_ceil(header.tiles.width) as usize;
    let a_plane = across * header.height.div_ceil(header.tiles.height) as usize;
    let (planes, wide) = (samples / header.together(), header.tiles.width as usize);
    out.par_chunks_mut(row * header.tiles.height as usize)
        .enumerate()
        .try_for_each(|(band, out)| {
            let rows = out.len() / row;
            for (plane, x) in (0..planes).flat_map(|plane| (0..across).map(move |x| (plane, x))) {
                let chunk = chunk(header, source, plane * a_plane + band * across + x, rows)?;
                let left = x * wide;
                let width = wide.min(header.width as usize - left);
                let bytes = width * header.together() * size;
                if chunk.row_bytes < bytes || chunk.samples.len() < (rows - 1) * chunk.row_bytes + bytes {
                    return Err(Fault::Truncated(format!(
                        "a strip or tile has {} bytes of pixels, expected {rows} rows of {bytes}",
                        chunk.samples.len()
                    )));
                }
                for (out, from) in out.chunks_exact_mut(row).zip(chunk.samples.chunks(chunk.row_bytes)) {
                    place(&mut out[left * cells..], &from[..bytes], plane, header);
                }
            }
            Ok(())
        })
        .map_err(|fault| fault.of(source.name))?;
    Ok(out)
}

/// Puts a row of a strip or tile where it belongs, a plane's samples between those of the others.
fn place<T: Cell>(out: &mut [T], row: &[u8], plane: usize, header: &Header) {
    if !header.planar {
        T::fill(&mut out[..row.len() / T::BYTES], row);
        return;
    }
    let cells = header.sample_bytes() / T::BYTES;
    for (pixel, sample) in out.chunks_exact_mut(header.samples * cells).zip(row.chunks_exact(header.sample_bytes())) {
        T::fill(&mut pixel[plane * cells..][..cells], sample);
    }
}

fn chunk<'f>(
    header: &Header,
    source: &Source<'f>,
    index: usize,
    needed: usize,
) -> std::result::Result<Chunk<'f>, Fault> {
    let (at, length) = header.tiles.places.get(index).copied().unwrap_or_default();
    // without compression the rows tell how long it is, where writers leave the length at 0
    let length = match header.compression {
        Compression::NONE if header.subsampling == (1, 1) => length.max((needed * header.row_bytes()) as u64),
        _ => length,
    };
    let range = usize::try_from(at).ok().zip(usize::try_from(length).ok());
    let range = range.and_then(|(at, length)| Some(at..at.checked_add(length)?));
    let Some(data) = range.and_then(|range| source.bytes.get(range)) else {
        let end = source.bytes.len();
        return Err(Fault::Truncated(format!("a strip or tile of {length} bytes begins at {at}, the file has {end}")));
    };
    if header.compression.is_picture() {
        return match header.compression {
            Compression::JPEG => jpeg::jpeg(header, data, source),
            _ => jpeg::webp(header, data, source),
        };
    }
    let width = header.tiles.width as usize;
    if header.photometric == Photometric::YCbCr && header.subsampling != (1, 1) {
        return ycbcr::full_size(header, data, needed);
    }
    let row_bytes = header.row_bytes();
    // a tile is stored whole, but nothing below the picture is needed of it
    let bytes = codec::expand(header, data, needed, row_bytes)?;
    Ok(Chunk {
        samples: rows::unpack(header, bytes, row_bytes),
        row_bytes: width * header.together() * header.sample_bytes(),
    })
}
