//! From 8-bit images to tensors.

use candle_core::{Device, Tensor};
use image::{GrayImage, RgbImage};
use rayon::prelude::*;

use crate::error::Result;

/// Which values 0 and 255 become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueRange {
    /// 0..1, each byte divided by 255 in float32: torchvision's `ToTensor` (SAM 2).
    Unit,
    /// 0..255 unchanged (SAM, whose mean and standard deviation are in that range).
    Byte,
}

/// `height × width × 3` bytes to a float32 tensor `[3, H, W]` on `device`.
///
/// # Errors
/// Those of candle, when the device has no memory left.
pub fn to_tensor(image: &RgbImage, range: ValueRange, device: &Device) -> Result<Tensor> {
    let (w, h) = (image.width() as usize, image.height() as usize);
    let raw = image.as_raw();
    let mut data = vec![0f32; 3 * w * h];
    let table = table(range);
    data.par_chunks_mut((w * h).max(1)).enumerate().for_each(|(channel, plane)| {
        for (out, pixel) in plane.iter_mut().zip(raw.chunks_exact(3)) {
            *out = table[usize::from(pixel[channel])];
        }
    });
    Ok(Tensor::from_vec(data, (3, h, w), device)?)
}

/// `height × width` bytes to a float32 tensor `[1, H, W]` on `device`.
///
/// # Errors
/// Those of candle, when the device has no memory left.
pub fn luma_to_tensor(image: &GrayImage, range: ValueRange, device: &Device) -> Result<Tensor> {
    let (w, h) = (image.width() as usize, image.height() as usize);
    let table = table(range);
    let data: Vec<f32> = image.as_raw().iter().map(|&v| table[usize::from(v)]).collect();
    Ok(Tensor::from_vec(data, (1, h, w), device)?)
}

fn table(range: ValueRange) -> [f32; 256] {
    let scale = match range {
        ValueRange::Unit => 255.0,
        ValueRange::Byte => 1.0,
    };
    std::array::from_fn(|v| v as f32 / scale)
}
