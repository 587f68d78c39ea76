//! Colours of an object without those of what is behind it.
//!
//! Where a mask is soft the photo shows a mixture, `I = a F + (1 - a) B`. F and B are first taken as means of the photo nearby, weighted by `a` and by
//! `1 - a`, then F gets its share of what the mixture of these two is off; once with a wide neighbourhood, once with a narrow one (Germer et al.,
//! "Fast multi-level foreground estimation", 2020; Forte, "Approximate fast foreground colour estimation", 2021: written from the formulas).

use image::{GrayImage, RgbImage};
use rayon::prelude::*;

/// Radii of the neighbourhoods in pixels, and how far a tile sees beyond itself.
const RADII: [usize; 2] = [90, 6];
const MARGIN: usize = RADII[0] + RADII[1];
/// Side of a tile.
const TILE: usize = 384;

/// The photo with the object's own colours where the mask is soft; the same elsewhere.
pub fn freed(image: &RgbImage, mask: &GrayImage) -> RgbImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut out = image.clone();
    let soft = |level: &u8| (1..255).contains(level);
    out.par_chunks_mut((3 * width * TILE).max(1)).enumerate().for_each(|(band, rows)| {
        let y0 = band * TILE;
        let y1 = (y0 + TILE).min(height);
        for x0 in (0..width).step_by(TILE) {
            let x1 = (x0 + TILE).min(width);
            let line = |y: usize| &mask.as_raw()[y * width + x0..y * width + x1];
            if !(y0..y1).any(|y| line(y).iter().any(soft)) {
                continue;
            }
            let view = View::new(image, mask, [x0, y0, x1, y1]);
            let colours = view.foreground();
            for y in y0..y1 {
                for (x, _) in (x0..x1).zip(line(y)).filter(|(_, level)| soft(level)) {
                    let from = view.at(x, y);
                    let to = 3 * ((y - y0) * width + x);
                    for (c, plane) in colours.iter().enumerate() {
                        rows[to + c] = (plane[from].clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
                    }
                }
            }
        }
    });
    out
}

/// A tile with its surroundings.
struct View {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    alpha: Vec<f32>,
    colours: [Vec<f32>; 3],
}

impl View {
    fn new(image: &RgbImage, mask: &GrayImage, [x0, y0, x1, y1]: [usize; 4]) -> Self {
        let stride = image.width() as usize;
        let (left, top) = (x0.saturating_sub(MARGIN), y0.saturating_sub(MARGIN));
        let right = (x1 + MARGIN).min(stride);
        let bottom = (y1 + MARGIN).min(image.height() as usize);
        let (width, height) = (right - left, bottom - top);
        let mut view =
            Self { left, top, width, height, alpha: Vec::with_capacity(width * height), colours: Default::default() };
        for y in top..bottom {
            let row = y * stride + left..y * stride + right;
            view.alpha.extend(mask.as_raw()[row.clone()].iter().map(|level| f32::from(*level) / 255.0));
            for pixel in image.as_raw()[3 * row.start..3 * row.end].chunks_exact(3) {
                view.colours.iter_mut().zip(pixel).for_each(|(plane, v)| plane.push(f32::from(*v) / 255.0));
            }
        }
        view
    }

    fn at(&self, x: usize, y: usize) -> usize {
        (y - self.top) * self.width + x - self.left
    }

    /// The object's colours.
    fn foreground(&self) -> [Vec<f32>; 3] {
        let size = (self.width, self.height);
        let other: Vec<f32> = self.alpha.iter().map(|a| 1.0 - a).collect();
        let weights = RADII.map(|radius| [box_mean(&self.alpha, size, radius), box_mean(&other, size, radius)]);
        self.colours.each_ref().map(|image| {
            let (mut front, mut back) = (image.clone(), image.clone());
            for (radius, [inside, outside]) in RADII.into_iter().zip(&weights) {
                let near = |colours: &[f32], share: &[f32], weight: &[f32]| -> Vec<f32> {
                    let weighted: Vec<f32> = colours.iter().zip(share).map(|(c, a)| c * a).collect();
                    let mean = box_mean(&weighted, size, radius);
                    mean.iter().zip(weight).map(|(m, w)| m / (w + 1e-5)).collect()
                };
                (front, back) = (near(&front, &self.alpha, inside), near(&back, &other, outside));
                for (i, value) in front.iter_mut().enumerate() {
                    let a = self.alpha[i];
                    *value = (*value + a * (image[i] - a * *value - (1.0 - a) * back[i])).clamp(0.0, 1.0);
                }
            }
            front
        })
    }
}

