//! IS-Net on images.

use std::path::Path;

use candle_core::{DType, Device, Module};
use detail_refine::{IsNet, IsNetConfig};
use seg_checkpoints::LoadReport;
use seg_data::RgbImage;

use super::transforms::{INPUT_SIZE, rgb_input};
use super::{ProbabilityMap, load_net};
use crate::error::Result;
use crate::registry::LoadOptions;

/// IS-Net on images of any size. Shared by threads as it is.
#[derive(Clone, Debug)]
pub struct IsNetPredictor {
    net: IsNet,
    image_size: usize,
    dtype: DType,
    device: Device,
}

impl IsNetPredictor {
    /// The predictor of a network of the original form (three input channels) whose square input has `image_size` pixels a
    /// side; `dtype` and `device` are those of its weights.
    pub fn new(net: IsNet, image_size: usize, dtype: DType, device: &Device) -> Self {
        Self { net, image_size, dtype, device: device.clone() }
    }

    /// Loads the network from a checkpoint with the official names, strictly.
    ///
    /// # Errors
    /// A file that cannot be read, or that is of another model: the message says which one it looks like.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<(Self, LoadReport)> {
        let (net, report) = load_net(&IsNetConfig::is_net(), "is-net", path, options)?;
        Ok((Self::new(net, INPUT_SIZE, options.dtype, &options.device), report))
    }

    /// The probability of each pixel, at the size of the image, stretched to 0..1.
    pub fn predict(&self, image: &RgbImage) -> Result<ProbabilityMap> {
        ProbabilityMap::from_output(&self.forward(image)?, image.dimensions())
    }

    /// The same without stretching: what the network itself says.
    pub fn predict_as_is(&self, image: &RgbImage) -> Result<ProbabilityMap> {
        ProbabilityMap::from_output_as_is(&self.forward(image)?, image.dimensions())
    }

    fn forward(&self, image: &RgbImage) -> Result<candle_core::Tensor> {
        let input = rgb_input(image, self.image_size, &self.device)?.to_dtype(self.dtype)?;
        Ok(self.net.forward(&input)?)
    }
}
