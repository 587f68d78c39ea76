//! IS-Net, its encoder of masks, and DIS-SAM's second stage.

use super::parts::{Norms, Start, Weights, factors, planes};
use super::{Learner, Losses};
use crate::dis_sam::Objective;
use crate::init::{Begun, Partly};
use crate::losses::DichotomousLoss;
use crate::recipe::{Recipe, System};
use crate::{Result, TrainError};
use candle_core::{Device, Tensor};
use detail_refine::{IsNet, IsNetConfig, IsNetGtConfig, IsNetGtEncoder};
use seg_checkpoints::{Checkpoint, ParameterGroup, ParameterRules, TrainingWeights, Treatment};
use seg_data::training::transform::Prepared;
use seg_layers::Statistics;
use seg_models::dis_sam::box_channel;
use seg_models::is_net::transforms::INPUT_SIZE;
use seg_models::registry::{Architecture, DichotomousSizes};
use seg_ops::AllReduce;
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// What a recipe may say about the model.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ModelPart {
    image_size: Option<usize>,
    /// All numbers of channels are divided by this, for small models.
    divide: Option<std::num::NonZeroUsize>,
}

/// What a recipe may say about the loss.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LossPart {
    bce: Option<f64>,
    iou: Option<f64>,
    /// Of all outputs but the first.
    sides: Option<f64>,
    orthogonality: Option<f64>,
}

impl LossPart {
    fn change(self, objective: Objective) -> Objective {
        let Objective { loss, orthogonality } = objective;
        let (bce, iou) = (self.bce.unwrap_or(loss.bce), self.iou.unwrap_or(loss.iou));
        let sides = self.sides.unwrap_or(loss.sides);
        let loss = DichotomousLoss { bce, iou, sides, ..loss };
        Objective { loss, orthogonality: self.orthogonality.unwrap_or(orthogonality) }
    }
}

/// All of the network moves.
fn all() -> ParameterRules {
    ParameterRules::new([("*", Treatment::Trained(ParameterGroup::new("network", 1., 0.)))])
}

/// Divides channels.
fn divide<'c>(channels: impl Iterator<Item = &'c mut usize>, by: usize) {
    channels.for_each(|channels| *channels = (*channels / by).max(1));
}

fn divided(mut cfg: IsNetConfig, by: usize) -> IsNetConfig {
    let blocks = cfg.encoder.iter_mut().chain(&mut cfg.decoder);
    divide(blocks.flat_map(|block| [&mut block.mid, &mut block.out]).chain([&mut cfg.stem]), by);
    cfg
}

fn divided_gt(mut cfg: IsNetGtConfig, by: usize) -> IsNetGtConfig {
    let blocks = cfg.encoder.iter_mut();
    divide(blocks.flat_map(|block| [&mut block.mid, &mut block.out]).chain([&mut cfg.stem]), by);
    cfg
}

/// IS-Net and DIS-SAM. Files: `weights` (an IS-Net or DIS-SAM to start from: DIS-SAM's two new input channels begin at zero), `mask_encoder` (a trained
/// encoder of masks, by whose features ours are supervised; without it there is no such supervision).
pub struct DichotomousLearner {
    net: IsNet,
    encoder: Option<IsNetGtEncoder>,
    objective: Objective,
    prompted: bool,
    sizes: DichotomousSizes,
    device: Device,
    weights: Weights,
    norms: Norms,
}

impl DichotomousLearner {
    pub(super) fn new(recipe: &Recipe, at: &Start<'_>) -> Result<Self> {
        at.only(&["weights", "mask_encoder"])?;
        let part: ModelPart = recipe.part("model", &recipe.model)?;
        let loss: LossPart = recipe.part("loss", &recipe.loss)?;
        factors(recipe, &[("bce", loss.bce), ("iou", loss.iou), ("orthogonality", loss.orthogonality)])?;
        let prompted = recipe.system == System::DisSam;
        let (cfg, objective) = match prompted {
            true => (IsNetConfig::dis_sam(), Objective::DIS_SAM),
            false => (IsNetConfig::is_net(), Objective::IS_NET),
        };
        let by = part.divide.map_or(1, std::num::NonZeroUsize::get);
        let weights = at.weights(at.fresh(), all())?;
        let sizes = DichotomousSizes { net: divided(cfg, by), image_size: part.image_size.unwrap_or(INPUT_SIZE) };
        let mut net = IsNet::new(&sizes.net, weights.vb.clone())?;
        net.set_checkpointing(recipe.checkpointing);
        let encoder = at.file("mask_encoder").map(|path| -> Result<IsNetGtEncoder> {
            let partly = Partly::new(Checkpoint::open(path)?, at.fresh());
            let cfg = divided_gt(IsNetGtConfig::published(), by);
            let encoder = IsNetGtEncoder::new(&cfg, partly.var_builder(at.dtype, &at.device))?;
            match partly.begun().fresh.first() {
                None => Ok(encoder),
                Some(lacking) => Err(TrainError::Run {
                    path: path.into(),
                    problem: format!("no encoder of masks: {lacking} is not there, or has another shape"),
                }),
            }
        });
        Ok(Self {
            net,
            encoder: encoder.transpose()?,
            objective: loss.change(objective),
            prompted,
            sizes,
            device: at.device.clone(),
            weights,
            norms: at.norms(),
        })
    }
}

impl Learner for DichotomousLearner {
    fn weights(&self) -> &TrainingWeights {
        &self.weights.weights
    }

    fn begun(&self) -> Option<Begun> {
        self.weights.begun()
    }

