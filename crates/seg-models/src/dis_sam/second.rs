//! DIS-SAM's second stage: from a coarse mask to an exact one.

use std::path::Path;

use candle_core::{DType, Device, Module, Tensor};
use detail_refine::{IsNet, IsNetConfig};
use seg_checkpoints::LoadReport;
use seg_data::{GrayImage, RgbImage};

use super::input::{demo_input, input_within};
use super::sight::{Surroundings, cut_image, cut_mask, whole_pixels};
use crate::error::{Error, Result};
use crate::is_net::transforms::INPUT_SIZE;
use crate::is_net::{ProbabilityMap, load_net};
use crate::registry::LoadOptions;

/// DIS-SAM's second stage: IS-Net of five channels on the whole image.
#[derive(Clone, Debug)]
pub struct DisSamRefiner {
    net: IsNet,
    image_size: usize,
    dtype: DType,
    device: Device,
}

impl DisSamRefiner {
    /// The refiner of a network of DIS-SAM's form (five input channels) whose square input has `image_size` pixels a side;
    /// `dtype` and `device` are those of its weights.
    pub fn new(net: IsNet, image_size: usize, dtype: DType, device: &Device) -> Self {
        Self { net, image_size, dtype, device: device.clone() }
    }

    /// Loads the network from a checkpoint with the official names, strictly.
    ///
    /// # Errors
    /// A file that cannot be read, or that is of another model: the message says which one it looks like.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<(Self, LoadReport)> {
        let (net, report) = load_net(&IsNetConfig::dis_sam(), "dis-sam", path, options)?;
        Ok((Self::new(net, INPUT_SIZE, options.dtype, &options.device), report))
    }

    /// The probability of each pixel, at the size of the image, stretched to 0..1.
    pub fn refine(&self, image: &RgbImage, mask: &GrayImage) -> Result<ProbabilityMap> {
        self.answer(image, demo_input(image, mask, self.image_size, &self.device)?)
    }

    /// The same on the box's surroundings, enlarged to the network's input: nothing is found beyond them, and the box counts in place of the coarse mask's own.
    /// Left, top, right, bottom in pixels within the image. Not the authors' way, whose network knows whole images and the boxes of masks alone.
    pub fn refine_near(
        &self,
        image: &RgbImage,
        mask: &GrayImage,
        bbox: [f32; 4],
        surroundings: &Surroundings,
    ) -> Result<ProbabilityMap> {
        let size = image.dimensions();
        if mask.dimensions() != size {
            return Err(Error::MaskSize { mask: mask.dimensions(), image: size });
        }
        let window = surroundings.window(whole_pixels(bbox, size), size);
        let [left, top, ..] = window.map(|v| v as f32);
        let local = [bbox[0] - left, bbox[1] - top, bbox[2] - left, bbox[3] - top];
        let (image, mask) = (cut_image(image, window)?, cut_mask(mask, window)?);
        let input = input_within(&image, &mask, local, self.image_size, &self.device)?;
        self.answer(&image, input)?.placed(window, size)
    }

    fn answer(&self, image: &RgbImage, input: Tensor) -> Result<ProbabilityMap> {
        ProbabilityMap::from_output(&self.net.forward(&input.to_dtype(self.dtype)?)?, image.dimensions())
    }
}
