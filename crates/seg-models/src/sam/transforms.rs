//! SAM's way between an image and the square input: the longest side resized, the rest padded
//! (segment_anything/utils/transforms.py, segment_anything/modeling/sam.py).

use candle_core::{Device, Tensor};
use seg_data::tensor::{ValueRange, to_tensor};
use seg_data::{PilFilter, RgbImage, resize_pil};
use seg_ops::Resize;

use crate::error::{Error, Result};
use crate::normalize::{SAM_MEAN, SAM_STD, normalize};

/// An image's size and the size that it has inside the square input, both width × height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResizeLongestSide {
    original: (u32, u32),
    resized: (u32, u32),
    image_size: usize,
}

impl ResizeLongestSide {
    /// For an image of `width × height` pixels and a square of `image_size`.
    pub fn new((width, height): (u32, u32), image_size: usize) -> Result<Self> {
        if width == 0 || height == 0 {
            return Err(Error::EmptyImage { width, height });
        }
        let scale = image_size as f64 / f64::from(width.max(height));
        // a sliver still has a pixel
        let side = |side: u32| ((f64::from(side) * scale + 0.5) as u32).max(1);
        Ok(Self { original: (width, height), resized: (side(width), side(height)), image_size })
    }

    /// Width and height inside the square.
    pub fn resized(&self) -> (u32, u32) {
        self.resized
    }

    /// Pixels of the image to pixels of the square.
    pub fn to_input(&self, x: f32, y: f32) -> (f32, f32) {
        let scale = |v: f32, from: u32, to: u32| (f64::from(v) * (f64::from(to) / f64::from(from))) as f32;
        (scale(x, self.original.0, self.resized.0), scale(y, self.original.1, self.resized.1))
    }

    /// The image at its size inside the square: 8-bit, as PIL resizes it.
    pub fn resize(&self, image: &RgbImage) -> Result<RgbImage> {
        Ok(resize_pil(image, self.resized, PilFilter::Bilinear)?)
    }

    /// The network's input: resized, normalised, then padded with zeros right and below. `[1, 3, S, S]`.
    pub fn preprocess(&self, image: &RgbImage, device: &Device) -> Result<Tensor> {
        let resized = to_tensor(&self.resize(image)?, ValueRange::Byte, device)?.unsqueeze(0)?;
        let (width, height) = (self.resized.0 as usize, self.resized.1 as usize);
        let normalized = normalize(&resized, SAM_MEAN, SAM_STD)?;
        let pad = |side: usize| self.image_size.saturating_sub(side);
        Ok(normalized.pad_with_zeros(2, 0, pad(height))?.pad_with_zeros(3, 0, pad(width))?)
    }

    /// Low-resolution logits `[B, M, h, w]` to the size of the image, `[B, M, H, W]`: up to the square, the padding
    /// cut off, to the image.
    pub fn postprocess(&self, masks: &Tensor) -> Result<Tensor> {
        let square = seg_ops::resize(masks, (self.image_size, self.image_size), &Resize::bilinear())?;
        let cropped = square.narrow(2, 0, self.resized.1 as usize)?.narrow(3, 0, self.resized.0 as usize)?;
        let (width, height) = (self.original.0 as usize, self.original.1 as usize);
        Ok(seg_ops::resize(&cropped, (height, width), &Resize::bilinear())?)
    }
}
