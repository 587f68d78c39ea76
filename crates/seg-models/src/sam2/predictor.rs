//! From an image in pixels to masks in pixels.

use candle_core::{DType, Device, Tensor};
use hr_decoders::MaskDecoderOutput;
use seg_data::RgbImage;
use seg_data::tensor::{ValueRange, to_tensor};
use seg_layers::trace;
use seg_ops::Resize;

use super::model::Sam2ImageModel;
use crate::error::{Error, Result};
use crate::normalize::{IMAGENET_MEAN, IMAGENET_STD, normalize};
use crate::promptable::{
    ImageEmbedding, LowResPrediction, MaskCleanup, MaskPrompt, Prediction, PromptableSegmenter, Prompts,
    check_mask_shape, labelled_points, low_res_prompt, mask_image_logits,
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

    /// The decoder's answers to prompts of the same kinds.
    fn decode(&self, embedding: &ImageEmbedding, batch: &[Prompts]) -> Result<MaskDecoderOutput> {
        let batch = &Prompts::all_clamped(batch, embedding.original_size)?;
        let to_input = |x, y| self.to_input(embedding.original_size, x, y);
        // a box goes in as two labelled points before the clicks
        let points = labelled_points(batch, true, to_input, &self.device)?;
        let masks = (batch.iter().filter_map(|prompts| prompts.mask.as_ref()))
            .map(|prompt| self.mask_prompt(prompt, embedding.original_size))
            .collect::<Result<Vec<_>>>()?;
        let masks = if masks.is_empty() { None } else { Some(Tensor::cat(&masks, 0)?) };
        let embedded = self.model.prompt_encoder().forward(points.as_ref(), None, masks.as_ref())?;
        let Some(high_res_features) = &embedding.high_res_features else {
            return Err(Error::OtherEmbedding { model: "SAM 2", expected: "with" });
        };
        let multimask = batch.first().is_some_and(|prompts| prompts.multimask);
        let decoder = self.model.mask_decoder();
        let prepared = embedding.prepared_for(decoder).filter(|_| masks.is_none());
        Ok(match prepared {
            Some(image) => {
                let sparse = &embedded.sparse_prompt_embeddings;
                decoder.forward_prepared(image, sparse, Some(high_res_features), multimask)?
            }
            None => self.model.decode(&embedding.image_embed, high_res_features, &embedded, multimask)?,
        })
    }
}

impl PromptableSegmenter for Sam2ImagePredictor {
    fn embed(&self, image: &RgbImage) -> Result<ImageEmbedding> {
        let _encode = trace::module("encode");
        let features = self.model.encode_image(self.preprocess(image)?.to_dtype(self.dtype)?)?;
        let prepared =
            self.model.mask_decoder().prepare_without_mask(&features.image_embed, self.model.prompt_encoder())?;
        let embedding = ImageEmbedding::new(features.image_embed, image.dimensions());
        Ok(embedding.with_high_res(features.high_res_features).prepared_as(prepared))
    }

    fn predict(&self, embedding: &ImageEmbedding, prompts: &Prompts) -> Result<Prediction> {
        let _decode = trace::module("decode");
        let output = self.decode(embedding, std::slice::from_ref(prompts))?;
        let low_res = output.masks.to_dtype(DType::F32)?.squeeze(0)?; // [M, 256, 256]
        Ok(Prediction {
            masks: self.enlarge(embedding, &low_res)?,
            iou_predictions: output.iou_predictions.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?,
            low_res_masks: low_res.clamp(-32f32, 32f32)?,
        })
    }

    fn predict_low_res(&self, embedding: &ImageEmbedding, prompts: &[Prompts]) -> Result<Vec<LowResPrediction>> {
        let _decode = trace::module("decode");
        LowResPrediction::in_batches(prompts, |batch| self.decode(embedding, batch))
    }

    fn enlarge(&self, embedding: &ImageEmbedding, low_res_masks: &Tensor) -> Result<Tensor> {
        let (width, height) = embedding.original_size;
        let cleaned = self.cleanup.apply(&low_res_masks.unsqueeze(0)?)?;
        Ok(seg_ops::resize(&cleaned, (height as usize, width as usize), &Resize::bilinear())?.squeeze(0)?)
    }
}
