//! From an image in pixels to masks in pixels.

use candle_core::{DType, Device, Tensor};
use seg_data::RgbImage;
use seg_data::tensor::{ValueRange, to_tensor};
use seg_layers::trace;
use seg_ops::Resize;

use super::model::Sam2ImageModel;
use crate::error::{Error, Result};
use crate::normalize::{IMAGENET_MEAN, IMAGENET_STD, normalize};
use crate::promptable::{
    ImageEmbedding, MaskCleanup, MaskPrompt, Prediction, PromptableSegmenter, Prompts, check_mask_shape,
    low_res_prompt, mask_image_logits,
};

/// SAM 2's image predictor (sam2/sam2_image_predictor.py, sam2/utils/transforms.py).
///
/// The image is squashed to the square input without keeping its aspect, as the official code does.
#[derive(Clone, Debug)]
pub struct Sam2ImagePredictor {
    model: Sam2ImageModel,
    device: Device,
    dtype: DType,
    cleanup: MaskCleanup,
}

impl Sam2ImagePredictor {
    /// A predictor on a model whose weights are of `dtype` on `device`.
    pub fn new(model: Sam2ImageModel, cleanup: MaskCleanup, dtype: DType, device: &Device) -> Self {
        Self { model, device: device.clone(), dtype, cleanup }
    }

    /// The model itself.
    pub fn model(&self) -> &Sam2ImageModel {
        &self.model
    }

    /// The network's input: scaled to 0..1, resized to the square with antialiasing, normalised. `[1, 3, S, S]`.
    pub fn preprocess(&self, image: &RgbImage) -> Result<Tensor> {
        let (width, height) = image.dimensions();
        if width == 0 || height == 0 {
            return Err(Error::EmptyImage { width, height });
        }
        let size = self.model.image_size();
        let square = {
            let unit = to_tensor(image, ValueRange::Unit, &self.device)?.unsqueeze(0)?;
            seg_ops::resize(&unit, (size, size), &Resize::bilinear().antialiased())?
        };
        Ok(normalize(&square, IMAGENET_MEAN, IMAGENET_STD)?)
    }

    /// Pixels of the image to pixels of the network's input.
    pub fn to_input(&self, (width, height): (u32, u32), x: f32, y: f32) -> (f32, f32) {
        let size = self.model.image_size() as f32;
        (x / width as f32 * size, y / height as f32 * size)
    }

    fn mask_prompt(&self, prompt: &MaskPrompt, original_size: (u32, u32)) -> Result<Tensor> {
        let size = self.model.prompt_encoder().config().mask_input_size();
        match prompt {
            MaskPrompt::LowRes(logits) => low_res_prompt(logits, size, &self.device),
            MaskPrompt::Image(mask) => {
                check_mask_shape(mask, original_size)?;
                mask_image_logits(mask, size, &self.device)
            }
        }
    }
}

impl PromptableSegmenter for Sam2ImagePredictor {
    fn embed(&self, image: &RgbImage) -> Result<ImageEmbedding> {
        let _encode = trace::module("encode");
        let features = self.model.encode_image(self.preprocess(image)?.to_dtype(self.dtype)?)?;
        Ok(ImageEmbedding {
            image_embed: features.image_embed,
            high_res_features: Some(features.high_res_features),
            original_size: image.dimensions(),
        })
    }

    fn predict(&self, embedding: &ImageEmbedding, prompts: &Prompts) -> Result<Prediction> {
        let _decode = trace::module("decode");
        let (width, height) = embedding.original_size;
        prompts.check(width, height)?;
        let to_input = |x, y| self.to_input((width, height), x, y);
        // a box goes in as two labelled points before the clicks
        let points = prompts.labelled_points(true, to_input, &self.device)?;
        let mask = match &prompts.mask {
            Some(prompt) => Some(self.mask_prompt(prompt, embedding.original_size)?),
            None => None,
        };
        let embedded = self.model.prompt_encoder().forward(points.as_ref(), None, mask.as_ref())?;
        let Some(high_res_features) = &embedding.high_res_features else {
            return Err(Error::OtherEmbedding { model: "SAM 2", expected: "with" });
        };
        let output = self.model.decode(&embedding.image_embed, high_res_features, &embedded, prompts.multimask)?;
        let low_res = output.masks.to_dtype(DType::F32)?; // [1, M, 256, 256]
        let cleaned = self.cleanup.apply(&low_res)?;
        let masks = seg_ops::resize(&cleaned, (height as usize, width as usize), &Resize::bilinear())?;
        Ok(Prediction {
            masks: masks.squeeze(0)?,
            iou_predictions: output.iou_predictions.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?,
            low_res_masks: low_res.squeeze(0)?.clamp(-32f32, 32f32)?,
        })
    }
}
