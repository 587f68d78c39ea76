//! A frame as the two encoders take it.

use candle_core::{Device, Tensor};
use seg_data::tensor::{ValueRange, to_tensor};
use seg_data::{PilFilter, RgbImage, resize_pil};

use crate::error::{Error, Result};
use crate::normalize::{IMAGENET_MEAN, IMAGENET_STD, normalize};

/// The frame as a square of `side` pixels, its aspect not kept: Pillow's bilinear filter on bytes.
///
/// # Errors
/// A frame without pixels.
pub fn squash(frame: &RgbImage, side: usize) -> Result<RgbImage> {
    let (width, height) = frame.dimensions();
    if width == 0 || height == 0 {
        return Err(Error::EmptyImage { width, height });
    }
    Ok(resize_pil(frame, (side as u32, side as u32), PilFilter::Bilinear)?)
}

/// Scaled to 0..1 and normalised by ImageNet's mean and deviation, `[1, 3, H, W]`.
pub fn normalized(image: &RgbImage, device: &Device) -> Result<Tensor> {
    let unit = to_tensor(image, ValueRange::Unit, device)?.unsqueeze(0)?;
    Ok(normalize(&unit, IMAGENET_MEAN, IMAGENET_STD)?)
}
