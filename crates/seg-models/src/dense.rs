//! Models that give every pixel a logit, without prompts: from photos to their input, from logits to probabilities.

use candle_core::{DType, Device, Tensor};
use seg_data::tensor::{ValueRange, to_tensor};
use seg_data::{PilFilter, RgbImage, resize_pil};

use crate::error::{Error, Result};
use crate::is_net::ProbabilityMap;
use crate::normalize::{IMAGENET_MEAN, IMAGENET_STD, normalize};
use crate::prompt_free::PromptFreeSegmenter;

/// A network that answers to square images with logits.
pub trait LogitsModel: Send + Sync {
    /// Side of the images that it is for, in pixels.
    fn image_size(&self) -> usize;

    /// Normalised images `[B, 3, S, S]` to logits `[B, 1, S, S]`.
    fn logits(&self, images: &Tensor) -> candle_core::Result<Tensor>;
}

/// A [`LogitsModel`] on photos of any size, as SAM2-UNet and SAM2-UNeXT are tested (their test.py). Shared by threads as it is.
#[derive(Clone, Debug)]
pub struct DensePredictor<M> {
    model: M,
    dtype: DType,
    device: Device,
}

impl<M: LogitsModel> DensePredictor<M> {
    /// `dtype` and `device` are those of the model's weights.
    pub fn new(model: M, dtype: DType, device: &Device) -> Self {
        Self { model, dtype, device: device.clone() }
    }

    /// The network.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The network's logits for a photo, `[1, 1, S, S]`.
    pub fn logits(&self, image: &RgbImage) -> Result<Tensor> {
        let input = imagenet_input(image, self.model.image_size(), &self.device)?.to_dtype(self.dtype)?;
        Ok(self.model.logits(&input)?)
    }

    /// The probability of each pixel at the size of the photo, stretched to 0..1.
    pub fn predict(&self, image: &RgbImage) -> Result<ProbabilityMap> {
        ProbabilityMap::from_logits(&self.logits(image)?, image.dimensions())
    }
}

impl<M: LogitsModel> PromptFreeSegmenter for DensePredictor<M> {
    fn predict(&self, image: &RgbImage) -> Result<ProbabilityMap> {
        Self::predict(self, image)
    }
}

/// A photo squashed to `size × size` as Pillow does it (bilinear with antialiasing, in bytes), normalised by ImageNet's mean and deviation: `[1, 3, S, S]`.
pub fn imagenet_input(image: &RgbImage, size: usize, device: &Device) -> Result<Tensor> {
    let (width, height) = image.dimensions();
    if width == 0 || height == 0 {
        return Err(Error::EmptyImage { width, height });
    }
    let squashed = resize_pil(image, (size as u32, size as u32), PilFilter::Bilinear)?;
    let unit = to_tensor(&squashed, ValueRange::Unit, device)?.unsqueeze(0)?;
    Ok(normalize(&unit, IMAGENET_MEAN, IMAGENET_STD)?)
}
