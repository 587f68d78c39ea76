//! Resizing of 8-bit images, bit-equal to Pillow's `Image.resize` of the version that is asked for, and Pillow's
//! `convert("L")`.
//!
//! SAM's `ResizeLongestSide` (bilinear) and SAM 2's video loader (bicubic) resize 8-bit images with Pillow before the
//! network sees them, so its rounding is part of the models. Source: Pillow, `src/libImaging/Resample.c`, `Geometry.c`.
//!
//! Pillow always antialiases: the filter's support grows with the shrinking factor. It works in two passes, each with
//! weights in fixed point (22 fractional bits) and a result rounded to 8 bits and cut off at 0 and 255.
//!
//! Up to 12.3 the horizontal pass is the first; from 13.0 on it is the vertical one where an image loses more than two
//! rows a column ([`PassOrder::Pillow13`]). That is most portrait photos shrunk to a square. Rounding and, with the
//! negative lobes of bicubic and Lanczos, the cut between the passes then fall differently: box, bilinear and Hamming move
//! by 1 level, bicubic by up to 3 on portrait photos and 22 on slivers of noise, Lanczos by up to 41. The published models
//! were trained and evaluated with horizontal first, which is the default here.

use image::{GrayImage, ImageBuffer, Luma, Pixel, Rgb, RgbImage};
use rayon::prelude::*;

use crate::error::{DataError, Result};

/// Pillow's resampling filters (`PIL.Image.Resampling`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PilFilter {
    /// The nearest source pixel; no antialiasing.
    Nearest,
    /// Mean over the covered area.
    Box,
    /// Triangle, support 1.
    Bilinear,
    /// Hamming-windowed sinc, support 1.
    Hamming,
    /// Cubic with a = -0.5, support 2.
    Bicubic,
    /// Lanczos, support 3.
    Lanczos,
}

/// Which of the two passes is the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PassOrder {
    /// The horizontal one: Pillow up to 12.3 (measured: 11.3, 12.1, 12.2, 12.3).
    #[default]
    HorizontalFirst,
    /// As Pillow 13.0 chooses it: the vertical one where the rows become fewer, by more than twice as many as the columns
    /// do; columns that are added count below 0.
    Pillow13,
}

impl PassOrder {
    fn vertical_first(self, from: (usize, usize), to: (usize, usize)) -> bool {
        let lost = |from: usize, to: usize| from as i64 - to as i64;
        let (columns, rows) = (lost(from.0, to.0), lost(from.1, to.1));
        self == Self::Pillow13 && rows > 0 && rows > 2 * columns
    }
}

