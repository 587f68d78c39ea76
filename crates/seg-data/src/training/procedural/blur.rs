//! Blur that is quick at any width.

use image::ImageBuffer;

use crate::resize::PilPixel;
use crate::{PilFilter, Result, resize_pil};

/// Where the way by a smaller picture begins, in pixels of deviation.
const WIDE: f64 = 1.6;

/// A Gauss of `sigma` pixels, to half a level; where it is wide, nearly one, by way of a smaller picture.
pub(super) fn blurred<P: PilPixel>(image: &ImageBuffer<P, Vec<u8>>, sigma: f64) -> Result<ImageBuffer<P, Vec<u8>>> {
    let (width, height) = image.dimensions();
    if sigma < WIDE {
        let raw = gauss(image.as_raw(), width as usize, P::CHANNEL_COUNT.into(), sigma);
        return Ok(ImageBuffer::from_raw(width, height, raw).unwrap_or_default());
    }
    // a box of k pixels and then a triangle over 2 k have deviations of 0.29 k and 0.41 k; a Gauss between them adds the rest
    let k = (sigma / 1.2).round().max(2.);
    let smaller = |side: u32| ((f64::from(side) / k).round() as u32).max(1);
    let mut small = resize_pil(image, (smaller(width), smaller(height)), PilFilter::Box)?;
    let rest = (sigma * sigma / (k * k) - 0.25).max(0.).sqrt();
    let raw = gauss(small.as_raw(), small.width() as usize, P::CHANNEL_COUNT.into(), rest);
    small = ImageBuffer::from_raw(small.width(), small.height(), raw).unwrap_or_default();
    resize_pil(&small, (width, height), PilFilter::Bilinear)
}

/// Rows, then columns, in 256ths; beyond the border it is as at the border.
fn gauss(image: &[u8], width: usize, channels: usize, sigma: f64) -> Vec<u8> {
    let reach = (3. * sigma).ceil() as usize;
    let weight = |k: usize| (-0.5 * (k as f64 - reach as f64).powi(2) / sigma.max(1e-3).powi(2)).exp();
    let sum: f64 = (0..=2 * reach).map(weight).sum();
    let mut weights: Vec<u16> = (0..=2 * reach).map(|k| (256. * weight(k) / sum).round() as u16).collect();
    // all together exactly 256, so that what is even stays as it is, and sums stay below 65536
    let others: u16 = weights.iter().sum::<u16>() - weights[reach];
    weights[reach] = 256 - others;
    let row = width * channels;
    let mut across = Vec::with_capacity(image.len());
    let (mut wide, mut sums) = (vec![0u8; row + 2 * reach * channels], vec![0u16; row]);
    let finish = |sums: &mut [u16], out: &mut Vec<u8>| {
        out.extend(sums.iter().map(|sum| (sum >> 8) as u8));
        sums.fill(128);
    };
    sums.fill(128);
    for line in image.chunks_exact(row) {
        for k in 0..reach {
            wide[k * channels..][..channels].copy_from_slice(&line[..channels]);
            wide[(reach + width + k) * channels..][..channels].copy_from_slice(&line[row - channels..]);
        }
        wide[reach * channels..][..row].copy_from_slice(line);
        for (k, weight) in weights.iter().enumerate() {
            add(&mut sums, &wide[k * channels..][..row], *weight);
        }
        finish(&mut sums, &mut across);
    }
    let (height, mut out) = (image.len() / row, Vec::with_capacity(image.len()));
    for y in 0..height {
        for (k, weight) in weights.iter().enumerate() {
            let from = (y + k).saturating_sub(reach).min(height - 1);
            add(&mut sums, &across[from * row..][..row], *weight);
        }
        finish(&mut sums, &mut out);
    }
    out
}

fn add(sums: &mut [u16], line: &[u8], weight: u16) {
    sums.iter_mut().zip(line).for_each(|(sum, level)| *sum += u16::from(*level) * weight);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GrayImage, RgbImage};

    #[test]
    fn an_edge_spreads_as_far_as_asked() {
        for sigma in [0.5, 1., 1.5, 2., 5.] {
            // over several places: the smaller picture's pixels begin where they do
            let edges = 40..52;
            let mut square = 0.;
            for edge in edges.clone() {
                let sharp = GrayImage::from_fn(97, 12, |x, _| image::Luma([if x < edge { 255 } else { 0 }]));
                let soft = blurred(&sharp, sigma).unwrap();
                let level = |x: u32| f64::from(soft.get_pixel(x, 6)[0]);
                assert!((level(0) + level(96) - 255.).abs() < 1e-9);
                let steps = (0..96).map(|x| (level(x) - level(x + 1)) * f64::from(x as i32 + 1 - edge as i32).powi(2));
                square += steps.sum::<f64>() / 255. / edges.len() as f64;
            }
            assert!((square.sqrt() / sigma - 1.).abs() < 0.1, "{sigma}: {}", square.sqrt());
        }
    }

    #[test]
    fn what_is_even_stays() {
        let even = RgbImage::from_pixel(9, 7, image::Rgb([255, 3, 128]));
        for sigma in [0.1, 0.7, 1.5, 4.] {
            assert_eq!(blurred(&even, sigma).unwrap(), even);
        }
    }
}
