//! Per-channel normalisation.

use candle_core::{Result, Tensor};

/// ImageNet's mean of R, G, B in 0..1 (SAM 2 and most backbones).
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// ImageNet's standard deviation of R, G, B in 0..1.
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];
/// SAM's mean of R, G, B in 0..255.
pub const SAM_MEAN: [f32; 3] = [123.675, 116.28, 103.53];
/// SAM's standard deviation of R, G, B in 0..255.
pub const SAM_STD: [f32; 3] = [58.395, 57.12, 57.375];

/// `(x - mean) / std` a channel; `[B, 3, H, W]` to the same.
pub fn normalize(images: &Tensor, mean: [f32; 3], std: [f32; 3]) -> Result<Tensor> {
    let constant = |values: [f32; 3]| Tensor::new(&values, images.device())?.reshape((1, 3, 1, 1));
    images.broadcast_sub(&constant(mean)?)?.broadcast_div(&constant(std)?)
}
