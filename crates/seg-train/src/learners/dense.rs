//! Systems that see a picture and answer with logits: SAM2-UNet, SAM2-UNeXT, MGD-SAM2.

use super::parts::{Norms, Start, Trunk, Weights, factors, planes};
use super::{Learner, Losses};
use crate::init::Begun;
use crate::losses::StructureLoss;
use crate::recipe::Recipe;
use crate::{Result, mgd_sam2, sam2_unet};
use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use hiera_encoder::HieraConfig;
use multiview_fusion::PositionTable;
use seg_checkpoints::TrainingWeights;
use seg_data::training::transform::Prepared;
use seg_layers::{Statistics, Unobserved};
use seg_models::mgd_sam2::{MgdSam2, MgdSam2Config};
use seg_models::normalize::{IMAGENET_MEAN, IMAGENET_STD, normalize};
use seg_models::registry::Architecture;
use seg_models::sam2_unet::{Sam2Unet, Sam2UnetConfig};
use seg_models::sam2_unext::{BaseWeights, Sam2Unext, Sam2UnextConfig};
use seg_ops::Activation;
use serde::Deserialize;
use std::path::Path;
use vit_encoder::DinoV2Config;

/// What a recipe may say about the model.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ModelPart {
    trunk: Option<Trunk>,
    /// SAM2-UNeXT's second encoder, where it is not the published one.
    dino: Option<DinoPart>,
    image_size: Option<usize>,
    /// Channels of the decoder.
    channels: Option<usize>,
}

/// A small DINOv2.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DinoPart {
    /// Side of its input, a multiple of 14.
    image_size: usize,
    embed_dim: usize,
    depth: usize,
    num_heads: usize,
}

impl DinoPart {
    fn config(self) -> DinoV2Config {
        let Self { image_size: _, embed_dim, depth, num_heads } = self;
        DinoV2Config { embed_dim, depth, num_heads, ..DinoV2Config::vit_s() }
    }
}

impl ModelPart {
    fn of(recipe: &Recipe) -> Result<Self> {
        recipe.part("model", &recipe.model)
    }
}

/// Nothing about the loss can be said.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoLossPart {}

/// What the three have in common.
struct Common {
    weights: Weights,
    made: Architecture,
    device: Device,
    norms: Norms,
}

impl Common {
    fn new(weights: Weights, made: Architecture, at: &Start<'_>) -> Self {
        Self { weights, made, device: at.device.clone(), norms: at.norms() }
    }

    fn inputs(&self, example: &Prepared) -> Result<Vec<Tensor>> {
        dense_inputs(example, &self.device)
    }
}

/// What a system sees that takes a picture and answers with a mask: the normalised picture `[1, 3, H, W]` and the mask in 0..1 `[1, 1, H, W]`.
///
/// # Errors
/// Candle's.
pub fn dense_inputs(example: &Prepared, device: &Device) -> Result<Vec<Tensor>> {
    let image = normalize(&planes(&example.image, device)?, IMAGENET_MEAN, IMAGENET_STD)?;
    Ok(vec![image, planes(&example.mask, device)?])
}

fn sigmoid(logits: &Tensor) -> Result<Tensor> {
    Ok(seg_ops::activate(logits, Activation::Sigmoid)?)
}

