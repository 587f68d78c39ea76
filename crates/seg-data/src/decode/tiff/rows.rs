//! Rows as stored to rows of whole samples: predictors undone, bits unpacked, bytes in this machine's order.

use std::borrow::Cow;

use super::header::Header;

/// All rows of a strip or tile, `row_bytes` each.
pub(super) fn unpack<'d>(header: &Header, bytes: Cow<'d, [u8]>, row_bytes: usize) -> Cow<'d, [u8]> {
    if header.bits == 8 && header.predictor == 1 {
        return bytes;
    }
    let size = header.sample_bytes();
    if !matches!(header.bits, 8 | 16 | 32 | 64) {
        let samples = header.tiles.width as usize * header.together();
        return bytes.chunks(row_bytes).flat_map(|row| bits(row, header.bits, samples, size)).collect();
    }
    let together = header.together();
    let mut bytes = bytes.into_owned();
    for row in bytes.chunks_mut(row_bytes) {
        if header.predictor == 3 {
            floating(row, size, together);
            continue;
        }
        native(row, size, header.big_endian);
        if header.predictor == 2 {
            match size {
                1 => accumulate::<1>(row, together, |a, b| [a[0].wrapping_add(b[0])]),
                2 => accumulate::<2>(row, together, |a, b| {
                    u16::from_ne_bytes(a).wrapping_add(u16::from_ne_bytes(b)).to_ne_bytes()
                }),
                4 => accumulate::<4>(row, together, |a, b| {
                    u32::from_ne_bytes(a).wrapping_add(u32::from_ne_bytes(b)).to_ne_bytes()
                }),
                _ => accumulate::<8>(row, together, |a, b| {
                    u64::from_ne_bytes(a).wrapping_add(u64::from_ne_bytes(b)).to_ne_bytes()
                }),
            }
        }
    }
    Cow::Owned(bytes)
}

/// Samples of less than 8 bits to a byte, of less than 16 to two; the first in the highest bits.
fn bits(row: &[u8], depth: u32, samples: usize, size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(samples * size);
    let (mut held, mut count) = (0u32, 0);
    let mut row = row.iter();
    for _ in 0..samples {
        while count < depth {
            let Some(byte) = row.next() else { return out };
            held = held << 8 | u32::from(*byte);
            count += 8;
        }
        count -= depth;
        let value = held >> count & ((1 << depth) - 1);
        match size {
            1 => out.push(value as u8),
            _ => out.extend((value as u16).to_ne_bytes()),
        }
    }
    out
}

/// Turns the bytes of each sample round where the file's order is not this machine's.
fn native(row: &mut [u8], size: usize, big_endian: bool) {
    if size > 1 && big_endian != cfg!(target_endian = "big") {
        row.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
}

/// Each sample is stored as its difference to the one of the pixel before.
fn accumulate<const N: usize>(row: &mut [u8], together: usize, add: impl Fn([u8; N], [u8; N]) -> [u8; N]) {
    let step = N * together;
    for at in (step..(row.len() / N) * N).step_by(N) {
        let (before, here) = row.split_at_mut(at);
        let mut sum = [0; N];
        sum.copy_from_slice(&here[..N]);
        let mut last = [0; N];
        last.copy_from_slice(&before[at - step..][..N]);
        here[..N].copy_from_slice(&add(sum, last));
    }
}

/// The floating point predictor: the highest bytes of all samples, then the next ones, …, each stored as its difference
/// to the one a pixel before.
fn floating(row: &mut [u8], size: usize, together: usize) {
    for at in together..row.len() {
        row[at] = row[at].wrapping_add(row[at - together]);
    }
    let planes = row.to_vec();
    let count = row.len() / size;
    for (i, sample) in row.chunks_exact_mut(size).enumerate() {
        for (k, byte) in sample.iter_mut().enumerate() {
            let rank = if cfg!(target_endian = "big") { k } else { size - 1 - k };
            *byte = planes[rank * count + i];
        }
    }
}
