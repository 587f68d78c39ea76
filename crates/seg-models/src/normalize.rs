//! Per-channel normalisation.

use candle_core::{Result, Tensor};
use seg_ops::Assembly;

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
    let (b, channels, h, w) = images.dims4()?;
    if channels != 3 {
        candle_core::bail!("normalize: images of shape {:?}, expected [B, 3, H, W]", images.shape());
    }
    // plane by plane, so that no third copy of the images is made between the two steps
    let mut normalized = Assembly::with_capacity(images.elem_count());
    for plane in 0..3 * b {
        let (image, channel) = (plane / 3, plane % 3);
        let plane = images.narrow(0, image, 1)?.narrow(1, channel, 1)?;
        let constant = |value: f32| Tensor::new(value, images.device())?.to_dtype(images.dtype());
        normalized.push(plane.broadcast_sub(&constant(mean[channel])?)?.broadcast_div(&constant(std[channel])?)?)?;
    }
    normalized.finish((b, 3, h, w))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn each_channel_has_its_own_mean_and_deviation() -> Result<()> {
        let images = Tensor::arange(0f32, 12., &Device::Cpu)?.reshape((2, 3, 1, 2))?;
        let normalized = normalize(&images, [0., 1., 2.], [1., 2., 4.])?.flatten_all()?.to_vec1::<f32>()?;
        assert_eq!(normalized, [0., 1., 0.5, 1., 0.5, 0.75, 6., 7., 3.5, 4., 2., 2.25]);
        assert!(normalize(&images.narrow(1, 0, 2)?, SAM_MEAN, SAM_STD).is_err());
        Ok(())
    }
}
