//! A model whose masks are cleaned up as one request wants it.

use std::sync::Arc;

use candle_core::Tensor;
use seg_data::RgbImage;
use seg_data::components::clean_logits;
use seg_models::promptable::MASK_THRESHOLD;
use seg_models::{ImageEmbedding, LowResPrediction, MaskCleanup, Prediction, PromptableSegmenter, Prompts, Result};

/// A model loaded without clean-up, with one.
pub struct Cleaned {
    model: Arc<dyn PromptableSegmenter>,
    cleanup: MaskCleanup,
}

impl Cleaned {
    pub fn new(model: Arc<dyn PromptableSegmenter>, cleanup: MaskCleanup) -> Self {
        Self { model, cleanup }
    }
}

impl PromptableSegmenter for Cleaned {
    fn embed(&self, image: &RgbImage) -> Result<ImageEmbedding> {
        self.model.embed(image)
    }

    fn predict(&self, embedding: &ImageEmbedding, prompts: &Prompts) -> Result<Prediction> {
        let low_res = self.model.predict_low_res(embedding, std::slice::from_ref(prompts))?;
        let Some(LowResPrediction { low_res_masks, iou_predictions }) = low_res.into_iter().next() else {
            return self.model.predict(embedding, prompts);
        };
        let (_, h, w) = low_res_masks.dims3()?;
        let mut logits = low_res_masks.flatten_all()?.to_vec1::<f32>()?;
        let MaskCleanup { max_hole_area, max_sprinkle_area } = self.cleanup;
        for mask in logits.chunks_exact_mut((h * w).max(1)) {
            clean_logits(mask, w as u32, h as u32, MASK_THRESHOLD, max_hole_area, max_sprinkle_area)?;
        }
        let cleaned = Tensor::from_vec(logits, low_res_masks.shape(), low_res_masks.device())?;
        let masks = self.model.enlarge(embedding, &cleaned)?;
        Ok(Prediction { masks, iou_predictions, low_res_masks })
    }
}
