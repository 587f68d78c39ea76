//! Component planes to pixels as libjpeg-turbo does it: triangle upsampling by 2, repetition otherwise, integer colours.

use libjpeg_turbo_rs::RawImage;
use rayon::prelude::*;

use super::super::loader::Room;
use super::Output;
use super::stream::{Colour, Frame};

/// Rows that one task converts.
const BAND: usize = 32;

#[derive(Clone, Copy)]
enum Filter {
    Same,
    TwiceAcross,
    TwiceDown,
    TwiceBoth,
    Repeat(usize, usize),
}

struct Plane<'a> {
    samples: &'a [u8],
    stride: usize,
    width: usize,
    height: usize,
    filter: Filter,
}

/// `height × width` grey or RGB pixels. The error says which sampling cannot be read.
pub(super) fn to_pixels(
    raw: &RawImage,
    frame: &Frame,
    colour: Colour,
    output: Output,
    room: &mut Room,
) -> Result<Vec<u8>, String> {
    let (width, height) = (frame.width, frame.height);
    if colour == Colour::Grey {
        let rows = raw.planes[0].chunks_exact(raw.plane_widths[0]).take(height);
        return Ok(rows.flat_map(|row| row[..width].iter().copied()).collect());
    }
    let (h_max, v_max) = frame.max();
    let mut planes = Vec::new();
    for (i, part) in frame.components.iter().enumerate() {
        if !h_max.is_multiple_of(part.h) || !v_max.is_multiple_of(part.v) {
            let (h, v) = (part.h, part.v);
            return Err(format!("component {} is sampled {h}x{v} of {h_max}x{v_max}, expected a whole ratio", i + 1));
        }
        let across = (width * part.h).div_ceil(h_max);
        let filter = match (h_max / part.h, v_max / part.v) {
            (1, 1) => Filter::Same,
            (2, 1) if across > 2 => Filter::TwiceAcross,
            (1, 2) => Filter::TwiceDown,
            (2, 2) if across > 2 => Filter::TwiceBoth,
            (h, v) => Filter::Repeat(h, v),
        };
        planes.push(Plane {
            samples: &raw.planes[i],
            stride: raw.plane_widths[i],
            width: across,
            height: (height * part.v).div_ceil(v_max),
            filter,
        });
    }
    let channels = if output == Output::OpencvGrey { 1 } else { 3 };
    if output == Output::OpencvGrey && colour == Colour::YCbCr {
        planes.truncate(1);
    }
    let mut out = room.pixels(width * height * channels);
    out.par_chunks_mut(width * channels * BAND).enumerate().for_each(|(band, pixels)| {
        let mut rows = vec![vec![0u8; width + 2]; planes.len()];
        let mut sums = Vec::new();
        for (i, pixels) in pixels.chunks_exact_mut(width * channels).enumerate() {
            for (plane, row) in planes.iter().zip(&mut rows) {
                plane.row(band * BAND + i, row, &mut sums);
            }
            if output == Output::OpencvGrey {
                opencv_grey(&rows, colour, pixels);
                continue;
            }
            match colour {
                Colour::Rgb => interleave(&rows, pixels),
                Colour::Cmyk => cmyk(&rows, pixels, false),
                Colour::Ycck => cmyk(&rows, pixels, true),
                Colour::YCbCr | Colour::Grey => ycc(&rows, pixels),
            }
        }
    });
    Ok(out)
}

impl Plane<'_> {
    fn source(&self, row: usize) -> &[u8] {
        &self.samples[row * self.stride..][..self.width]
    }

    /// Row `y` of the picture: at least its width in samples.
    fn row(&self, y: usize, out: &mut [u8], sums: &mut Vec<u16>) {
        match self.filter {
            Filter::Same => out[..self.width].copy_from_slice(self.source(y)),
            Filter::Repeat(h, v) => {
                let source = self.source(y / v);
                for (out, &value) in out.chunks_mut(h).zip(source) {
                    out.fill(value);
                }
            }
            Filter::TwiceAcross => {
                sums.clear();
                sums.extend(self.source(y).iter().map(|&v| u16::from(v)));
                across(sums, out, [1, 2], 2);
            }
            Filter::TwiceDown => {
                let (near, far) = self.pair(y);
                let bias = 1 + (y % 2) as u16;
                for ((out, &a), &b) in out.iter_mut().zip(near).zip(far) {
                    *out = ((u16::from(a) * 3 + u16::from(b) + bias) >> 2) as u8;
                }
            }
            Filter::TwiceBoth => {
                let (near, far) = self.pair(y);
                sums.clear();
                sums.extend(near.iter().zip(far).map(|(&a, &b)| u16::from(a) * 3 + u16::from(b)));
                across(sums, out, [8, 7], 4);
            }
        }
    }

    /// The row that row `y` of twice the height lies in, and the other one it is near to.
    fn pair(&self, y: usize) -> (&[u8], &[u8]) {
        let near = y / 2;
        let far = if y.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(self.height - 1) };
        (self.source(near), self.source(far))
    }
}

/// Twice as wide, three parts of the sample and one of its neighbour. Three samples or more.
fn across(sums: &[u16], out: &mut [u8], bias: [u16; 2], shift: u16) {
    let mix = |a: u16, b: u16, bias: u16| ((a * 3 + b + bias) >> shift) as u8;
    let last = sums.len() - 1;
    for (pair, s) in out[1..].chunks_exact_mut(2).zip(sums.windows(2)) {
        pair[0] = mix(s[0], s[1], bias[1]);
        pair[1] = mix(s[1], s[0], bias[0]);
    }
    out[0] = mix(sums[0], sums[0], bias[0]);
    out[2 * last + 1] = mix(sums[last], sums[last], bias[1]);
}

