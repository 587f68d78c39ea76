//! From images to IS-Net's input (`IS-Net/data_loader_cache.py`, `IS-Net/Inference.py`).

use candle_core::{Device, Tensor};
use seg_data::tensor::{ValueRange, luma_to_tensor, to_tensor};
use seg_data::{GrayImage, RgbImage};
use seg_ops::Resize;

use crate::error::{Error, Result};

/// Side of the square input that all published checkpoints were trained on, in pixels.
pub const INPUT_SIZE: usize = 1024;

/// The network's input for RGB: squashed to `size × size`, in −0.5..0.5. `[1, 3, S, S]`.
pub fn rgb_input(image: &RgbImage, size: usize, device: &Device) -> Result<Tensor> {
    centred(&whole_levels(&squash(&rgb_levels(image, device)?, size)?)?)
}

/// An image as floats of its levels 0..255, `[1, 3, H, W]`.
pub(crate) fn rgb_levels(image: &RgbImage, device: &Device) -> Result<Tensor> {
    let (width, height) = image.dimensions();
    if width == 0 || height == 0 {
        return Err(Error::EmptyImage { width, height });
    }
    Ok(to_tensor(image, ValueRange::Byte, device)?.unsqueeze(0)?)
}

/// A mask image as floats of its levels 0..255, `[1, 1, H, W]`.
pub(crate) fn grey_levels(image: &GrayImage, device: &Device) -> Result<Tensor> {
    let (width, height) = image.dimensions();
    if width == 0 || height == 0 {
        return Err(Error::EmptyImage { width, height });
    }
    Ok(luma_to_tensor(image, ValueRange::Byte, device)?.unsqueeze(0)?)
}

/// `[1, C, H, W]` to `[1, C, S, S]`: bilinear without antialiasing, whatever the shape.
pub(crate) fn squash(levels: &Tensor, size: usize) -> Result<Tensor> {
    Ok(seg_ops::resize(levels, (size, size), &Resize::bilinear())?)
}

/// Levels cut to whole numbers, as a cast to bytes does.
pub(crate) fn whole_levels(levels: &Tensor) -> Result<Tensor> {
    Ok(levels.floor()?)
}

/// Levels 0..255 to −0.5..0.5.
pub(crate) fn centred(levels: &Tensor) -> Result<Tensor> {
    Ok(((levels / 255.)? - 0.5)?)
}
