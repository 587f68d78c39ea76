//! What the systems have in common: where weights come from, sizes by name, inputs.

use crate::init::{Begun, Fresh, Partly};
use crate::recipe::Recipe;
use crate::{Result, TrainError};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use hiera_encoder::HieraConfig;
use seg_checkpoints::{Checkpoint, ParameterGroup, ParameterRules, TrainingWeights, Treatment, fits};
use seg_data::training::transform::{Planes, PreparedClip};
use seg_layers::Statistics;
use seg_ops::AllReduce;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Where a training starts: files by name, a seed for the rest.
pub(super) struct Start<'r> {
    recipe: &'r Recipe,
    pub(super) dtype: DType,
    pub(super) device: Device,
    group: &'r Arc<dyn AllReduce>,
}

impl<'r> Start<'r> {
    pub(super) fn new(recipe: &'r Recipe, dtype: DType, device: &Device, group: &'r Arc<dyn AllReduce>) -> Self {
        Self { recipe, dtype, device: device.clone(), group }
    }

    /// How the recipe's batch norms go in training.
    pub(super) fn norms(&self) -> Norms {
        let across = self.recipe.sync_batch_norm && self.group.ranks() > 1;
        Norms { train: self.recipe.batch_norm_trains, across: across.then(|| self.group.clone()) }
    }

    /// Refuses files of other names than these.
    pub(super) fn only(&self, known: &[&str]) -> Result<()> {
        match self.recipe.start.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let expected = known.join(", ");
                Err(TrainError::Recipe {
                    recipe: "[start]".into(),
                    problem: format!(
                        "{} does not start from `{name}`, expected {expected}",
                        self.recipe.system.as_str()
                    ),
                })
            }
        }
    }

    /// The file of this name.
    pub(super) fn file(&self, name: &str) -> Option<&'r Path> {
        self.recipe.start.get(name).map(Path::new)
    }

    /// Random weights.
    pub(super) fn fresh(&self) -> VarBuilder<'static> {
        Fresh { seed: self.recipe.seed }.var_builder(self.dtype, &self.device)
    }

    /// Weights by the `published` rules, as far as the recipe does not change them, from `weights` of the recipe as far as it has them, and of `rest` where not.
    pub(super) fn weights(&self, rest: VarBuilder<'static>, published: ParameterRules) -> Result<Weights> {
        let rules = self.recipe.part::<Rules>("rules", &self.recipe.rules)?.of(published)?;
        let (source, partly) = match self.file("weights") {
            Some(path) => {
                let partly = Partly::new(Checkpoint::open(path)?, rest);
                (partly.var_builder(self.dtype, &self.device), Some(partly))
            }
            None => (rest, None),
        };
        let weights = TrainingWeights::new(source, rules);
        Ok(Weights { vb: weights.var_builder(self.dtype, &self.device), weights, partly })
    }
}

/// How batch norms go in training.
pub(super) struct Norms {
    train: bool,
    /// Processes whose batches they take together.
    across: Option<Arc<dyn AllReduce>>,
}

impl Norms {
    /// Which statistics they take.
    pub(super) fn statistics(&self) -> Statistics<'_> {
        if self.train { self.of_batches() } else { Statistics::Running }
    }

    /// Which ones those of a part take that is always in train mode.
    pub(super) fn of_batches(&self) -> Statistics<'_> {
        self.across.as_ref().map_or(Statistics::Batch, Statistics::Across)
    }
}

/// The weights of a system, and where they came from.
pub(super) struct Weights {
    pub(super) vb: VarBuilder<'static>,
    pub(super) weights: TrainingWeights,
    pub(super) partly: Option<Partly>,
}

impl Weights {
    pub(super) fn begun(&self) -> Option<Begun> {
        self.partly.as_ref().map(Partly::begun)
    }
}

/// SAM 2's trunk in a recipe: by the name of its size, or by all its numbers.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Trunk {
    Named(TrunkSize),
    Given(HieraConfig),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TrunkSize {
    Tiny,
    Small,
    BasePlus,
    Large,
}

impl Trunk {
    pub(super) fn config(&self) -> HieraConfig {
        match self {
            Self::Named(TrunkSize::Tiny) => HieraConfig::tiny(),
            Self::Named(TrunkSize::Small) => HieraConfig::small(),
            Self::Named(TrunkSize::BasePlus) => HieraConfig::base_plus(),
            Self::Named(TrunkSize::Large) => HieraConfig::large(),
            Self::Given(config) => config.clone(),
        }
    }
}

