//! YCbCr that no JPEG codec has turned into RGB.

use super::chunks::Chunk;
use super::codec;
use super::fault::Fault;
use super::header::Header;

/// Subsampled pixels lie in blocks, the luma of all of them and then the two chroma samples that they share; here each
/// pixel gets its own.
pub(super) fn full_size(header: &Header, data: &[u8], needed: usize) -> Result<Chunk<'static>, Fault> {
    let (h, v) = (header.subsampling.0 as usize, header.subsampling.1 as usize);
    let width = header.tiles.width as usize;
    let (across, down) = (width.div_ceil(h), needed.div_ceil(v));
    let block = h * v + 2;
    let bytes = codec::expand(header, data, down, across * block)?;
    let row_bytes = width * 3;
    let mut samples = vec![0; row_bytes * (bytes.len() / (across * block)) * v];
    for (i, block) in bytes.chunks_exact(block).take(samples.len() / (row_bytes * v) * across).enumerate() {
        let (left, top) = (i % across * h, i / across * v);
        let (luma, chroma) = block.split_at(h * v);
        for (k, y) in luma.iter().enumerate() {
            let (x, row) = (left + k % h, top + k / h);
            if x < width {
                samples[row * row_bytes + 3 * x..][..3].copy_from_slice(&[*y, chroma[0], chroma[1]]);
            }
        }
    }
    samples.truncate(row_bytes * needed);
    Ok(Chunk { samples: samples.into(), row_bytes })
}

/// Y, Cb, Cr to red, green, blue, by the page's coefficients and its black and white; rounded as libtiff rounds, with 16
/// fractional bits.
pub(super) fn to_rgb(header: &Header, pixels: &mut [u8], step: usize) {
    let [red, green, blue] = header.luma;
    let fixed = |v: f32| (v * 65536. + 0.5) as i64;
    let (cr_red, cb_blue) = (fixed(2. - 2. * red), fixed(2. - 2. * blue));
    let (cr_green, cb_green) = (fixed(red * (2. - 2. * red) / green), fixed(blue * (2. - 2. * blue) / green));
    // what each number stands for: 0 to 255, -127 to 127
    let table = |zero: f32, one: f32, range: f32| -> Vec<i64> {
        let width = if one == zero { 1. } else { one - zero };
        (0..256).map(|v| ((v as f32 - zero) * range / width).clamp(-65536., 65536.) as i64).collect()
    };
    let [y0, y1, b0, b1, r0, r1] = header.reference;
    let (luma, cbs, crs) = (table(y0, y1, 255.), table(b0, b1, 127.), table(r0, r1, 127.));
    let half = 1 << 15;
    for pixel in pixels.chunks_exact_mut(step) {
        let (y, cb, cr) = (luma[usize::from(pixel[0])], cbs[usize::from(pixel[1])], crs[usize::from(pixel[2])]);
        let r = y + ((cr_red * cr + half) >> 16);
        let g = y + ((half - cr_green * cr - cb_green * cb) >> 16);
        let b = y + ((cb_blue * cb + half) >> 16);
        pixel[..3].copy_from_slice(&[r, g, b].map(|v| v.clamp(0, 255) as u8));
    }
}
