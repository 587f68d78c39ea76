//! The systems as the loop trains them: from examples to inputs, from inputs to a loss and to a prediction.

mod dense;
mod dichotomous;
mod drawn;
mod mpg;
mod parts;
mod pi_sam;
mod prompts;
mod sam;
mod sam2;
mod sizes;
mod words;

pub use dense::{MgdLearner, UnetLearner, UnextLearner, dense_inputs};
pub use dichotomous::{DichotomousLearner, GtLearner};
pub use mpg::MpgLearner;
pub use pi_sam::PiSamLearner;
pub use sam::SamLearner;
pub use sam2::Sam2Learner;
pub use words::vocabulary;

use crate::embeddings::EmbeddingCache;
use crate::init::Begun;
use crate::recipe::{Recipe, System};
use crate::{Result, TrainError};
use candle_core::{DType, Device, Tensor};
use seg_checkpoints::TrainingWeights;
use seg_data::training::transform::{Prepared, PreparedClip};
use seg_data::training::{Dice, Place};
use seg_models::registry::Architecture;
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
    fn inputs(&self, example: &Prepared) -> Result<Vec<Tensor>> {
        Err(unfit(&example.name, "is a picture, and the system learns from clips"))
    }

    /// The same of a clip, for systems that learn from clips.
    ///
    /// # Errors
    /// As there.
    fn clip_inputs(&self, clip: &PreparedClip) -> Result<Vec<Tensor>> {
        Err(unfit(&clip.name, "is a clip, and the system learns from pictures"))
    }

    /// Beginning of the names of a frozen encoder's weights, where one stands before all that learns: [`Learner::embedding`] is then asked for every example, and what it
    /// gives may be kept on disk. `None` where there is none, or where some of it is thawed.
    fn frozen_encoder(&self) -> Option<&'static str> {
        None
    }

    /// What the frozen encoder makes of the picture, the first of an example's `inputs`: it is appended to them, without a graph behind it.
    ///
    /// # Errors
    /// Candle's.
    fn embedding(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let _ = inputs;
        Ok(Vec::new())
    }

    /// Whether the loss draws numbers at random (where to click, where to look): their seed, `[1, 2]` of u32, a function of the example's place, is then appended to its
    /// inputs, before the embedding.
    fn draws(&self) -> bool {
        false
    }

    /// Side of its square inputs, in pixels.
    fn image_size(&self) -> usize;

    /// What its model is made of: weights that are written say it, so that whoever loads them need not know the recipe. `None`: none of the models that are
    /// loaded by name.
    fn architecture(&self) -> Option<Architecture> {
        None
    }

    /// Whether it is told which object is meant.
    fn takes_prompts(&self) -> bool {
        false
    }

    /// The loss of a batch, `inputs` being those of its examples along the first axis.
    ///
    /// # Errors
    /// Candle's, and shapes that do not fit.
    fn loss(&self, inputs: &[Tensor]) -> Result<Losses>;

    /// Makes norms that learn, and that a file has folded into their convolutions, ones of this batch that change no answer ([`seg_layers::Statistics::Unfold`]): how many.
    /// The batches of all processes are one. What has no such files does nothing.
    ///
    /// # Errors
    /// As there.
    fn unfold(&self, inputs: &[Tensor], group: &Arc<dyn AllReduce>) -> Result<usize> {
        let _ = (inputs, group);
        Ok(0)
    }

    /// What the system answers to a batch: probabilities in 0..1, `[B, 1, h, w]`. Of a clip: logits of its `T` frames, `[T, 1, h, w]`, as the protocols for
    /// videos enlarge logits.
    ///
    /// # Errors
    /// As there.
    fn predict(&self, inputs: &[Tensor]) -> Result<Tensor>;

    /// A file that its weights need beside them: name and content.
    fn beside(&self) -> Option<(&'static str, &[u8])> {
        None
    }

    /// The answer to one held-out example, and scores of the system's own by their names (after a click, …); those that are no number do not count.
    ///
    /// # Errors
    /// As there.
    fn examine(&self, inputs: &[Tensor]) -> Result<(Tensor, Vec<(&'static str, f64)>)> {
        Ok((self.predict(inputs)?, Vec::new()))
    }

    /// The names of those scores.
    fn own_scores(&self) -> &'static [&'static str] {
        &[]
    }
}

/// An example that a system cannot use.
fn unfit(example: &str, problem: &str) -> TrainError {
    TrainError::Run { path: example.into(), problem: problem.into() }
}

/// The seed of what is drawn for an example.
fn seed(place: Place) -> Result<Tensor> {
    let bits = Dice::new(place, "loss").bits();
    Ok(Tensor::new(&[[(bits >> 32) as u32, bits as u32]], &Device::Cpu)?)
}

/// All inputs of a clip: the learner's own, and the seed of what is drawn.
///
/// # Errors
/// As there.
pub fn clip_inputs_at(learner: &dyn Learner, clip: &PreparedClip, place: Place) -> Result<Vec<Tensor>> {
    let mut inputs = learner.clip_inputs(clip)?;
    if learner.draws() {
        inputs.push(seed(place)?);
    }
    Ok(inputs)
}

/// All inputs of an example: the learner's own, the seed of what is drawn, the frozen encoder's embedding, from the cache where there is one.
///
/// # Errors
/// Examples that the system cannot use.
pub fn inputs_at(
    learner: &dyn Learner,
    embeddings: Option<&EmbeddingCache>,
    example: &Prepared,
    place: Place,
) -> Result<Vec<Tensor>> {
    let mut inputs = learner.inputs(example)?;
    if learner.draws() {
        inputs.push(seed(place)?);
    }
    if learner.frozen_encoder().is_some() {
        // of one memory layout, whether it comes from a file or not
        let make = || {
            learner
                .embedding(&inputs)?
                .into_iter()
                .map(|map| Ok(map.contiguous()?.detach()))
                .collect::<Result<Vec<_>>>()
        };
        let embedding = match embeddings {
            Some(cache) => cache.get(&inputs[0], make)?,
            None => make()?,
        };
        inputs.extend(embedding);
    }
    Ok(inputs)
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
        System::MpgSam2 => Arc::new(MpgLearner::new(recipe, &at)?),
        System::Sam2 => Arc::new(Sam2Learner::new(recipe, &at)?),
        System::PiSam => Arc::new(PiSamLearner::new(recipe, &at)?),
        System::Sam => Arc::new(SamLearner::new(recipe, &at)?),
    };
    parts::patterns_fit(recipe, learner.weights())?;
    Ok(learner)
}
