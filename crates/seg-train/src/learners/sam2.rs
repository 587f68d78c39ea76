//! SAM 2's own fine-tuning: an object that is clicked, boxed or masked on some frames of a clip, and followed through the others.

use super::drawn::Drawn;
use super::parts::{Start, Trunk, Weights, check_frames, frames_of, planes, whole_clip};
use super::prompts::Chance;
use super::sizes::Sizes;
use super::{Learner, Losses};
use crate::init::Begun;
use crate::recipe::Recipe;
use crate::sam2::{Interaction, Objective, Terms, parameter_rules, segment_clip};
use crate::{Result, TrainError};
use candle_core::{Device, Tensor};
use hiera_encoder::HieraConfig;
use seg_checkpoints::TrainingWeights;
use seg_data::training::Dice;
use seg_data::training::transform::PreparedClip;
use seg_layers::Dropout;
use seg_models::normalize::{IMAGENET_MEAN, IMAGENET_STD, normalize};
use seg_models::registry::Architecture;
use seg_models::sam2::Sam2Version;
use seg_models::sam2::video::{Sam2VideoConfig, Sam2VideoModel};
use serde::Deserialize;

/// What a recipe may say about the model.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ModelPart {
    /// 2.0 or 2.1.
    version: Option<Sam2Version>,
    trunk: Option<Trunk>,
    image_size: Option<usize>,
    width: Option<usize>,
    memory_layers: Option<usize>,
    /// Probability of leaving numbers out, in the memory attention.
    dropout: Option<f64>,
}

/// What a recipe may say about the loss, and about who clicks.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LossPart {
    mask: Option<f64>,
    dice: Option<f64>,
    iou: Option<f64>,
    class: Option<f64>,
    points: Option<f64>,
    boxes: Option<f64>,
    first_frames: Option<usize>,
    corrected_frames: Option<usize>,
    corrections: Option<usize>,
    from_truth: Option<f64>,
}

/// The factor of dropout in the memory attention.
const DROPOUT: f64 = 0.1;

/// SAM 2. Files: `weights` (a SAM 2 of the trunk's size).
pub struct Sam2Learner {
    /// With dropout, and with what training has otherwise than tracking.
    learning: Sam2VideoModel,
    /// As it tracks.
    net: Sam2VideoModel,
    drawn: Drawn,
    objective: Objective,
    interaction: Interaction,
    frames: usize,
    device: Device,
    weights: Weights,
}

impl Sam2Learner {
    pub(super) fn new(recipe: &Recipe, at: &Start<'_>) -> Result<Self> {
        at.only(&["weights"])?;
        let part: ModelPart = recipe.part("model", &recipe.model)?;
        let loss: LossPart = recipe.part("loss", &recipe.loss)?;
        let ModelPart { image_size, width, memory_layers, .. } = part;
        let sizes = Sizes { trunk: part.trunk.as_ref(), image_size, width, memory_layers };
        let sam2 = sizes.sam2(part.version.unwrap_or(Sam2Version::V2_1), HieraConfig::base_plus())?;
        let blocks = sam2.image_encoder.trunk.stages.iter().sum();
        let mut config = Sam2VideoConfig::new(sam2);
        sizes.memory(&mut config);
        let weights = at.weights(at.fresh(), parameter_rules(blocks))?;
        let net = Sam2VideoModel::new(&config, weights.vb.clone())?;
        // as it learns: the single mask as it is, masks for the memory as they are, pointers of all prompted frames
        config.sam2.mask_decoder.dynamic_multimask = None;
        config.memory.mask.binarize_mask_from_pts = false;
        config.memory.bank.only_obj_ptrs_in_the_past = false;
        let mut learning = Sam2VideoModel::new(&config, weights.vb.clone())?;
        let drawn = Drawn::new();
        learning.set_dropout(&Dropout::new(part.dropout.unwrap_or(DROPOUT), drawn.clone())?);
        let (objective, interaction) = (Objective::SAM2, Interaction::SAM2);
        Ok(Self {
            learning,
            net,
            drawn,
            objective: Objective {
                mask: loss.mask.unwrap_or(objective.mask),
                dice: loss.dice.unwrap_or(objective.dice),
                iou: loss.iou.unwrap_or(objective.iou),
                class: loss.class.unwrap_or(objective.class),
                ..objective
            },
            interaction: Interaction {
                points: part_of("points", loss.points, interaction.points)?,
                boxes: part_of("boxes", loss.boxes, interaction.boxes)?,
                first_frames: loss.first_frames.unwrap_or(interaction.first_frames),
                corrected_frames: loss.corrected_frames.unwrap_or(interaction.corrected_frames),
                corrections: loss.corrections.unwrap_or(interaction.corrections),
                from_truth: part_of("from_truth", loss.from_truth, interaction.from_truth)?,
            },
            frames: recipe.frames().unwrap_or(1),
            device: at.device.clone(),
            weights,
        })
    }
}

