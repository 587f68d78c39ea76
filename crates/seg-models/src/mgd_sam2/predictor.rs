//! MGD-SAM2 on images.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use multiview_fusion::PositionTable;
use seg_checkpoints::{Checkpoint, LoadPolicy, LoadReport, load_strict};
use seg_data::RgbImage;
use seg_layers::trace;

use super::augmentation::TestTimeAugmentation;
use super::config::{MgdSam2Config, ViewOrder};
use super::model::MgdSam2;
use crate::dense::imagenet_input;
use crate::error::Result;
use crate::is_net::ProbabilityMap;
use crate::prompt_free::PromptFreeSegmenter;
use crate::registry::LoadOptions;

/// MGD-SAM2 on images of any size (test.py, datasets/wrappers.py). Shared by threads as it is.
#[derive(Clone, Debug)]
pub struct MgdSam2Predictor {
    model: MgdSam2,
    image_size: usize,
    augmentation: TestTimeAugmentation,
    fresh_positions: bool,
    dtype: DType,
    device: Device,
}

impl MgdSam2Predictor {
    /// A predictor on a model whose weights are of `dtype` on `device`, and whose square input has `image_size` pixels a side. One pass an image.
    pub fn new(model: MgdSam2, image_size: usize, dtype: DType, device: &Device) -> Self {
        let augmentation = TestTimeAugmentation::default();
        Self { model, image_size, augmentation, fresh_positions: false, dtype, device: device.clone() }
    }

    /// Loads the published model from a checkpoint with the official names, strictly.
    ///
    /// # Errors
    /// A file that cannot be read, or that is of another model: the message says which one it looks like.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<(Self, LoadReport)> {
        let cfg = MgdSam2Config::base_plus();
        let checkpoint = Checkpoint::open(path)?;
        let policy = LoadPolicy::strict().expect("mgd-sam2").unused(cfg.unused());
        let build = |vb: VarBuilder<'static>| MgdSam2::new(&cfg, vb);
        let (model, report) = load_strict(&checkpoint, options.dtype, &options.device, &policy, build)?;
        Ok((Self::new(model, cfg.image_size, options.dtype, &options.device), report))
    }

    /// With several passes an image.
    #[must_use]
    pub fn with_augmentation(self, augmentation: TestTimeAugmentation) -> Self {
        Self { augmentation, ..self }
    }

    /// How the views go through the encoder.
    #[must_use]
    pub fn with_view_order(self, order: ViewOrder) -> Self {
        Self { model: self.model.with_view_order(order), ..self }
    }

    /// With a position table for each size in place of the first pass' one ([`PositionTable::EachSize`]): only with several scales are the numbers
    /// others than the official ones.
    #[must_use]
    pub fn with_fresh_positions(self, fresh_positions: bool) -> Self {
        Self { fresh_positions, ..self }
    }

    /// Logits of the square input ([`imagenet_input`]), `[1, 1, S, S]`, averaged over the passes.
    pub fn logits(&self, image: &RgbImage) -> Result<Tensor> {
        let _span = trace::module("mgd_sam2");
        let input = imagenet_input(image, self.image_size, &self.device)?.to_dtype(self.dtype)?;
        // every image begins with the same pass, so that a table of its own is the official one, which is the first image's
        let mut table = if self.fresh_positions { PositionTable::EachSize } else { PositionTable::first_call() };
        Ok(self.augmentation.forward(&self.model, &input, &mut table, &mut |_, _, _| Ok(()))?)
    }
}

impl PromptFreeSegmenter for MgdSam2Predictor {
    /// The probability of each pixel, at the size of the image: logits enlarged, then the sigmoid.
    fn predict(&self, image: &RgbImage) -> Result<ProbabilityMap> {
        ProbabilityMap::from_logits_as_is(&self.logits(image)?, image.dimensions())
    }
}