/// Refuses factors of a loss that are below 0, or no numbers.
pub(super) fn factors(recipe: &Recipe, factors: &[(&str, Option<f64>)]) -> Result<()> {
    let sensible = |factor: f64| factor.is_finite() && factor >= 0.;
    for (name, factor) in factors {
        if let Some(factor) = factor.filter(|factor| !sensible(*factor)) {
            let recipe = format!("[loss] of {}", recipe.system.as_str());
            return Err(TrainError::Recipe { recipe, problem: format!("{name} is {factor}, expected at least 0") });
        }
    }
    Ok(())
}

/// Levels as a tensor in 0..1, `[1, C, H, W]`.
pub(super) fn planes(planes: &Planes, device: &Device) -> Result<Tensor> {
    let (width, height) = (planes.width as usize, planes.height as usize);
    let channels = planes.levels.len() / (width * height).max(1);
    let levels = Tensor::from_vec(planes.levels.clone(), (1, channels, height, width), device)?;
    Ok((levels / 255.)?)
}

/// What a recipe changes of the published rules: rates and decays of groups by name, and weights that are frozen in the paper and learn here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rules {
    groups: BTreeMap<String, Group>,
    /// Patterns of weights that stay as they are, though they learn in the paper.
    freeze: Vec<String>,
    /// Patterns of weights that learn, as a group of their own called `thawed`; stronger than `freeze`.
    thaw: Vec<String>,
}

impl Rules {
    /// The group of what is thawed.
    const THAWED: &'static str = "thawed";

    pub(super) fn of(&self, published: ParameterRules) -> Result<ParameterRules> {
        let thawed = Treatment::Trained(ParameterGroup::new(Self::THAWED, 1., 0.));
        let frozen = self.freeze.iter().map(|pattern| (pattern, Treatment::Frozen));
        let thaw = self.thaw.iter().map(|pattern| (pattern, thawed.clone()));
        let rules =
            frozen.chain(thaw).fold(published, |rules, (pattern, what)| rules.with_first(pattern.clone(), what));
        let known: Vec<String> = rules.groups().iter().map(|group| group.name.to_string()).collect();
        if let Some(name) = self.groups.keys().find(|name| !known.contains(name)) {
            let problem = format!("there is no group {name:?}, expected one of {}", known.join(", "));
            return Err(TrainError::Recipe { recipe: "[rules.groups]".into(), problem });
        }
        Ok(rules.regrouped(|group| {
            if let Some(change) = self.groups.get(&*group.name) {
                group.lr_factor = change.lr_factor.unwrap_or(group.lr_factor);
                group.weight_decay = change.weight_decay.unwrap_or(group.weight_decay);
            }
        }))
    }
}

/// Refuses patterns of weights to thaw or to freeze that fit none.
pub(super) fn patterns_fit(recipe: &Recipe, weights: &TrainingWeights) -> Result<()> {
    let rules: Rules = recipe.part("rules", &recipe.rules)?;
    let grouped = weights.grouped();
    let moving: Vec<&String> = grouped.iter().flat_map(|(_, vars)| vars.iter().map(|(name, _)| name)).collect();
    let frozen = weights.frozen();
    let all = || moving.iter().copied().chain(frozen.iter().map(|(name, _)| name));
    let lost = |what: &str, pattern: &str| {
        let problem = format!("{what} has {pattern:?}, which is the name of no weight");
        Err(TrainError::Recipe { recipe: "[rules]".into(), problem })
    };
    if let Some(pattern) = rules.thaw.iter().find(|pattern| !moving.iter().any(|name| fits(pattern, name))) {
        return lost("thaw", pattern);
    }
    match rules.freeze.iter().find(|pattern| !all().any(|name| fits(pattern, name))) {
        None => Ok(()),
        Some(pattern) => lost("freeze", pattern),
    }
}

/// Changes to a group of weights.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Group {
    lr_factor: Option<f64>,
    weight_decay: Option<f64>,
}

/// Refuses clips of another number of frames.
pub(super) fn check_frames(clip: &PreparedClip, expected: usize) -> Result<()> {
    match clip.frames.len() {
        got if got == expected => Ok(()),
        got => Err(super::unfit(&clip.name, &format!("has {got} frames, expected {expected} (`data.frames`)"))),
    }
}

/// Frames `[1, …]` as one clip of a batch, `[1, T, …]`.
pub(super) fn whole_clip(frames: &[Tensor]) -> Result<Tensor> {
    Ok(Tensor::cat(frames, 0)?.unsqueeze(0)?)
}

/// Of clips `[B, T, …]` the frames of one, each `[1, …]`.
pub(super) fn frames_of(clips: &Tensor, clip: usize) -> Result<Vec<Tensor>> {
    let whole = clips.narrow(0, clip, 1)?.squeeze(0)?;
    Ok((0..whole.dim(0)?).map(|t| whole.narrow(0, t, 1)).collect::<candle_core::Result<_>>()?)
}
