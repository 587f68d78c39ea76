//! Metrics of a band along the border: boundary IoU, BiRefNet's curve of it over gray levels, mean boundary accuracy.

use rayon::prelude::*;

use crate::Plane;
use crate::bits::BitMask;
use crate::overlap::Overlap;

/// Width of the band of boundary IoU: this share of the image's diagonal (Cheng et al., "Boundary IoU", CVPR 2021).
pub const DILATION_RATIO: f64 = 0.02;

/// Width in pixels, at least 1, of a band that is `ratio` of the diagonal.
pub fn band_width(width: usize, height: usize, ratio: f64) -> usize {
    let diagonal = ((width * width + height * height) as f64).sqrt();
    (ratio * diagonal).round_ties_even().max(1.) as usize
}

/// The pixels of a mask that are at most `width` pixels away from what is outside it, the image's frame included.
pub fn inner_band(mask: &BitMask, width: usize) -> BitMask {
    mask.and_not(&mask.erode_square(width))
}

/// Boundary IoU: the overlap of the two masks' inner bands.
///
/// # Panics
/// When the masks differ in size.
pub fn boundary_iou(pred: &BitMask, gt: &BitMask, ratio: f64) -> Overlap {
    let width = band_width(gt.width(), gt.height(), ratio);
    Overlap::new(&inner_band(pred, width), &inner_band(gt, width))
}

/// BiRefNet's "BIoU" at the thresholds 255, 254, ... 0. The band of the prediction is that of the gray image (the image
/// minus its gray erosion), so this is not the boundary IoU of the thresholded masks. `levels` maps the bytes of `pred` to
/// the levels that are compared.
///
/// # Panics
/// When the sizes differ.
pub fn gray_boundary_curve(pred: Plane<'_>, levels: &[u8; 256], gt: &BitMask) -> Vec<f64> {
    assert_eq!((pred.width(), pred.height()), (gt.width(), gt.height()), "images of different sizes");
    let radius = band_width(gt.width(), gt.height(), DILATION_RATIO);
    let gt = inner_band(gt, radius);
    let image: Vec<u8> = pred.data().iter().map(|&v| levels[v as usize]).collect();
    let eroded = erode_gray(&image, pred.width(), radius);
    let (image, eroded) = (image.par_chunks_exact(pred.width()), eroded.par_chunks_exact(pred.width()));
    let [outside, inside] = image
        .zip(eroded)
        .enumerate()
        .fold(
            || [[0u64; 256]; 2],
            |mut counts, (y, (image, eroded))| {
                for (x, (v, e)) in image.iter().zip(eroded).enumerate() {
                    let inside = gt.row(y)[x / 64] >> (x % 64) & 1;
                    counts[inside as usize][usize::from(v - e)] += 1;
                }
                counts
            },
        )
        .reduce(
            || [[0; 256]; 2],
            |mut a, b| {
                a.as_flattened_mut().iter_mut().zip(b.as_flattened()).for_each(|(a, b)| *a += b);
                a
            },
        );
    let total = gt.count().max(1);
    let (mut right, mut wrong) = (0, 0);
    (0..256)
        .rev()
        .map(|level| {
            right += inside[level];
            wrong += outside[level];
            right as f64 / (total + wrong) as f64
        })
        .collect()
}

/// Minimum over the square of side `2 radius + 1`; what lies outside counts as 0.
fn erode_gray(image: &[u8], width: usize, radius: usize) -> Vec<u8> {
    let (height, side) = (image.len() / width, 2 * radius + 1);
    let mut out = vec![0; image.len()];
    if width < side || height < side {
        return out;
    }
    // along the rows: of windows of 1, 2, 4... pixels to the right
    let mut across = vec![0; image.len()];
    across.par_chunks_exact_mut(width).zip(image.par_chunks_exact(width)).for_each_init(
        || vec![0; width],
        |wider, (out, row)| {
            out.copy_from_slice(row);
            let mut reach = 1;
            while reach < side {
                let step = reach.min(side - reach);
                for ((w, a), b) in wider.iter_mut().zip(&*out).zip(&out[step..]) {
                    *w = *a.min(b);
                }
                out[..width - step].copy_from_slice(&wider[..width - step]);
                reach += step;
            }
            // the window begins at its pixel: bring it to the middle
            out.copy_within(..width - 2 * radius, radius);
            out[..radius].fill(0);
            out[width - radius..].fill(0);
        },
    );
    // down the columns, after van Herk, Gil and Werman: two running minima from the multiples of `side`
    let mut from_below = vec![255u8; side * width];
    let mut from_above = vec![255u8; width];
    for block in (0..height + 1 - side).step_by(side) {
        for r in (0..side).rev() {
            let (here, later) = from_below.split_at_mut((r + 1) * width);
            let here = &mut here[r * width..];
            here.copy_from_slice(&across[(block + r) * width..][..width]);
            if let Some(later) = later.get(..width) {
                here.iter_mut().zip(later).for_each(|(h, l)| *h = *l.min(h));
            }
        }
        from_above.fill(255);
        for start in block..(block + side).min(height + 1 - side) {
            if start > block {
                let row = &across[(start + side - 1) * width..][..width];
                from_above.iter_mut().zip(row).for_each(|(a, r)| *a = *r.min(a));
            }
            let below = &from_below[(start - block) * width..][..width];
            let out = &mut out[(start + radius) * width..][..width];
            out.iter_mut().zip(below).zip(&from_above).for_each(|((o, b), a)| *o = *b.min(a));
        }
    }
    out
}

