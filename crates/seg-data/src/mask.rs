//! Between model outputs (plain `f32` slices), binary masks, and 8-bit mask images.

use image::GrayImage;

use crate::error::{DataError, Result};

/// A mask image from logits: 255 where `logit > threshold` (SAM's rule, threshold 0), else 0.
///
/// # Errors
/// When `logits.len()` is not `width * height`.
pub fn from_logits(logits: &[f32], width: u32, height: u32, threshold: f32) -> Result<GrayImage> {
    build(logits, width, height, |v| if v > threshold { 255 } else { 0 })
}

/// A mask image from probabilities in 0..1: `round(255·p)`, clamped; NaN becomes 0.
///
/// # Errors
/// When `probabilities.len()` is not `width * height`.
pub fn from_probabilities(probabilities: &[f32], width: u32, height: u32) -> Result<GrayImage> {
    build(probabilities, width, height, |p| (p.clamp(0.0, 1.0) * 255.0).round() as u8)
}

/// A mask image from bytes of which 0 is outside and anything else inside: values 0 and 255.
///
/// # Errors
/// When `mask.len()` is not `width * height`.
pub fn from_binary(mask: &[u8], width: u32, height: u32) -> Result<GrayImage> {
    build(mask, width, height, |v| if v != 0 { 255 } else { 0 })
}

/// Row-major binary mask (1 inside, 0 outside) of a mask image; a value of 128 or more is inside.
pub fn to_binary(mask: &GrayImage) -> Vec<u8> {
    mask.as_raw().iter().map(|&v| u8::from(v >= 128)).collect()
}

/// Otsu's threshold: values above it are inside. The one that separates the two heaps best, the lowest of equals, as OpenCV's
/// `THRESH_OTSU` finds it; 0 when there is only one value.
pub fn otsu_threshold(values: &[u8]) -> u8 {
    let mut histogram = [0u64; 256];
    for &v in values {
        histogram[usize::from(v)] += 1;
    }
    let scale = 1. / (values.len() as f64).max(1.);
    let mean: f64 = histogram.iter().enumerate().map(|(v, &n)| v as f64 * n as f64).sum::<f64>() * scale;
    let (mut best, mut threshold) = (0., 0);
    let (mut below, mut mean_below) = (0., 0.);
    for (v, &n) in histogram.iter().enumerate() {
        let share = n as f64 * scale;
        mean_below *= below;
        below += share;
        let above = 1. - below;
        if below.min(above) < f64::from(f32::EPSILON) || below.max(above) > 1. - f64::from(f32::EPSILON) {
            continue;
        }
        mean_below = (mean_below + v as f64 * share) / below;
        let mean_above = (mean - below * mean_below) / above;
        let between = below * above * (mean_below - mean_above).powi(2);
        if between > best {
            (best, threshold) = (between, v as u8);
        }
    }
    threshold
}

fn build<T: Copy>(values: &[T], width: u32, height: u32, f: impl Fn(T) -> u8) -> Result<GrayImage> {
    check_len("the mask's length", values.len(), width, height)?;
    let bytes = values.iter().map(|&v| f(v)).collect();
    GrayImage::from_raw(width, height, bytes)
        .ok_or_else(|| DataError::size("the mask's length", values.len().to_string(), format!("{width}x{height}")))
}

/// `len == width * height`, with an error that says what was expected.
pub(crate) fn check_len(what: &'static str, len: usize, width: u32, height: u32) -> Result<()> {
    if len as u64 == u64::from(width) * u64::from(height) {
        return Ok(());
    }
    let expected = format!("{width}x{height} = {}", u64::from(width) * u64::from(height));
    Err(DataError::size(what, len.to_string(), expected))
}