impl PilFilter {
    fn support(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let t = x.abs();
        match self {
            // half-open, so that a pixel exactly between two belongs to one of them
            Self::Nearest | Self::Box => f64::from(x > -0.5 && x <= 0.5),
            Self::Bilinear => (1.0 - t).max(0.0),
            Self::Hamming if t == 0.0 => 1.0,
            Self::Hamming if t >= 1.0 => 0.0,
            Self::Hamming => {
                // single-precision constants in the original, which decides one value in a million
                let r = t * std::f64::consts::PI;
                r.sin() / r * (f64::from(0.54f32) + f64::from(0.46f32) * r.cos())
            }
            Self::Bicubic => {
                const A: f64 = -0.5;
                if t < 1.0 {
                    ((A + 2.0) * t - (A + 3.0)) * t * t + 1.0
                } else if t < 2.0 {
                    (((t - 5.0) * t + 8.0) * t - 4.0) * A
                } else {
                    0.0
                }
            }
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let r = x * std::f64::consts::PI;
    r.sin() / r
}

/// Pixels that Pillow resizes channel by channel: 8-bit grey (`L`) and 8-bit RGB. (With alpha it premultiplies; that is
/// not offered here.)
pub trait PilPixel: Pixel<Subpixel = u8> + private::Sealed {}
impl PilPixel for Luma<u8> {}
impl PilPixel for Rgb<u8> {}

mod private {
    pub trait Sealed {}
    impl Sealed for image::Luma<u8> {}
    impl Sealed for image::Rgb<u8> {}
}

/// `Image.resize((width, height), filter)` of Pillow up to 12.3 for 8-bit grey or RGB, to the last bit. For later versions
/// see [`resize_pil_in_order`].
///
/// # Errors
/// When the image or the wanted size has a side of 0, or the result would exceed 2^31 bytes.
pub fn resize_pil<P: PilPixel>(
    image: &ImageBuffer<P, Vec<u8>>,
    size: (u32, u32),
    filter: PilFilter,
) -> Result<ImageBuffer<P, Vec<u8>>> {
    resize_pil_in_order(image, size, filter, PassOrder::HorizontalFirst)
}

/// [`resize_pil`] with the passes in the order of a version of Pillow.
///
/// # Errors
/// As [`resize_pil`].
pub fn resize_pil_in_order<P: PilPixel>(
    image: &ImageBuffer<P, Vec<u8>>,
    (width, height): (u32, u32),
    filter: PilFilter,
    order: PassOrder,
) -> Result<ImageBuffer<P, Vec<u8>>> {
    let (w, h) = image.dimensions();
    if w == 0 || h == 0 {
        return Err(DataError::size("the image to resize", format!("{w}x{h}"), "at least 1x1"));
    }
    // of the result and of what lies between the passes
    let pixels = (u64::from(width) * u64::from(height.max(h))).max(u64::from(w) * u64::from(height));
    let bytes = pixels.saturating_mul(P::CHANNEL_COUNT.into());
    if width == 0 || height == 0 || bytes > 1 << 31 {
        let expected = "at least 1x1 and at most 2^31 bytes";
        return Err(DataError::size("the size to resize to", format!("{width}x{height}"), expected));
    }
    let (from, to) = ((w as usize, h as usize), (width as usize, height as usize));
    let raw = match P::CHANNEL_COUNT {
        1 => resize_raw::<1>(image.as_raw(), from, to, filter, order),
        _ => resize_raw::<3>(image.as_raw(), from, to, filter, order),
    };
    ImageBuffer::from_raw(width, height, raw)
        .ok_or_else(|| DataError::size("the size to resize to", format!("{width}x{height}"), "a size that fits"))
}

fn resize_raw<const C: usize>(
    src: &[u8],
    from: (usize, usize),
    to: (usize, usize),
    filter: PilFilter,
    order: PassOrder,
) -> Vec<u8> {
    if from == to {
        return src.to_vec();
    }
    if filter == PilFilter::Nearest {
        return nearest::<C>(src, from, to);
    }
    // A pass is left out when its size does not change: that is not the same as a pass with weight 1 only in that
    // it saves time.
    if from.0 != to.0 && order.vertical_first(from, to) {
        let tall = vertical(src, from.0 * C, from.1, to.1, filter);
        return horizontal::<C>(&tall, (from.0, to.1), to.0, filter);
    }
    let wide = (from.0 != to.0).then(|| horizontal::<C>(src, from, to.0, filter));
    let src = wide.as_deref().unwrap_or(src);
    if from.1 == to.1 { src.to_vec() } else { vertical(src, to.0 * C, from.1, to.1, filter) }
}

/// Fractional bits of the weights: 32, less 8 for the pixel, less 2 for the overshoot of negative lobes.
const PRECISION: u32 = 22;

/// The weights of one axis: for each output position the first source index and a run of fixed-point weights.
struct Axis {
    first: Vec<usize>,
    taps: Vec<Vec<i32>>,
}

impl Axis {
    fn new(from: usize, to: usize, filter: PilFilter) -> Self {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let inverse = 1.0 / stretch;
        let mut axis = Self { first: Vec::with_capacity(to), taps: Vec::with_capacity(to) };
        for x in 0..to {
            let center = (x as f64 + 0.5) * scale;
            // truncation towards zero after adding a half, then the clamp: the order decides which pixels count
            let lo = ((center - support + 0.5) as i64).max(0) as usize;
            let hi = ((center + support + 0.5) as usize).min(from);
            let mut weights: Vec<f64> = (lo..hi).map(|i| filter.weight((i as f64 - center + 0.5) * inverse)).collect();
            let sum: f64 = weights.iter().sum();
            if sum != 0.0 {
                weights.iter_mut().for_each(|w| *w /= sum);
            }
            let one = f64::from(1u32 << PRECISION);
            axis.taps.push(weights.iter().map(|&w| (w * one + 0.5f64.copysign(w)) as i32).collect());
            axis.first.push(lo);
        }
        axis
    }
}

fn round_shift(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

const HALF: i32 = 1 << (PRECISION - 1);

fn horizontal<const C: usize>(src: &[u8], (w, h): (usize, usize), to: usize, filter: PilFilter) -> Vec<u8> {
    let axis = Axis::new(w, to, filter);
    let mut out = vec![0u8; to * h * C];
    out.par_chunks_mut(to * C).zip(src.par_chunks(w * C)).with_min_len(8).for_each(|(out, row)| {
        for ((pixel, &first), taps) in out.chunks_exact_mut(C).zip(&axis.first).zip(&axis.taps) {
            let mut sum = [HALF; C];
            for (source, &k) in row[first * C..].chunks_exact(C).zip(taps) {
                for c in 0..C {
                    sum[c] += i32::from(source[c]) * k;
                }
            }
            for c in 0..C {
                pixel[c] = round_shift(sum[c]);
            }
        }
    });
    out
}

fn vertical(src: &[u8], stride: usize, h: usize, to: usize, filter: PilFilter) -> Vec<u8> {
    let axis = Axis::new(h, to, filter);
    let mut out = vec![0u8; stride * to];
    out.par_chunks_mut(stride).enumerate().with_min_len(8).for_each_init(
        || vec![0i32; stride],
        |sums, (y, out)| {
            sums.fill(HALF);
            for (row, &k) in src[axis.first[y] * stride..].chunks_exact(stride).zip(&axis.taps[y]) {
                for (sum, &v) in sums.iter_mut().zip(row) {
                    *sum += i32::from(v) * k;
                }
            }
            for (o, &sum) in out.iter_mut().zip(sums.iter()) {
                *o = round_shift(sum);
            }
        },
    );
    out
}

fn nearest<const C: usize>(src: &[u8], (w, h): (usize, usize), to: (usize, usize)) -> Vec<u8> {
    let (columns, rows) = (nearest_indices(w, to.0), nearest_indices(h, to.1));
    let mut out = vec![0u8; to.0 * to.1 * C];
    out.par_chunks_mut(to.0 * C).zip(rows.par_iter()).with_min_len(16).for_each(|(out, &y)| {
        let row = &src[y * w * C..][..w * C];
        for (pixel, &x) in out.chunks_exact_mut(C).zip(&columns) {
            pixel.copy_from_slice(&row[x * C..][..C]);
        }
    });
    out
}

/// Pillow adds the step up instead of multiplying, so that its rounding errors add up too.
fn nearest_indices(from: usize, to: usize) -> Vec<usize> {
    let step = from as f64 / to as f64;
    let mut at = step * 0.5;
    (0..to)
        .map(|_| {
            let i = (at as usize).min(from - 1);
            at += step;
            i
        })
        .collect()
}

/// Pillow's `convert("L")`: `(19595·R + 38470·G + 7471·B + 32768) >> 16` (ITU-R 601-2).
pub fn to_luma_pil(image: &RgbImage) -> GrayImage {
    let mut out = GrayImage::new(image.width(), image.height());
    let chunk = 1 << 14;
    out.par_chunks_mut(chunk).zip(image.as_raw().par_chunks(3 * chunk)).for_each(|(out, rgb)| {
        for (o, p) in out.iter_mut().zip(rgb.chunks_exact(3)) {
            let sum = 19595 * u32::from(p[0]) + 38470 * u32::from(p[1]) + 7471 * u32::from(p[2]) + 0x8000;
            *o = (sum >> 16) as u8;
        }
    });
    out
}