/// A probability.
fn part_of(name: &str, given: Option<f64>, published: f64) -> Result<f64> {
    match given.unwrap_or(published) {
        part if (0. ..=1.).contains(&part) => Ok(part),
        part => {
            let problem = format!("{name} is {part}, expected 0 to 1");
            Err(TrainError::Recipe { recipe: "[loss]".into(), problem })
        }
    }
}

/// A clip of a batch: its frames, its masks `[T, 1, S, S]`, and what is drawn for it.
fn clip_of(inputs: &[Tensor], clip: usize) -> Result<(Vec<Tensor>, Tensor, Dice)> {
    let [frames, masks, seeds] = inputs else {
        return Err(TrainError::Count { what: "inputs of a batch", got: inputs.len(), expected: 3 });
    };
    let chance = Chance::of_rows(&seeds.narrow(0, clip, 1)?)?.pop();
    let Chance(dice) = chance.ok_or(TrainError::Count { what: "seeds of a clip", got: 0, expected: 1 })?;
    Ok((frames_of(frames, clip)?, masks.narrow(0, clip, 1)?.squeeze(0)?.contiguous()?, dice))
}

impl Learner for Sam2Learner {
    fn weights(&self) -> &TrainingWeights {
        &self.weights.weights
    }

    fn begun(&self) -> Option<Begun> {
        self.weights.begun()
    }

    fn image_size(&self) -> usize {
        self.net.image_model().image_size()
    }

    fn architecture(&self) -> Option<Architecture> {
        Some(Architecture::Sam2(Box::new(self.net.config().clone())))
    }

    fn takes_prompts(&self) -> bool {
        true
    }

    fn draws(&self) -> bool {
        true
    }

    fn clip_inputs(&self, clip: &PreparedClip) -> Result<Vec<Tensor>> {
        check_frames(clip, self.frames)?;
        let (mut frames, mut masks) = (Vec::new(), Vec::new());
        for frame in &clip.frames {
            frames.push(normalize(&planes(&frame.image, &self.device)?, IMAGENET_MEAN, IMAGENET_STD)?);
            masks.push(planes(&frame.mask, &self.device)?.ge(0.5)?.to_dtype(candle_core::DType::F32)?);
        }
        Ok(vec![whole_clip(&frames)?, whole_clip(&masks)?])
    }

    fn loss(&self, inputs: &[Tensor]) -> Result<Losses> {
        let clips = inputs.first().map_or(Ok(0), |frames| frames.dim(0))?;
        if let Some(seeds) = inputs.last() {
            self.drawn.begin(seeds)?;
        }
        // sums over frames and clicks, as published; a mean over clips
        let mut sum: Option<Terms> = None;
        for clip in 0..clips {
            let (frames, masks, mut dice) = clip_of(inputs, clip)?;
            let predictions = segment_clip(&self.learning, &frames, &masks, &self.interaction, &mut dice)?;
            for (t, prediction) in predictions.iter().enumerate().filter(|(_, p)| !p.clicks.is_empty()) {
                let terms = self.objective.forward(&prediction.clicks, &masks.narrow(0, t, 1)?.squeeze(1)?)?;
                sum = Some(match sum {
                    None => terms,
                    Some(sum) => sum.plus(&terms)?,
                });
            }
        }
        let none = TrainError::Count { what: "predictions of the batch", got: 0, expected: 1 };
        let Terms { mask, dice, iou, class, total } = sum.ok_or(none)?;
        let mean = |term: Tensor| term / clips.max(1) as f64;
        let parts = vec![("mask", mean(mask)?), ("dice", mean(dice)?), ("iou", mean(iou)?), ("class", mean(class)?)];
        Ok(Losses { total: mean(total)?, parts })
    }

    /// The object is followed from one click on the first frame.
    fn predict(&self, inputs: &[Tensor]) -> Result<Tensor> {
        let (frames, masks, mut dice) = clip_of(inputs, 0)?;
        let predictions = segment_clip(&self.net, &frames, &masks, &Interaction::ONE_CLICK, &mut dice)?;
        Ok(Tensor::cat(&predictions.iter().map(|p| &p.logits).collect::<Vec<_>>(), 0)?)
    }
}
