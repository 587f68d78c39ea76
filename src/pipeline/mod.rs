//! From an image and prompts to masks, pictures and JSON: what the command, the server and a program of yours share.
//!
//! ```no_run
//! use hrseg::pipeline::{Colours, Photo, Pipeline, Sources, pictures};
//! use hrseg::prelude::*;
//!
//! let model: ModelName = "sam+isnet".parse()?;
//! let pipeline = Pipeline::load(model, &Sources::default(), &LoadOptions::default(), &())?; // weights from the cache, or fetched
//! let photo = Photo::open("bicycle.jpg", &DecodeLimits::default(), Colours::Srgb)?;
//! let segmented = pipeline.segment(photo.seen(), &Prompts::bbox([40., 60., 900., 700.]), &())?;
//! std::fs::write("bicycle.cutout.png", pictures::cutout(&photo, segmented.best()?)?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Pipeline::embed`] and [`Pipeline::segment_embedded`] are its two halves, for who asks more than once about an image.

mod ask;
pub mod coco;
mod error;
pub mod everything;
pub mod frames;
pub mod labels;
mod load;
mod photo;
pub mod pictures;
pub mod prompts;
mod record;
mod segmented;
mod stages;
mod watch;

use std::sync::Arc;

use seg_data::RgbImage;
use seg_models::dis_sam::TwoStage;
use seg_models::promptable::LowResPrediction;
use seg_models::registry::{ModelKind, ModelName, Segmenter};
use seg_models::{ImageEmbedding, MaskPrompt, Prediction, PromptFreeSegmenter, PromptableSegmenter, Prompts};

pub use ask::{Asked, Words, check};
pub use error::{Error, Result};
pub use load::{FirstStage, Sources, tell};
pub use photo::{Colours, Photo, lay};
pub use record::{CoarseRecord, MaskRecord, ObjectRecord, ObjectsRecord, PromptRecord, Record};
pub use segmented::{Coarse, Mask, Segmented};
pub use stages::StagesRecord;
pub use watch::Watch;

/// Objects that are decoded at once.
const BATCH: usize = 16;

/// Masks that a promptable model gives when it is asked for candidates.
pub const CANDIDATES: usize = 3;

/// A model that is ready to be asked about images. Shared by threads as it is.
pub struct Pipeline {
    name: ModelName,
    stages: Stages,
}

enum Stages {
    Promptable(Arc<dyn PromptableSegmenter>),
    PromptFree(Box<dyn PromptFreeSegmenter>),
    /// Without a first stage every question has to bring its coarse mask.
    Two {
        second: TwoStage,
        first: Option<(ModelName, Arc<dyn PromptableSegmenter>)>,
    },
}

impl Pipeline {
    /// The model `name` in memory; a two-stage one answers to masks alone until it has its first stage.
    pub fn new(name: ModelName, segmenter: Segmenter) -> Self {
        let stages = match segmenter {
            Segmenter::Promptable(model) => Stages::Promptable(model.into()),
            Segmenter::PromptFree(model) => Stages::PromptFree(model),
            Segmenter::TwoStage(second) => Stages::Two { second, first: None },
        };
        Self { name, stages }
    }

    /// With the promptable model that finds the object for a two-stage one; others do not look at it.
    pub fn with_first_stage(mut self, name: ModelName, model: Arc<dyn PromptableSegmenter>) -> Self {
        if let Stages::Two { first, .. } = &mut self.stages {
            *first = Some((name, model));
        }
        self
    }

    /// The model.
    pub fn name(&self) -> ModelName {
        self.name
    }

    /// How it is asked.
    pub fn kind(&self) -> ModelKind {
        self.name.kind()
    }

    /// Who encodes the image: the promptable model, or the first of two stages. Models of one encoder share its embeddings.
    pub fn encoder(&self) -> Option<(ModelName, &Arc<dyn PromptableSegmenter>)> {
        match &self.stages {
            Stages::Promptable(model) => Some((self.name, model)),
            Stages::PromptFree(_) => None,
            Stages::Two { first, .. } => first.as_ref().map(|(name, model)| (*name, model)),
        }
    }

    /// Who would encode the image to answer to `prompts`; none where nobody has to.
    fn encoder_for(&self, prompts: &Prompts) -> Option<&Arc<dyn PromptableSegmenter>> {
        // the coarse mask is there: the second stage alone
        let given = matches!(self.stages, Stages::Two { .. }) && prompts.mask.is_some();
        self.encoder().filter(|_| !given).map(|(_, model)| model)
    }

