//! From an image in pixels to masks in pixels.

use candle_core::{DType, Device, Tensor};
use hr_decoders::MaskDecoderOutput;
use seg_data::RgbImage;
use seg_layers::trace;

use super::model::Sam;
use super::transforms::ResizeLongestSide;
use crate::error::{Error, Result};
use crate::promptable::{
    ImageEmbedding, LowResPrediction, MaskCleanup, MaskPrompt, Prediction, PromptableSegmenter, Prompts,
    check_mask_shape, labelled_points, low_res_prompt, mask_image_logits,
};

/// SAM's predictor (segment_anything/predictor.py), for SAM and MobileSAM.
#[derive(Clone, Debug)]
pub struct SamPredictor {
    model: Sam,
    device: Device,
    dtype: DType,
    cleanup: MaskCleanup,
}

impl SamPredictor {
    /// A predictor on a model whose weights are of `dtype` on `device`.
    pub fn new(model: Sam, cleanup: MaskCleanup, dtype: DType, device: &Device) -> Self {
        Self { model, device: device.clone(), dtype, cleanup }
    }

    /// The model itself.
    pub fn model(&self) -> &Sam {
        &self.model
    }

    /// Logits of a mask prompt, `[1, 1, 4h, 4w]`; what lies beyond the image in the square is outside.
    fn mask_prompt(&self, prompt: &MaskPrompt, frame: ResizeLongestSide, original: (u32, u32)) -> Result<Tensor> {
        let (mh, mw) = self.model.prompt_encoder().config().mask_input_size();
        match prompt {
            MaskPrompt::LowRes(logits) => low_res_prompt(logits, (mh, mw), &self.device),
            MaskPrompt::Image(mask) => {
                check_mask_shape(mask, original)?;
                let reduce = |side: u32, to: usize| (side as usize * to).div_ceil(self.model.image_size()).max(1);
                let (h, w) = (reduce(frame.resized().1, mh), reduce(frame.resized().0, mw));
                let logits = (mask_image_logits(mask, (h, w), &self.device)? + 10.)?;
                let padded = logits.pad_with_zeros(2, 0, mh - h)?.pad_with_zeros(3, 0, mw - w)?;
                Ok((padded - 10.)?)
            }
        }
    }

    /// The decoder's answers to prompts of the same kinds.
    fn decode(&self, embedding: &ImageEmbedding, batch: &[Prompts]) -> Result<MaskDecoderOutput> {
        let batch = &Prompts::all_clamped(batch, embedding.original_size)?;
        if embedding.high_res_features.is_some() {
            return Err(Error::OtherEmbedding { model: "SAM", expected: "without" });
        }
        let frame = ResizeLongestSide::new(embedding.original_size, self.model.image_size())?;
        let points = labelled_points(batch, false, |x, y| frame.to_input(x, y), &self.device)?;
        let corners: Vec<f32> = (batch.iter().filter_map(|prompts| prompts.bbox))
            .flat_map(|[x0, y0, x1, y1]| [frame.to_input(x0, y0), frame.to_input(x1, y1)])
            .flat_map(|(x, y)| [x, y])
            .collect();
        let boxes = match corners.len() {
            0 => None,
            n => Some(Tensor::from_vec(corners, (n / 4, 4), &self.device)?),
        };
        let masks = (batch.iter().filter_map(|prompts| prompts.mask.as_ref()))
            .map(|prompt| self.mask_prompt(prompt, frame, embedding.original_size))
            .collect::<Result<Vec<_>>>()?;
        let masks = if masks.is_empty() { None } else { Some(Tensor::cat(&masks, 0)?) };
        let embedded = self.model.prompt_encoder().forward(points.as_ref(), boxes.as_ref(), masks.as_ref())?;
        let multimask = batch.first().is_some_and(|prompts| prompts.multimask);
        let decoder = self.model.mask_decoder();
        let prepared = embedding.prepared_for(decoder).filter(|_| masks.is_none());
        Ok(match prepared {
            Some(image) => decoder.forward_prepared(image, &embedded.sparse_prompt_embeddings, None, multimask)?,
            None => self.model.decode(&embedding.image_embed, &embedded, multimask)?,
        })
    }
}

impl PromptableSegmenter for SamPredictor {
    fn embed(&self, image: &RgbImage) -> Result<ImageEmbedding> {
        let _encode = trace::module("encode");
        let frame = ResizeLongestSide::new(image.dimensions(), self.model.image_size())?;
        let input = frame.preprocess(image, &self.device)?.to_dtype(self.dtype)?;
        let embedding = ImageEmbedding::new(self.model.encode_image(input)?, image.dimensions());
        let prepared =
            self.model.mask_decoder().prepare_without_mask(&embedding.image_embed, self.model.prompt_encoder())?;
        Ok(embedding.prepared_as(prepared))
    }

    fn predict(&self, embedding: &ImageEmbedding, prompts: &Prompts) -> Result<Prediction> {
        let _decode = trace::module("decode");
        let output = self.decode(embedding, std::slice::from_ref(prompts))?;
        let low_res_masks = output.masks.to_dtype(DType::F32)?.squeeze(0)?; // [M, 256, 256]
        Ok(Prediction {
            masks: self.enlarge(embedding, &low_res_masks)?,
            iou_predictions: output.iou_predictions.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?,
            low_res_masks,
        })
    }

    fn predict_low_res(&self, embedding: &ImageEmbedding, prompts: &[Prompts]) -> Result<Vec<LowResPrediction>> {
        let _decode = trace::module("decode");
        LowResPrediction::in_batches(prompts, |batch| self.decode(embedding, batch))
    }

    fn enlarge(&self, embedding: &ImageEmbedding, low_res_masks: &Tensor) -> Result<Tensor> {
        let frame = ResizeLongestSide::new(embedding.original_size, self.model.image_size())?;
        Ok(frame.postprocess(&self.cleanup.apply(&low_res_masks.unsqueeze(0)?)?)?.squeeze(0)?)
    }
}
