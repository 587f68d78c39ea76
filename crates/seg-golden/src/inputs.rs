//! The inputs of the cases: images, photos, masks and plain noise, all from formulas and names.

use crate::fill::{fill, fnv1a64, unit};
use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;
use std::f64::consts::PI;

/// ImageNet channel means on `[0, 1]`.
pub const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
/// ImageNet channel standard deviations on `[0, 1]`.
pub const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];
/// SAM's channel means on `[0, 255]` (`segment_anything/modeling/sam.py`).
pub const SAM_MEAN: [f64; 3] = [123.675, 116.28, 103.53];
/// SAM's channel standard deviations on `[0, 255]`.
pub const SAM_STD: [f64; 3] = [58.395, 57.12, 57.375];

/// A smooth synthetic picture with a little noise, fully given by its name, salt and shift.
///
/// ```
/// use candle_core::Device;
/// let image = seg_golden::Pattern::new("input.image").image(64, 96, &Device::Cpu)?; // [1, 3, 64, 96]
/// assert_eq!(image.dims(), [1, 3, 64, 96]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    seed: u64,
    shift: f64,
}

impl Pattern {
    /// The pattern called `name`, without salt and shift.
    pub fn new(name: &str) -> Self {
        Self::salted("", name)
    }

    /// The pattern called `name` under `salt`.
    pub fn salted(salt: &str, name: &str) -> Self {
        Self { seed: fnv1a64(&format!("{salt}{name}")), shift: 0.0 }
    }

    /// The same pattern moved to the right by `shift` (a part of the width).
    #[must_use]
    pub fn shifted(self, shift: f64) -> Self {
        Self { shift, ..self }
    }

    /// The values in `[0, 1]`, channel by channel, row by row: `c * h * w` of them, in `f64`.
    pub fn content01(&self, c: usize, h: usize, w: usize) -> Vec<f64> {
        let mut out = vec![0f64; c * h * w];
        out.par_chunks_mut(w.max(1)).enumerate().for_each(|(row, out)| {
            let (channel, y) = ((row / h) as f64, (row % h) as f64 / h as f64);
            for (x, v) in out.iter_mut().enumerate() {
                let x_at = x as f64 / w as f64 - self.shift;
                let waves = 0.25 * (2.0 * PI * (x_at * (channel + 1.0) * 3.0 + y * 2.0)).sin()
                    + 0.25 * (2.0 * PI * (y * (channel + 2.0) * 2.5 - x_at)).sin();
                let noise = 0.1 * (unit(self.seed, row * w + x) - 0.5);
                *v = (0.5 + waves + noise).clamp(0.0, 1.0);
            }
        });
        out
    }

    /// `[1, c, h, w]` in `F32`: `map(channel, content01)`, computed in `f64` and rounded once.
    pub fn map(
        &self,
        (c, h, w): (usize, usize, usize),
        device: &Device,
        map: impl Fn(usize, f64) -> f64 + Sync,
    ) -> Result<Tensor> {
        let content = self.content01(c, h, w);
        let values: Vec<f32> = content.par_iter().enumerate().map(|(i, &v)| map(i / (h * w), v) as f32).collect();
        Tensor::from_vec(values, (1, c, h, w), device)
    }

    /// The picture with ImageNet normalisation, `[1, 3, h, w]`.
    pub fn image(&self, h: usize, w: usize, device: &Device) -> Result<Tensor> {
        self.map((3, h, w), device, |c, v| (v - IMAGENET_MEAN[c]) / IMAGENET_STD[c])
    }

    /// The picture with the normalisation of SAM (version 1), `[1, 3, h, w]`.
    pub fn sam_image(&self, h: usize, w: usize, device: &Device) -> Result<Tensor> {
        self.map((3, h, w), device, |c, v| (255.0 * v - SAM_MEAN[c]) / SAM_STD[c])
    }

    /// The picture on `[0, 255]`, not rounded to whole numbers, `[1, 3, h, w]`.
    pub fn image_255(&self, h: usize, w: usize, device: &Device) -> Result<Tensor> {
        self.map((3, h, w), device, |_, v| 255.0 * v)
    }

    /// The picture as a photo: `h * w * 3` bytes, RGB, row by row.
    pub fn image_u8(&self, h: usize, w: usize) -> Vec<u8> {
        let content = self.content01(3, h, w);
        let mut out = vec![0u8; h * w * 3];
        out.par_chunks_mut(3).enumerate().for_each(|(i, rgb)| {
            for (c, v) in rgb.iter_mut().enumerate() {
                *v = (255.0 * content[c * h * w + i] + 0.5).floor() as u8;
            }
        });
        out
    }

    /// Mask logits `20 * (content01 - 0.5)`, `[1, 1, h, w]`.
    pub fn mask_logits(&self, h: usize, w: usize, device: &Device) -> Result<Tensor> {
        self.map((1, h, w), device, |_, v| 20.0 * (v - 0.5))
    }

    /// A binary mask, 1 where `content01 > threshold`, `[1, 1, h, w]`.
    pub fn mask(&self, h: usize, w: usize, threshold: f64, device: &Device) -> Result<Tensor> {
        self.map((1, h, w), device, move |_, v| f64::from(u8::from(v > threshold)))
    }
}

/// Noise of any shape: `(u - 0.5) * factor` for the name `salt + name`, in `F32`.
pub fn noise(name: &str, dims: &[usize], salt: &str, factor: f32, device: &Device) -> Result<Tensor> {
    let seed = fnv1a64(&format!("{salt}{name}"));
    let n: usize = dims.iter().product();
    // u - 0.5 has 24 bits, so this product is the once-rounded one
    let values: Vec<f32> = (0..n).into_par_iter().map(|i| (unit(seed, i) - 0.5) as f32 * factor).collect();
    Tensor::from_vec(values, dims, device)
}

/// What the fill rule gives for `name`, times `factor`: the inputs that a case describes as «fill, times».
pub fn filled(name: &str, dims: &[usize], salt: &str, factor: f32, device: &Device) -> Result<Tensor> {
    let values: Vec<f32> = fill(name, dims, salt).into_iter().map(|v| v * factor).collect();
    Tensor::from_vec(values, dims, device)
}

/// An ellipse as an `h * w` mask of 0 and 1: centre and radii are parts of the width and height, and a pixel belongs
/// to it when its middle lies inside or on the edge.
pub fn ellipse((cx, cy): (f64, f64), (rx, ry): (f64, f64), h: usize, w: usize) -> Vec<u8> {
    let axis = |i: usize, n: usize, c: f64, r: f64| (((i as f64 + 0.5) / n as f64 - c) / r).powi(2);
    (0..h * w).map(|i| u8::from(axis(i % w, w, cx, rx) + axis(i / w, h, cy, ry) <= 1.0)).collect()
}