    /// Whether an answer to `prompts` needs an embedding.
    pub fn needs_embedding(&self, prompts: &Prompts) -> bool {
        self.encoder_for(prompts).is_some()
    }

    /// The slow half: encodes the image, where `prompts` need that.
    ///
    /// # Errors
    /// Those of the model.
    pub fn embed(&self, image: &RgbImage, prompts: &Prompts, watch: &dyn Watch) -> Result<Option<ImageEmbedding>> {
        let Some(model) = self.encoder_for(prompts) else { return Ok(None) };
        watch.stage(match &self.stages {
            Stages::Two { .. } => "finding the object",
            _ => "encoding",
        });
        Ok(Some(model.embed(image)?))
    }

    /// Both halves: the masks of `image` for `prompts`, which lie on it ([`Photo::place`]) and which the model takes ([`check`]).
    ///
    /// # Errors
    /// Those of the model; numbers that are none.
    pub fn segment(&self, image: &RgbImage, prompts: &Prompts, watch: &dyn Watch) -> Result<Segmented> {
        let embedding = self.embed(image, prompts, watch)?;
        self.segment_embedded(image, embedding.as_ref(), prompts, watch)
    }

    /// Several objects of one image, which is encoded once; `each` is given the number of an object and its masks, in the order of `prompts`. Promptable models decode them in batches.
    ///
    /// # Errors
    /// As [`Pipeline::segment`]; those of `each`.
    pub fn segment_each<E: From<Error>>(
        &self,
        image: &RgbImage,
        prompts: &[Prompts],
        watch: &dyn Watch,
        mut each: impl FnMut(usize, Segmented) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        // the same embedding for all who need one
        let asking = prompts.iter().find(|prompts| self.needs_embedding(prompts));
        let embedding = match asking {
            Some(prompts) => self.embed(image, prompts, watch)?,
            None => None,
        };
        let (Stages::Promptable(model), Some(embedding)) = (&self.stages, &embedding) else {
            for (at, asked) in prompts.iter().enumerate() {
                watch.stage(&format!("object {} of {}", at + 1, prompts.len()));
                each(at, self.segment_embedded(image, embedding.as_ref(), asked, &())?)?;
            }
            return Ok(());
        };
        for (first, batch) in (0..).step_by(BATCH).zip(prompts.chunks(BATCH)) {
            watch.stage(&format!("object {} of {}", first + 1, prompts.len()));
            for (at, low) in (first..).zip(model.predict_low_res(embedding, batch).map_err(Error::from)?) {
                let masks = model.enlarge(embedding, &low.low_res_masks).map_err(Error::from)?;
                let LowResPrediction { low_res_masks, iou_predictions } = low;
                let prediction = Prediction { masks, iou_predictions, low_res_masks };
                each(at, Segmented::of_prediction(self.name, image.dimensions(), &prediction)?)?;
            }
        }
        Ok(())
    }

    /// The quick half, with what [`Pipeline::embed`] gave.
    ///
    /// # Errors
    /// As [`Pipeline::segment`]; [`Error::NoEmbedding`] where one is needed and not there.
    pub fn segment_embedded(
        &self,
        image: &RgbImage,
        embedding: Option<&ImageEmbedding>,
        prompts: &Prompts,
        watch: &dyn Watch,
    ) -> Result<Segmented> {
        let embedding = || embedding.ok_or(Error::NoEmbedding { model: self.name });
        match &self.stages {
            Stages::Promptable(model) => {
                let embedding = embedding()?;
                watch.stage("decoding");
                Segmented::of_prediction(self.name, image.dimensions(), &model.predict(embedding, prompts)?)
            }
            Stages::PromptFree(model) => {
                watch.stage("segmenting");
                Segmented::of_probability(&model.predict(image)?)
            }
            Stages::Two { second, first } => match (&prompts.mask, first) {
                (Some(MaskPrompt::Image(mask)), _) => {
                    watch.stage("refining");
                    Segmented::of_refinement(None, second.refine_mask(image, mask)?)
                }
                (_, Some((name, model))) => {
                    let embedding = embedding()?;
                    watch.stage("refining");
                    let refined = second.predict_embedded(model.as_ref(), image, embedding, prompts)?;
                    Segmented::of_refinement(Some(*name), refined)
                }
                (_, None) => Err(Error::NoFirstStage { model: self.name }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    /// Threads share pipelines and what they give.
    #[test]
    fn is_shared_by_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<super::Pipeline>();
        shared::<super::Photo>();
        shared::<super::Segmented>();
    }
}