fn interleave(rows: &[Vec<u8>], pixels: &mut [u8]) {
    for (x, pixel) in pixels.chunks_exact_mut(3).enumerate() {
        pixel.copy_from_slice(&[rows[0][x], rows[1][x], rows[2][x]]);
    }
}

/// BT.601 in 16-bit fixed point, each product rounded as libjpeg does.
#[inline(always)]
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let half = 1 << 15;
    [(91_881 * cr + half) >> 16, (-22_554 * cb - 46_802 * cr + half) >> 16, (116_130 * cb + half) >> 16]
        .map(|offset| (y + offset).clamp(0, 255) as u8)
}

/// [`rgb`] of a row. In pieces, and in 16 bits where its products allow it, so that the compiler computes many pixels at a time.
fn ycc(rows: &[Vec<u8>], pixels: &mut [u8]) {
    const PIECE: usize = 32;
    let [y, cb, cr, ..] = rows else { return };
    let inputs = || y.chunks_exact(PIECE).zip(cb.chunks_exact(PIECE)).zip(cr.chunks_exact(PIECE));
    let (pieces, rest) = pixels.split_at_mut(pixels.len() / (3 * PIECE) * (3 * PIECE));
    for (pixels, ((y, cb), cr)) in pieces.chunks_exact_mut(3 * PIECE).zip(inputs()) {
        let (mut red, mut green, mut blue) = ([0u8; PIECE], [0u8; PIECE], [0u8; PIECE]);
        for i in 0..PIECE {
            let (y, cb, cr) = (i16::from(y[i]), i16::from(cb[i]) - 128, i16::from(cr[i]) - 128);
            // 91881 = 65536 + 26345, 116130 = 2 * 65536 - 14942, 46802 = 65536 - 18734; half the product, rounded up, is the
            // product rounded
            let product = |twice: i16, by: i16| ((i32::from(twice) * i32::from(by)) >> 16) as i16;
            let both = (i32::from(cb) * -22_554 + i32::from(cr) * 18_734 + (1 << 15)) >> 16;
            red[i] = (y + cr + ((product(2 * cr, 26_345) + 1) >> 1)).clamp(0, 255) as u8;
            green[i] = (y - cr + both as i16).clamp(0, 255) as u8;
            blue[i] = (y + 2 * cb + ((product(2 * cb, -14_942) + 1) >> 1)).clamp(0, 255) as u8;
        }
        for (pixel, ((r, g), b)) in pixels.chunks_exact_mut(3).zip(red.iter().zip(&green).zip(&blue)) {
            pixel.copy_from_slice(&[*r, *g, *b]);
        }
    }
    let done = pieces.len() / 3;
    for (i, pixel) in rest.chunks_exact_mut(3).enumerate() {
        pixel.copy_from_slice(&rgb(y[done + i], cb[done + i], cr[done + i]));
    }
}

/// Inverted CMYK, as Adobe stores it and PIL takes all, to RGB by PIL's formula.
fn cmyk(rows: &[Vec<u8>], pixels: &mut [u8], ycck: bool) {
    let [a, b, c, k, ..] = rows else { return };
    for (x, pixel) in pixels.chunks_exact_mut(3).enumerate() {
        let ink = if ycck { rgb(a[x], b[x], c[x]) } else { [a[x], b[x], c[x]].map(|v| 255 - v) };
        let white = u32::from(k[x]);
        for (out, ink) in pixel.iter_mut().zip(ink) {
            let product = u32::from(ink) * white + 128;
            *out = white.saturating_sub((product + (product >> 8)) >> 8) as u8;
        }
    }
}

/// The grey that OpenCV asks libjpeg for: luma as stored, or of red, green and blue; of inks it is OpenCV's own.
fn opencv_grey(rows: &[Vec<u8>], colour: Colour, pixels: &mut [u8]) {
    let at = |x: usize| [0, 1, 2].map(|i| rows[i][x]);
    match colour {
        Colour::YCbCr | Colour::Grey => pixels.copy_from_slice(&rows[0][..pixels.len()]),
        Colour::Rgb => {
            for (x, pixel) in pixels.iter_mut().enumerate() {
                let [r, g, b] = at(x).map(u32::from);
                *pixel = ((19_595 * r + 38_470 * g + 7_471 * b + (1 << 15)) >> 16) as u8;
            }
        }
        Colour::Cmyk | Colour::Ycck => {
            for (x, pixel) in pixels.iter_mut().enumerate() {
                let [a, b, c] = at(x);
                let ink = if colour == Colour::Ycck { rgb(a, b, c).map(|v| 255 - v) } else { [a, b, c] };
                let black = i32::from(rows[3][x]);
                let [c, m, y] = ink.map(|v| black - (((255 - i32::from(v)) * black) >> 8));
                *pixel = ((1_868 * y + 9_617 * m + 4_899 * c + (1 << 13)) >> 14).clamp(0, 255) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{rgb, ycc};

    #[test]
    fn pieces_equal_single_pixels() {
        let all: Vec<u8> = (0..=255).collect();
        for cr in 0..=255u8 {
            let rows = [all.iter().map(|v| v.wrapping_mul(7)).collect(), all.clone(), vec![cr; 256]];
            let mut found = vec![0; 3 * 250];
            ycc(&rows, &mut found);
            for (i, pixel) in found.chunks_exact(3).enumerate() {
                assert_eq!(pixel, rgb(rows[0][i], rows[1][i], cr), "{} {} {cr}", rows[0][i], rows[1][i]);
            }
        }
    }
}