/// A builder for the encoders' files and the rest.
fn on_base(at: &Start<'_>, base: Option<BaseWeights>) -> VarBuilder<'static> {
    match base {
        Some(base) => base.var_builder(at.fresh(), at.dtype, &at.device),
        None => at.fresh(),
    }
}

macro_rules! learner_of_common {
    () => {
        fn weights(&self) -> &TrainingWeights {
            &self.common.weights.weights
        }

        fn begun(&self) -> Option<Begun> {
            self.common.weights.begun()
        }

        fn inputs(&self, example: &Prepared) -> Result<Vec<Tensor>> {
            self.common.inputs(example)
        }

        fn image_size(&self) -> usize {
            self.common.made.image_size()
        }

        fn architecture(&self) -> Option<Architecture> {
            Some(self.common.made.clone())
        }
    };
}

/// SAM2-UNet. Files: `sam2` (the trunk's), `weights` (a SAM2-UNet to go on from).
pub struct UnetLearner {
    net: Sam2Unet,
    common: Common,
}

impl UnetLearner {
    pub(super) fn new(recipe: &Recipe, at: &Start<'_>) -> Result<Self> {
        at.only(&["sam2", "weights"])?;
        let NoLossPart {} = recipe.part("loss", &recipe.loss)?;
        let part = ModelPart::of(recipe)?;
        let mut cfg = part.trunk.map_or_else(Sam2UnetConfig::large, |trunk| Sam2UnetConfig::on(trunk.config()));
        cfg.image_size = part.image_size.unwrap_or(cfg.image_size);
        cfg.channels = part.channels.unwrap_or(cfg.channels);
        let base = on_base(at, at.file("sam2").map(BaseWeights::unet).transpose()?);
        let weights = at.weights(base, Sam2Unet::parameter_rules())?;
        let mut net = Sam2Unet::new(&cfg, weights.vb.clone())?;
        net.set_checkpointing(recipe.checkpointing);
        Ok(Self { net, common: Common::new(weights, Architecture::Sam2Unet(Box::new(cfg)), at) })
    }
}

impl Learner for UnetLearner {
    learner_of_common!();

    fn loss(&self, inputs: &[Tensor]) -> Result<Losses> {
        let output = self.net.forward_t(&inputs[0], self.common.norms.statistics())?;
        let terms = sam2_unet::unet_loss(StructureLoss::default(), &output, &inputs[1])?;
        let parts = ["out", "side1", "side2"].into_iter().zip(terms.outputs).collect();
        Ok(Losses { total: terms.total, parts })
    }

    fn predict(&self, inputs: &[Tensor]) -> Result<Tensor> {
        sigmoid(&self.net.forward_t(&inputs[0], false)?.out)
    }
}

/// SAM2-UNeXT. Files: `sam2` and `dino` (the encoders'), `weights` (a SAM2-UNeXT to go on from).
pub struct UnextLearner {
    net: Sam2Unext,
    common: Common,
}

impl UnextLearner {
    pub(super) fn new(recipe: &Recipe, at: &Start<'_>) -> Result<Self> {
        at.only(&["sam2", "dino", "weights"])?;
        let NoLossPart {} = recipe.part("loss", &recipe.loss)?;
        let part = ModelPart::of(recipe)?;
        let trunk = part.trunk.map_or_else(HieraConfig::large, |trunk| trunk.config());
        let dino = part.dino.map_or_else(DinoV2Config::vit_l, DinoPart::config);
        let mut cfg = Sam2UnextConfig::on(trunk, dino);
        if let Some(dino) = part.dino {
            cfg.dino.image_size = dino.image_size;
        }
        cfg.image_size = part.image_size.unwrap_or(cfg.image_size);
        cfg.channels = part.channels.unwrap_or(cfg.channels);
        let files = (at.file("sam2"), at.file("dino"));
        if let (Some(_), None) | (None, Some(_)) = files {
            let problem = "SAM2-UNeXT starts from both `sam2` and `dino`, or from neither".into();
            return Err(crate::TrainError::Recipe { recipe: "[start]".into(), problem });
        }
        let open = |(sam2, dino): (&Path, &Path)| BaseWeights::unext(sam2, dino);
        let base = on_base(at, files.0.zip(files.1).map(open).transpose()?);
        let weights = at.weights(base, Sam2Unext::parameter_rules())?;
        let mut net = Sam2Unext::new(&cfg, weights.vb.clone())?;
        net.set_checkpointing(recipe.checkpointing);
        Ok(Self { net, common: Common::new(weights, Architecture::Sam2Unext(Box::new(cfg)), at) })
    }
}

impl Learner for UnextLearner {
    learner_of_common!();

    fn loss(&self, inputs: &[Tensor]) -> Result<Losses> {
        let logits = self.net.forward_t(&inputs[0], self.common.norms.statistics())?;
        Ok(Losses { total: StructureLoss::default().forward(&logits, &inputs[1])?, parts: Vec::new() })
    }

    fn predict(&self, inputs: &[Tensor]) -> Result<Tensor> {
        sigmoid(&self.net.forward_t(&inputs[0], false)?)
    }
}

/// MGD-SAM2. Files: `weights` (SAM 2's of the trunk's size, or an MGD-SAM2 to go on from).
pub struct MgdLearner {
    net: MgdSam2,
    objective: mgd_sam2::Objective,
    common: Common,
}

/// What a recipe may say about MGD-SAM2's loss.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MgdLossPart {
    views: Option<f64>,
}

impl MgdLearner {
    pub(super) fn new(recipe: &Recipe, at: &Start<'_>) -> Result<Self> {
        at.only(&["weights"])?;
        let loss: MgdLossPart = recipe.part("loss", &recipe.loss)?;
        factors(recipe, &[("views", loss.views)])?;
        let part = ModelPart::of(recipe)?;
        if part.channels.is_some() || part.dino.is_some() {
            let problem = "MGD-SAM2 has neither `channels` nor `dino`".into();
            return Err(crate::TrainError::Recipe { recipe: "[model]".into(), problem });
        }
        let mut cfg = part.trunk.map_or_else(MgdSam2Config::base_plus, |trunk| MgdSam2Config::new(trunk.config()));
        cfg.image_size = part.image_size.unwrap_or(cfg.image_size);
        let weights = at.weights(at.fresh(), MgdSam2::parameter_rules())?;
        let mut net = MgdSam2::new(&cfg, weights.vb.clone())?;
        net.set_checkpointing(recipe.checkpointing);
        let objective = mgd_sam2::Objective { views: loss.views.unwrap_or(mgd_sam2::Objective::MGD_SAM2.views) };
        Ok(Self { net, objective, common: Common::new(weights, Architecture::MgdSam2(Box::new(cfg)), at) })
    }

    fn output(&self, images: &Tensor, train: Statistics<'_>) -> Result<seg_models::mgd_sam2::MgdSam2Output> {
        Ok(self.net.forward_t(images, &mut PositionTable::first_call(), train, &mut Unobserved)?)
    }
}

impl Learner for MgdLearner {
    learner_of_common!();

    fn loss(&self, inputs: &[Tensor]) -> Result<Losses> {
        let output = self.output(&inputs[0], self.common.norms.statistics())?;
        let terms = self.objective.forward(&output, &inputs[1])?;
        let parts = vec![("bce", terms.cross_entropy), ("iou", terms.iou), ("views", terms.views)];
        Ok(Losses { total: terms.total, parts })
    }

    fn predict(&self, inputs: &[Tensor]) -> Result<Tensor> {
        sigmoid(&self.output(&inputs[0], Statistics::Running)?.masks)
    }
}
