//! From a prompt to an exact mask.

use seg_data::geometry::extent;
use seg_data::{GrayImage, RgbImage, mask};

use super::second::{DisSamRefiner, Surroundings};
use crate::error::{Error, Result};
use crate::is_net::{IsNetPredictor, ProbabilityMap};
use crate::promptable::{ImageEmbedding, MASK_THRESHOLD, PromptableSegmenter, Prompts};

/// Which of the first stage's masks goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaskChoice {
    /// The first of three candidates, as DIS-SAM's demonstration takes it.
    First,
    /// The candidate of the highest predicted IoU.
    #[default]
    Best,
    /// The only mask that the model gives when it is asked for one.
    Single,
}

/// The first stage's answer.
#[derive(Clone, Debug)]
pub struct CoarseMask {
    /// 255 inside, 0 outside, at the size of the image.
    pub mask: GrayImage,
    /// The mask's extent: left, top, right, bottom in pixels, the last two exclusive. Not the user's box: the second stage
    /// goes by what the first has found.
    pub bbox: [u32; 4],
    /// The model's own estimate of the mask's IoU; none for a mask that was given.
    pub predicted_iou: Option<f32>,
}

impl CoarseMask {
    /// A mask image of the size of the image; 128 and more is inside.
    ///
    /// # Errors
    /// When nothing is inside.
    pub fn from_image(image: &GrayImage) -> Result<Self> {
        let (width, height) = image.dimensions();
        let inside = seg_data::inside::binary(image).map_err(|_| Error::EmptyMask { what: "mask" })?;
        let bbox = extent(&inside, width, height)?.ok_or(Error::EmptyMask { what: "mask" })?;
        Ok(Self { mask: mask::from_binary(&inside, width, height)?, bbox, predicted_iou: None })
    }

    /// What a promptable model answers.
    ///
    /// # Errors
    /// When there is no prompt, a prompt lies outside the image, or the model finds nothing.
    pub fn predict(
        model: &dyn PromptableSegmenter,
        embedding: &ImageEmbedding,
        prompts: &Prompts,
        choice: MaskChoice,
    ) -> Result<Self> {
        if prompts.points.is_empty() && prompts.bbox.is_none() && prompts.mask.is_none() {
            return Err(Error::NoPrompt);
        }
        let prompts = Prompts { multimask: choice != MaskChoice::Single, ..prompts.clone() };
        let prediction = model.predict(embedding, &prompts)?;
        let index = if choice == MaskChoice::Best { prediction.best() } else { 0 };
        let (width, height) = embedding.original_size;
        let mask = mask::from_logits(&prediction.mask(index)?, width, height, MASK_THRESHOLD)?;
        let bbox = extent(mask.as_raw(), width, height)?.ok_or(Error::EmptyMask { what: "coarse mask" })?;
        Ok(Self { mask, bbox, predicted_iou: prediction.iou_predictions.get(index).copied() })
    }
}

/// A mask made exact.
#[derive(Clone, Debug)]
pub struct Refinement {
    /// What the second stage started from.
    pub coarse: CoarseMask,
    /// The probability of each pixel, at the size of the image.
    pub probability: ProbabilityMap,
}

impl Refinement {
    /// Intersection over union of the coarse mask and the exact one (probability above 0.5). They differ at edges and thin
    /// parts; far below one half the second stage has seen another object than the first.
    pub fn agreement(&self) -> f64 {
        let pairs = self.coarse.mask.as_raw().iter().zip(self.probability.values());
        let (both, any) = pairs.fold((0u64, 0u64), |(both, any), (&coarse, &p)| {
            let (coarse, exact) = (coarse != 0, p > 0.5);
            (both + u64::from(coarse && exact), any + u64::from(coarse || exact))
        });
        both as f64 / any.max(1) as f64
    }
}

#[derive(Clone, Debug)]
enum Second {
    DisSam(DisSamRefiner),
    SamIsNet(IsNetPredictor, Surroundings),
}

/// The two-stage predictor: any promptable model, or a mask from elsewhere, then IS-Net. Shared by threads as it is.
#[derive(Clone, Debug)]
pub struct TwoStage {
    second: Second,
    choice: MaskChoice,
}

impl TwoStage {
    /// DIS-SAM: its own second stage, and of the first stage's masks the first, as the authors have it.
    pub fn dis_sam(refiner: DisSamRefiner) -> Self {
        Self { second: Second::DisSam(refiner), choice: MaskChoice::First }
    }

    /// `sam+isnet`: the original IS-Net on the surroundings of the coarse mask, counted near that mask only. Not a published
    /// system: it stands in where no checkpoint of DIS-SAM is at hand.
    pub fn sam_is_net(net: IsNetPredictor, surroundings: Surroundings) -> Self {
        Self { second: Second::SamIsNet(net, surroundings), choice: MaskChoice::Best }
    }

    /// The same with another choice among the first stage's masks.
    pub fn with_choice(self, choice: MaskChoice) -> Self {
        Self { choice, ..self }
    }

    /// Both stages: `model` answers to `prompts`, whose `multimask` the choice of masks overrides.
    ///
    /// # Errors
    /// When there is no prompt, a prompt lies outside the image, or the first stage finds nothing.
    pub fn predict(&self, model: &dyn PromptableSegmenter, image: &RgbImage, prompts: &Prompts) -> Result<Refinement> {
        prompts.check(image.width(), image.height())?;
        self.predict_embedded(model, image, &model.embed(image)?, prompts)
    }

    /// The same on an image that `model` has encoded before.
    pub fn predict_embedded(
        &self,
        model: &dyn PromptableSegmenter,
        image: &RgbImage,
        embedding: &ImageEmbedding,
        prompts: &Prompts,
    ) -> Result<Refinement> {
        self.refine(image, self.find(model, embedding, prompts)?)
    }

    /// The first stage alone.
    ///
    /// # Errors
    /// As [`TwoStage::predict`].
    pub fn find(
        &self,
        model: &dyn PromptableSegmenter,
        embedding: &ImageEmbedding,
        prompts: &Prompts,
    ) -> Result<CoarseMask> {
        CoarseMask::predict(model, embedding, prompts, self.choice)
    }

    /// The second stage alone, on a mask image: 128 and more is inside.
    ///
    /// # Errors
    /// When nothing is inside, or the mask's size is not the image's.
    pub fn refine_mask(&self, image: &RgbImage, mask: &GrayImage) -> Result<Refinement> {
        if mask.dimensions() != image.dimensions() {
            return Err(Error::MaskSize { mask: mask.dimensions(), image: image.dimensions() });
        }
        self.refine(image, CoarseMask::from_image(mask)?)
    }

    /// The second stage alone.
    ///
    /// # Errors
    /// When the mask's size is not the image's.
    pub fn refine(&self, image: &RgbImage, coarse: CoarseMask) -> Result<Refinement> {
        if coarse.mask.dimensions() != image.dimensions() {
            return Err(Error::MaskSize { mask: coarse.mask.dimensions(), image: image.dimensions() });
        }
        let probability = match &self.second {
            Second::DisSam(refiner) => refiner.refine(image, &coarse.mask)?,
            Second::SamIsNet(net, surroundings) => surroundings.refine(net, image, &coarse.mask)?,
        };
        Ok(Refinement { coarse, probability })
    }
}