/// How many radii mean boundary accuracy has.
const RADII: usize = 5;

/// Mean boundary accuracy (Cheng et al., "CascadePSP", CVPR 2020) as BiRefNet computes it: the share of pixels in which
/// the masks agree in a band along the ground truth's border, the mean over five widths that grow with the image.
/// NaN when the ground truth has no border.
///
/// # Panics
/// When the masks differ in size.
pub fn mean_boundary_accuracy(pred: &BitMask, gt: &BitMask) -> f64 {
    let wrong = pred.xor(gt);
    let largest = (gt.width() + gt.height()) as f64 / 300.;
    let shares: Vec<f64> = (0..RADII)
        .into_par_iter()
        .map(|i| {
            let radius = 1 + ((largest - 1.) / RADII as f64 * i as f64) as i64;
            let disc = ellipse(radius.max(0) as usize);
            let band = gt.dilate_spans(&disc).and_not(&gt.erode_spans(&disc));
            let pixels = band.count();
            (pixels - band.count_and(&wrong)) as f64 / pixels as f64
        })
        .collect();
    shares.iter().sum::<f64>() / RADII as f64
}

/// Half widths of OpenCV's elliptic structuring element of side `2 radius + 1`.
fn ellipse(radius: usize) -> Vec<usize> {
    let r = radius as f64;
    let inverse = if radius == 0 { 0. } else { 1. / (r * r) };
    (0..=radius).map(|dy| (r * ((r * r - (dy * dy) as f64) * inverse).sqrt()).round_ties_even() as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gray_erosion_equals_search() {
        for (width, height, radius) in [(9, 7, 1), (40, 33, 3), (5, 40, 2), (4, 40, 2), (31, 30, 14)] {
            let image: Vec<u8> = (0..width * height).map(|i| (i * i * 31 + i * 7) as u8 | 1).collect();
            let eroded = erode_gray(&image, width, radius);
            for (i, &e) in eroded.iter().enumerate() {
                let (x, y) = (i % width, i / width);
                let whole = x >= radius && y >= radius && x + radius < width && y + radius < height;
                let least = whole.then(|| {
                    (y - radius..=y + radius)
                        .flat_map(|y| image[y * width + x - radius..=y * width + x + radius].iter())
                        .min()
                });
                assert_eq!(e, least.flatten().copied().unwrap_or(0), "{width}x{height}, {radius}: ({x}, {y})");
            }
        }
    }

    /// `cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 r + 1, 2 r + 1))` of OpenCV 4.12.
    #[test]
    fn ellipses_equal_opencv() {
        let widths: [(usize, &[usize]); 8] = [
            (0, &[0]),
            (1, &[1, 0]),
            (2, &[2, 2, 0]),
            (3, &[3, 3, 2, 0]),
            (5, &[5, 5, 5, 4, 3, 0]),
            (8, &[8, 8, 8, 7, 7, 6, 5, 4, 0]),
            (13, &[13, 13, 13, 13, 12, 12, 12, 11, 10, 9, 8, 7, 5, 0]),
            (17, &[17, 17, 17, 17, 17, 16, 16, 15, 15, 14, 14, 13, 12, 11, 10, 8, 6, 0]),
        ];
        for (radius, widths) in widths {
            assert_eq!(ellipse(radius), widths, "radius {radius}");
        }
    }

    #[test]
    fn band_of_a_full_mask_runs_along_the_frame() {
        let data = [255; 70 * 9];
        let mask = BitMask::above(Plane::new(&data, 70, 9).unwrap(), 128);
        assert_eq!(inner_band(&mask, 2).count(), 70 * 9 - 66 * 5);
        assert_eq!(inner_band(&mask, 5).count(), 70 * 9);
    }
}
