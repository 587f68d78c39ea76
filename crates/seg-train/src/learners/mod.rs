//! The systems as the loop trains them: from examples to inputs, from inputs to a loss and to a prediction.

mod dense;
mod dichotomous;
mod parts;

pub use dense::{MgdLearner, UnetLearner, UnextLearner};
pub use dichotomous::{DichotomousLearner, GtLearner};

use crate::Result;
use crate::init::Begun;
use crate::recipe::{Recipe, System};
use candle_core::{DType, Device, Tensor};
use seg_checkpoints::TrainingWeights;
use seg_data::training::transform::Prepared;
use seg_ops::{AllReduce, Alone};
use std::sync::Arc;

/// A system as the loop trains it.
pub trait Learner: Send + Sync {
    /// Its weights, with what is trained as variables.
    fn weights(&self) -> &TrainingWeights;

    /// Where its weights came from, where a file was given.
    fn begun(&self) -> Option<Begun>;

    /// What a worker makes of an example: tensors whose first axis is that of the batch, of length 1.
    ///
    /// # Errors
    /// Examples that the system cannot use.
    fn inputs(&self, example: &Prepared) -> Result<Vec<Tensor>>;

    /// Side of its square inputs, in pixels.
    fn image_size(&self) -> usize;

    /// Whether it is told which object is meant.
    fn takes_prompts(&self) -> bool {
        false
    }

    /// The loss of a batch, `inputs` being those of its examples along the first axis.
    ///
    /// # Errors
    /// Candle's, and shapes that do not fit.
    fn loss(&self, inputs: &[Tensor]) -> Result<Losses>;

    /// What the system answers to a batch: probabilities in 0..1, `[B, 1, h, w]`.
    ///
    /// # Errors
    /// As there.
    fn predict(&self, inputs: &[Tensor]) -> Result<Tensor>;
}

/// What is minimised, and its parts.
#[derive(Clone, Debug)]
pub struct Losses {
    /// The sum, a scalar.
    pub total: Tensor,
    /// Names and scalars, for the log.
    pub parts: Vec<(&'static str, Tensor)>,
}

/// Builds the recipe's system on its starting weights, in float32.
///
/// # Errors
/// A model that cannot be built, files that cannot be read.
pub fn learner(recipe: &Recipe, device: &Device) -> Result<Arc<dyn Learner>> {
    learner_among(recipe, device, &(Arc::new(Alone) as Arc<dyn AllReduce>))
}

/// [`learner`] in one of several processes that train together.
///
/// # Errors
/// As there.
pub fn learner_among(recipe: &Recipe, device: &Device, group: &Arc<dyn AllReduce>) -> Result<Arc<dyn Learner>> {
    let at = parts::Start::new(recipe, DType::F32, device, group);
    let learner: Arc<dyn Learner> = match recipe.system {
        System::Sam2Unet => Arc::new(UnetLearner::new(recipe, &at)?),
        System::Sam2Unext => Arc::new(UnextLearner::new(recipe, &at)?),
        System::MgdSam2 => Arc::new(MgdLearner::new(recipe, &at)?),
        System::IsNet | System::DisSam => Arc::new(DichotomousLearner::new(recipe, &at)?),
        System::IsNetGt => Arc::new(GtLearner::new(recipe, &at)?),
    };
    parts::thawed_something(recipe, learner.weights())?;
    Ok(learner)
}