/// The mean of the square of side `2 radius + 1` around each value, as far as it is there.
fn box_mean(values: &[f32], (width, height): (usize, usize), radius: usize) -> Vec<f32> {
    let mut rows = vec![0f32; values.len()];
    for (row, out) in values.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
        running(width, radius, |i| row[i], |i, mean| out[i] = mean);
    }
    let mut out = vec![0f32; values.len()];
    // a block of columns at a time stays in the cache
    let mut sums = vec![0f64; width];
    let window = |y: usize| (y.saturating_sub(radius), (y + radius + 1).min(height));
    let (mut from, mut to) = (0, 0);
    for y in 0..height {
        let (first, end) = window(y);
        while to < end {
            sums.iter_mut().zip(&rows[to * width..]).for_each(|(sum, v)| *sum += f64::from(*v));
            to += 1;
        }
        while from < first {
            sums.iter_mut().zip(&rows[from * width..]).for_each(|(sum, v)| *sum -= f64::from(*v));
            from += 1;
        }
        let count = (end - first) as f64;
        out[y * width..][..width].iter_mut().zip(&sums).for_each(|(out, sum)| *out = (sum / count) as f32);
    }
    out
}

fn running(n: usize, radius: usize, value: impl Fn(usize) -> f32, mut put: impl FnMut(usize, f32)) {
    let (mut sum, mut from, mut to) = (0f64, 0, 0);
    for i in 0..n {
        let (first, end) = (i.saturating_sub(radius), (i + radius + 1).min(n));
        while to < end {
            sum += f64::from(value(to));
            to += 1;
        }
        while from < first {
            sum -= f64::from(value(from));
            from += 1;
        }
        put(i, (sum / (end - first) as f64) as f32);
    }
}

#[cfg(test)]
mod tests {
    use image::{Luma, Rgb};

    use super::*;

    /// A red object whose edge is a ramp, mixed with a green background.
    #[test]
    fn the_background_goes_from_soft_edges() {
        let (width, height) = (500, 60);
        let alpha = |x: u32| 1.0 - ((f64::from(x) - 200.0) / 40.0).clamp(0.0, 1.0);
        let mask = GrayImage::from_fn(width, height, |x, _| Luma([(255.0 * alpha(x)).round() as u8]));
        let image = RgbImage::from_fn(width, height, |x, y| {
            let a = f64::from(mask.get_pixel(x, y).0[0]) / 255.0;
            Rgb([(200.0 * a + 20.0 * (1.0 - a)).round() as u8, (30.0 * a + 180.0 * (1.0 - a)).round() as u8, 10])
        });
        let freed = freed(&image, &mask);
        for x in 201..235 {
            // estimated from what is near: most of the background goes, not all of it
            let off = |image: &RgbImage| {
                let Rgb([r, g, b]) = *image.get_pixel(x, 30);
                u32::from(r.abs_diff(200)) + u32::from(g.abs_diff(30)) + u32::from(b.abs_diff(10))
            };
            assert!(off(&freed) <= off(&image) / 6 + 6, "{x}: {} of {}", off(&freed), off(&image));
        }
        for x in [0, 199, 241, 499] {
            assert_eq!(freed.get_pixel(x, 30), image.get_pixel(x, 30), "what is not soft stays");
        }
    }

    #[test]
    fn means_are_means() {
        let values: Vec<f32> = (0..35).map(|v| (v * v % 17) as f32).collect();
        let (width, height, radius) = (7usize, 5usize, 2usize);
        let fast = box_mean(&values, (width, height), radius);
        for y in 0..height {
            for x in 0..width {
                let ys = y.saturating_sub(radius)..(y + radius + 1).min(height);
                let near: Vec<f32> = ys
                    .flat_map(|v| (x.saturating_sub(radius)..(x + radius + 1).min(width)).map(move |u| (v, u)))
                    .map(|(v, u)| values[v * width + u])
                    .collect();
                let mean = near.iter().sum::<f32>() / near.len() as f32;
                assert!((fast[y * width + x] - mean).abs() < 1e-4);
            }
        }
    }
}