    fn inputs(&self, example: &Prepared) -> Result<Vec<Tensor>> {
        let image = (planes(&example.image, &self.device)? - 0.5)?;
        let label = planes(&example.mask, &self.device)?;
        if !self.prompted {
            return Ok(vec![image, label]);
        }
        let unusable = |problem: &str| TrainError::Run { path: example.name.clone().into(), problem: problem.into() };
        let coarse = example.prompt.as_ref().and_then(|prompt| prompt.coarse.as_ref());
        let coarse =
            coarse.ok_or_else(|| unusable("has no coarse mask, which DIS-SAM needs: use data that has one, such as --data procedural:objects, or --layout dis-sam"))?;
        let (width, height) = (example.mask.width, example.mask.height);
        let levels: Vec<u8> = example.mask.levels.iter().map(|v| *v as u8).collect();
        // the channel of the box is that of the truth at the input's size
        let channel = box_channel(&levels, width, height)?;
        let plane = |bytes: &[u8]| -> Result<Tensor> {
            let shape = (1, 1, height as usize, width as usize);
            if bytes.len() != levels.len() {
                return Err(unusable("has a coarse mask of another size"));
            }
            Ok((Tensor::from_vec(bytes.iter().map(|v| f32::from(*v)).collect(), shape, &self.device)? / 255.)?)
        };
        Ok(vec![Tensor::cat(&[&image, &plane(coarse.as_raw())?, &plane(&channel)?], 1)?, label])
    }

    fn image_size(&self) -> usize {
        self.sizes.image_size
    }

    fn architecture(&self) -> Option<Architecture> {
        let sizes = self.sizes.clone();
        Some(if self.prompted { Architecture::DisSam(sizes) } else { Architecture::IsNet(sizes) })
    }

    fn takes_prompts(&self) -> bool {
        self.prompted
    }

    fn loss(&self, inputs: &[Tensor]) -> Result<Losses> {
        let output = self.net.forward_t(&inputs[0], self.norms.statistics())?;
        let terms = match &self.encoder {
            Some(encoder) => {
                // the official training leaves the frozen mask encoder in train mode
                let encoded = encoder.forward_t(&inputs[1], self.norms.of_batches())?.features;
                let named = self.weights.weights.grouped();
                let named =
                    named.iter().flat_map(|(_, vars)| vars.iter().map(|(name, var)| (name.as_str(), var.as_tensor())));
                self.objective.forward(&output, &inputs[1], &encoded, named)?
            }
            None => {
                let terms = self.objective.loss.forward(&output.probabilities, &inputs[1], None)?;
                let parts = vec![("first", terms.first)];
                return Ok(Losses { total: terms.total, parts });
            }
        };
        let mut parts = vec![("first", terms.first), ("outputs", terms.outputs)];
        parts.extend(terms.orthogonality.map(|term| ("orthogonality", term)));
        Ok(Losses { total: terms.total, parts })
    }

    fn unfold(&self, inputs: &[Tensor], group: &Arc<dyn AllReduce>) -> Result<usize> {
        let mut net = self.net.clone();
        net.set_checkpointing(false);
        let count = AtomicUsize::new(0);
        net.forward_t(&inputs[0], Statistics::Unfold { across: Some(group), count: &count })?;
        Ok(count.into_inner())
    }

    fn predict(&self, inputs: &[Tensor]) -> Result<Tensor> {
        first(self.net.forward_t(&inputs[0], false)?.probabilities)
    }
}

/// The encoder of ground-truth masks, which learns to give back what it sees. Files: `weights` (one to go on from).
pub struct GtLearner {
    net: IsNetGtEncoder,
    image_size: usize,
    device: Device,
    weights: Weights,
    norms: Norms,
}

impl GtLearner {
    pub(super) fn new(recipe: &Recipe, at: &Start<'_>) -> Result<Self> {
        at.only(&["weights"])?;
        let part: ModelPart = recipe.part("model", &recipe.model)?;
        let weights = at.weights(at.fresh(), all())?;
        let cfg = divided_gt(IsNetGtConfig::published(), part.divide.map_or(1, std::num::NonZeroUsize::get));
        let mut net = IsNetGtEncoder::new(&cfg, weights.vb.clone())?;
        net.set_checkpointing(recipe.checkpointing);
        let image_size = part.image_size.unwrap_or(INPUT_SIZE);
        Ok(Self { net, image_size, device: at.device.clone(), weights, norms: at.norms() })
    }
}

impl Learner for GtLearner {
    fn weights(&self) -> &TrainingWeights {
        &self.weights.weights
    }

    fn begun(&self) -> Option<Begun> {
        self.weights.begun()
    }

    fn inputs(&self, example: &Prepared) -> Result<Vec<Tensor>> {
        Ok(vec![planes(&example.mask, &self.device)?])
    }

    fn image_size(&self) -> usize {
        self.image_size
    }

    fn loss(&self, inputs: &[Tensor]) -> Result<Losses> {
        let output = self.net.forward_t(&inputs[0], self.norms.statistics())?;
        let terms = Objective::IS_NET.loss.forward(&output.probabilities, &inputs[0], None)?;
        Ok(Losses { total: terms.total, parts: vec![("first", terms.first)] })
    }

    fn predict(&self, inputs: &[Tensor]) -> Result<Tensor> {
        first(self.net.forward_t(&inputs[0], false)?.probabilities)
    }
}

fn first(probabilities: Vec<Tensor>) -> Result<Tensor> {
    let found = probabilities.into_iter().next();
    found.ok_or(TrainError::Count { what: "outputs", got: 0, expected: 1 })
}
