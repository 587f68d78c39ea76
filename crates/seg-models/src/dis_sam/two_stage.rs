//! From a prompt to an exact mask.

use seg_data::geometry::extent;
use seg_data::{GrayImage, RgbImage, mask};

use super::second::DisSamRefiner;
use super::sight::Surroundings;
use super::stand_in::StandIn;
use super::verdict::Verdict;
use crate::error::{Error, Result};
use crate::is_net::{IsNetPredictor, ProbabilityMap};
use crate::promptable::{ImageEmbedding, MASK_THRESHOLD, Prediction, PromptableSegmenter, Prompts};

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
    /// The candidate that agrees best with what the second stage sees; `sam+isnet` only, DIS-SAM and the first stage alone take
    /// the best.
    Agreeing,
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
    /// Which of the first stage's answers to the user's prompts it is; none for a mask that was given, or that the first stage
    /// answered when it was asked about what the second one sees.
    pub candidate: Option<usize>,
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
        Ok(Self { mask: mask::from_binary(&inside, width, height)?, bbox, predicted_iou: None, candidate: None })
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
        let prediction = Self::ask(model, embedding, prompts, choice != MaskChoice::Single)?;
        let index = if matches!(choice, MaskChoice::Best | MaskChoice::Agreeing) { prediction.best() } else { 0 };
        Self::of(&prediction, index, embedding)?.ok_or(Error::EmptyMask { what: "coarse mask" })
    }

    /// All three candidates, less the empty ones.
    ///
    /// # Errors
    /// As [`CoarseMask::predict`]; when all are empty.
    pub(super) fn candidates(
        model: &dyn PromptableSegmenter,
        embedding: &ImageEmbedding,
        prompts: &Prompts,
    ) -> Result<Vec<Self>> {
        let prediction = Self::ask(model, embedding, prompts, true)?;
        let all = (0..prediction.iou_predictions.len()).filter_map(|i| Self::of(&prediction, i, embedding).transpose());
        let all = all.collect::<Result<Vec<Self>>>()?;
        if all.is_empty() { Err(Error::EmptyMask { what: "coarse mask" }) } else { Ok(all) }
    }

    fn ask(
        model: &dyn PromptableSegmenter,
        embedding: &ImageEmbedding,
        prompts: &Prompts,
        multimask: bool,
    ) -> Result<Prediction> {
        if prompts.points.is_empty() && prompts.bbox.is_none() && prompts.mask.is_none() {
            return Err(Error::NoPrompt);
        }
        model.predict(embedding, &Prompts { multimask, ..prompts.clone() })
    }

    fn of(prediction: &Prediction, index: usize, embedding: &ImageEmbedding) -> Result<Option<Self>> {
        let (width, height) = embedding.original_size;
        let mask = mask::from_logits(&prediction.mask(index)?, width, height, MASK_THRESHOLD)?;
        let predicted_iou = prediction.iou_predictions.get(index).copied();
        let found = extent(mask.as_raw(), width, height)?;
        Ok(found.map(|bbox| Self { mask, bbox, predicted_iou, candidate: Some(index) }))
    }
}

/// A mask made exact.
#[derive(Clone, Debug)]
pub struct Refinement {
    /// What the second stage started from.
    pub coarse: CoarseMask,
    /// The probability of each pixel, at the size of the image.
    pub probability: ProbabilityMap,
    /// How the stages agreed; none of DIS-SAM, whose second stage takes the coarse mask as it comes.
    pub verdict: Option<Verdict>,
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

/// What DIS-SAM's second stage is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum View {
    /// The whole image, and the box of the coarse mask, as the authors have it.
    #[default]
    Whole,
    /// The surroundings of the box that the user has drawn, or else of the coarse mask's, and that box.
    Near(Surroundings),
}

#[derive(Clone, Debug)]
enum Second {
    DisSam(DisSamRefiner),
    SamIsNet(StandIn),
}

/// The two-stage predictor: any promptable model, or a mask from elsewhere, then IS-Net. Shared by threads as it is.
#[derive(Clone, Debug)]
pub struct TwoStage {
    second: Second,
    choice: MaskChoice,
    view: View,
}

impl TwoStage {
    /// DIS-SAM: its own second stage, and of the first stage's masks the first, as the authors have it.
    pub fn dis_sam(refiner: DisSamRefiner) -> Self {
        Self { second: Second::DisSam(refiner), choice: MaskChoice::First, view: View::Whole }
    }

    /// `sam+isnet`: the original IS-Net on the surroundings of the coarse mask, counted near that mask only; of the candidates the
    /// one that it sees, too. Not a published system: it stands in where no checkpoint of DIS-SAM is at hand.
    pub fn sam_is_net(net: IsNetPredictor, surroundings: Surroundings) -> Self {
        let second = Second::SamIsNet(StandIn::new(net, surroundings));
        Self { second, choice: MaskChoice::Agreeing, view: View::Whole }
    }

    /// The same with another choice among the first stage's masks.
    pub fn with_choice(self, choice: MaskChoice) -> Self {
        Self { choice, ..self }
    }

    /// The same with another view for DIS-SAM's second stage.
    pub fn with_view(self, view: View) -> Self {
        Self { view, ..self }
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
        if let (Second::SamIsNet(stand_in), MaskChoice::Agreeing) = (&self.second, self.choice) {
            return stand_in.predict(model, embedding, image, prompts);
        }
        self.refine_asked(image, self.find(model, embedding, prompts)?, prompts)
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
        self.refine_asked(image, coarse, &Prompts::default())
    }

    /// The same where the user has clicked or drawn a box, too.
    fn refine_asked(&self, image: &RgbImage, coarse: CoarseMask, prompts: &Prompts) -> Result<Refinement> {
        if coarse.mask.dimensions() != image.dimensions() {
            return Err(Error::MaskSize { mask: coarse.mask.dimensions(), image: image.dimensions() });
        }
        match &self.second {
            Second::DisSam(refiner) => {
                let probability = match &self.view {
                    View::Whole => refiner.refine(image, &coarse.mask)?,
                    View::Near(surroundings) => {
                        let bbox = prompts.bbox.unwrap_or(coarse.bbox.map(|v| v as f32));
                        refiner.refine_near(image, &coarse.mask, bbox, surroundings)?
                    }
                };
                Ok(Refinement { coarse, probability, verdict: None })
            }
            Second::SamIsNet(stand_in) => stand_in.refine(image, &prompts.points, coarse),
        }
    }
}
