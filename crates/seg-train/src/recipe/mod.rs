//! A training as data: what is trained, on what, how long, how fast.
//!
//! A recipe is a TOML file. What it does not say has the value that stands here; what it says and nobody knows is refused, with the nearest known key.

mod parse;

pub use parse::override_value;

use crate::optim::AdamParams;
use crate::probe::Exceptions;
use crate::schedule::Schedule;
use crate::{Result, TrainError};
use seg_data::training::transform::{Step, Transforms, preset};
use seg_data::training::{Limited, Source};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which system is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// SAM2-UNet: adapters and decoder on SAM 2's frozen trunk.
    Sam2Unet,
    /// SAM2-UNeXT: the same on the frozen encoders of SAM 2 and DINOv2.
    Sam2Unext,
    /// MGD-SAM2: adapters, fusions, decoder.
    MgdSam2,
    /// IS-Net: all of it.
    IsNet,
    /// The encoder of ground-truth masks that supervises IS-Net's features.
    IsNetGt,
    /// DIS-SAM's second stage: IS-Net with a coarse mask and a box as two more channels.
    DisSam,
    /// Pi-SAM: the high-resolution decoder, the Precise Interactor, or both, on the frozen encoder of SAM or MobileSAM.
    PiSam,
    /// SAM and MobileSAM: the mask decoder on the frozen encoder.
    Sam,
    /// MPG-SAM 2: a sentence and a clip, or a single picture.
    MpgSam2,
    /// SAM 2: prompts on some frames of a clip, or on a single picture.
    Sam2,
}

impl System {
    /// Its name in recipes and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sam2Unet => "sam2-unet",
            Self::Sam2Unext => "sam2-unext",
            Self::MgdSam2 => "mgd-sam2",
            Self::IsNet => "is-net",
            Self::IsNetGt => "is-net-gt",
            Self::DisSam => "dis-sam",
            Self::PiSam => "pi-sam",
            Self::Sam => "sam",
            Self::MpgSam2 => "mpg-sam2",
            Self::Sam2 => "sam2",
        }
    }

    /// Whether it is told what is meant by a sentence.
    pub fn takes_sentences(self) -> bool {
        matches!(self, Self::MpgSam2)
    }

    /// Whether it learns from clips, not from pictures.
    pub fn takes_clips(self) -> bool {
        matches!(self, Self::MpgSam2 | Self::Sam2)
    }
}

/// A whole training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What is trained.
    pub system: System,
    /// Everything random follows from it.
    #[serde(default = "seed")]
    pub seed: u64,
    /// Sizes of the model, by the system's own names; what is not said is as published.
    #[serde(default)]
    pub model: toml::Table,
    /// What moves and how fast, where it is not as published: `groups` with their rates and decays, `thaw` with patterns of frozen weights that learn.
    #[serde(default)]
    pub rules: toml::Table,
    /// Files that the training starts from, by the system's own names (`sam2`, `dino`, `weights`); without them weights are random.
    #[serde(default)]
    pub start: BTreeMap<String, String>,
    /// How long.
    pub length: LengthPart,
    /// Examples and batches.
    #[serde(default)]
    pub data: DataPart,
    /// What is done to the examples of the training; as in the paper where it is not said.
    #[serde(default)]
    pub transforms: Option<Transforms>,
    /// Adam or AdamW.
    #[serde(default)]
    pub optimizer: AdamParams,
    /// The learning rate.
    pub schedule: Schedule,
    /// What is minimised, by the system's own names; what is not said is as published.
    #[serde(default)]
    pub loss: toml::Table,
    /// The gradients' norm is at most this; not limited where it is not said.
    #[serde(default)]
    pub clip: Option<f64>,
    /// Decay of the running means of the weights; none are kept where it is not said.
    #[serde(default)]
    pub ema: Option<f64>,
    /// Whether batch norms take the statistics of the batch and learn the running ones.
    #[serde(default = "yes")]
    pub batch_norm_trains: bool,
    /// Whether blocks are computed again in the backward pass, so that what lies within them need not be kept: less memory, some time, the same gradients.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub checkpointing: bool,
    /// Where several processes train: whether batch norms take the statistics of all processes' batches together.
    #[serde(default)]
    pub sync_batch_norm: bool,
    /// Measuring on held-out examples.
    #[serde(default)]
    pub validation: ValidationPart,
    /// What is kept of the run.
    #[serde(default)]
    pub checkpoint: CheckpointPart,
    /// What the gradients' probe lets pass.
    #[serde(default)]
    pub probe: Exceptions,
}

/// Examples of a batch.
const MOST: usize = 4096;
/// Frames of a clip.
const FRAMES: usize = 256;

fn seed() -> u64 {
    42
}

fn yes() -> bool {
    true
}

/// How long a run is: one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LengthPart {
    /// Passes over the data.
    Epochs(u64),
    /// Steps of the optimiser.
    Steps(u64),
}

/// Examples and batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataPart {
    /// Examples that are seen at once.
    pub batch: usize,
    /// Batches whose gradients are summed up to a step's.
    pub accumulate: usize,
    /// Examples of a pass, where the source never ends.
    pub epoch: u64,
    /// Threads that load ahead.
    pub workers: usize,
    /// Frames of a clip, for systems that learn from clips.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<usize>,
    /// Where the source never ends: so many examples of it, the same in every pass.
    pub pictures: Option<u64>,
}

impl Default for DataPart {
    fn default() -> Self {
        Self { batch: 1, accumulate: 1, epoch: 1000, workers: 1, frames: None, pictures: None }
    }
}

/// Measuring on held-out examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ValidationPart {
    /// Steps between two; 0: at the end alone.
    pub every: u64,
    /// Examples that are measured at most.
    pub examples: u64,
    /// Protocol of the metrics, as `hrseg evaluate` knows it.
    pub protocol: String,
    /// The score that tells the best checkpoint.
    pub watch: String,
    /// Pictures of predictions that are written.
    pub pictures: usize,
}

impl Default for ValidationPart {
    fn default() -> Self {
        let (protocol, watch) = ("pysodmetrics".into(), "smeasure.sm".into());
        Self { every: 500, examples: 200, protocol, watch, pictures: 6 }
    }
}

/// What is kept of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointPart {
    /// Steps between two.
    pub every: u64,
    /// How many of the newest are kept, at least 2.
    pub keep: usize,
}

impl Default for CheckpointPart {
    fn default() -> Self {
        Self { every: 500, keep: 2 }
    }
}

impl Recipe {
    /// Reads a recipe; `name` is what messages call it, `changes` are `key=value`s that count instead of what stands there.
    ///
    /// # Errors
    /// Text that is no recipe: the message has the line and, for an unknown key, the nearest known one; numbers that make no sense.
    pub fn parse(text: &str, name: &str, changes: &[String]) -> Result<Self> {
        let recipe = parse::read(text, name, changes)?;
        recipe.check(name)?;
        Ok(recipe)
    }

    /// The whole of it as TOML: what a run writes down.
    ///
    /// # Errors
    /// None to speak of.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| TrainError::Recipe { recipe: "recipe".into(), problem: e.to_string() })
    }

    fn check(&self, name: &str) -> Result<()> {
        let refuse = |problem: &str| Err(TrainError::Recipe { recipe: name.to_owned(), problem: problem.to_owned() });
        let in_recipe = |e: TrainError| TrainError::Recipe { recipe: name.to_owned(), problem: e.to_string() };
        self.schedule.check().map_err(in_recipe)?;
        if let Some(side) = self.model.get("image_size").filter(|side| side.as_integer().is_none_or(|side| side < 1)) {
            return refuse(&format!("model.image_size is {side}, expected a number of pixels, at least 1"));
        }
        match self {
            Self { length: LengthPart::Epochs(0) | LengthPart::Steps(0), .. } => {
                refuse("length is 0, expected at least 1")
            }
            Self { data: DataPart { batch: 0, .. }, .. } => refuse("data.batch is 0, expected at least 1"),
            Self { data: DataPart { accumulate: 0, .. }, .. } => refuse("data.accumulate is 0, expected at least 1"),
            Self { data: DataPart { epoch: 0, .. }, .. } => refuse("data.epoch is 0, expected at least 1"),
            Self { data: DataPart { frames: Some(frames), .. }, .. } if !(1..=FRAMES).contains(frames) => {
                refuse(&format!("data.frames is {frames}, expected 1 to {FRAMES}"))
            }
            Self { data: DataPart { frames: Some(_), .. }, system, .. } if !system.takes_clips() => {
                refuse(&format!("data.frames is given, and {} learns from single pictures", system.as_str()))
            }
            Self { checkpoint: CheckpointPart { every: 0, .. }, .. } => {
                refuse("checkpoint.every is 0, expected at least 1")
            }
            Self { clip: Some(clip), .. } if clip.is_nan() || *clip <= 0. => {
                refuse(&format!("clip is {clip}, expected above 0"))
            }
            Self { data: DataPart { batch, .. }, .. } if *batch > MOST => {
                refuse(&format!("data.batch is {batch}, expected at most {MOST}"))
            }
            Self { data: DataPart { workers, .. }, .. } if !(1..=64).contains(workers) => {
                refuse(&format!("data.workers is {workers}, expected 1 to 64"))
            }
            Self { checkpoint: CheckpointPart { keep: keep @ (0 | 1), .. }, .. } => {
                refuse(&format!("checkpoint.keep is {keep}, expected at least 2: one to fall back to"))
            }
            Self { validation: ValidationPart { examples: 0, .. }, .. } => {
                refuse("validation.examples is 0, expected at least 1")
            }
            Self { ema: Some(ema), .. } if !(0. ..1.).contains(ema) => {
                refuse(&format!("ema is {ema}, expected at least 0 and below 1"))
            }
            _ => self
                .optimizer
                .check()
                .map_err(|e| TrainError::Recipe { recipe: name.to_owned(), problem: format!("optimizer.{e}") }),
        }
    }

    /// What is done to the examples of the training, and to those that are measured, for inputs of `side × side` pixels.
    ///
    /// # Errors
    /// Steps that cannot be done.
    pub fn transforms(&self, side: usize) -> Result<[Transforms; 2]> {
        let name = match self.system {
            System::IsNetGt => "is-net",
            system => system.as_str(),
        };
        // MPG-SAM 2's pre-training has pictures
        let pictures = self.system == System::MpgSam2 && self.frames() == Some(1);
        let learning = if pictures { "mpg-sam2-images" } else { name };
        let sized = |transforms: Transforms| transforms.with_side(side as u32);
        let learning = match &self.transforms {
            Some(transforms) => transforms.clone(),
            None => sized(preset(learning)?),
        };
        learning.check()?;
        let mut plain = sized(preset(&format!("{name}-eval"))?);
        // a model that looks at the surroundings of objects is measured on them
        if let Some(Step::Surroundings { padding, .. }) = learning.steps.first() {
            plain.steps.insert(0, Step::Surroundings { padding: *padding, jitter: 0. });
        }
        Ok([learning, plain])
    }

    /// Frames of a clip; `None` for systems that learn from pictures.
    pub fn frames(&self) -> Option<usize> {
        let published = match self.system {
            System::Sam2 => 8,
            _ => crate::mpg_sam2::Recipe::REF_YOUTUBE_VOS.frames,
        };
        self.system.takes_clips().then(|| self.data.frames.unwrap_or(published))
    }

    /// The examples of `source` that the recipe keeps to: all, or `data.pictures` of one that never ends.
    ///
    /// # Errors
    /// A number for a source that ends, or for one of clips.
    pub fn examples(&self, source: Source) -> Result<Source> {
        let refused = |problem: String| TrainError::Recipe { recipe: "data.pictures".into(), problem };
        match (self.data.pictures, source) {
            (None, source) => Ok(source),
            (Some(count), Source::Pictures(pictures)) => {
                let limited = Limited::new(pictures, count).map_err(|e| refused(e.to_string()))?;
                Ok(Source::Pictures(Arc::new(limited)))
            }
            (Some(_), Source::Clips(_)) => {
                Err(refused(format!("{} learns from clips; leave it out", self.system.as_str())))
            }
        }
    }

    /// A part of the recipe that the system itself reads (`model`, `loss`).
    ///
    /// # Errors
    /// Keys that the system does not know, values of another kind.
    pub fn part<T: serde::de::DeserializeOwned>(&self, name: &'static str, table: &toml::Table) -> Result<T> {
        let recipe = format!("[{name}] of {}", self.system.as_str());
        parse::typed(table.clone(), &recipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Curve, Per};

    const SMALL: &str = r#"
        system = "sam2-unet"
        length = { epochs = 20 }
        schedule = { lr = 1e-3, per = "epoch", curve = { kind = "cosine", last = 1e-7 } }
        [model]
        trunk = "tiny"
        [data]
        batch = 12
    "#;

    fn refused(text: &str, changes: &[&str]) -> String {
        let changes: Vec<String> = changes.iter().map(|c| (*c).to_owned()).collect();
        Recipe::parse(text, "small.toml", &changes).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let recipe = Recipe::parse(SMALL, "small.toml", &[]).unwrap();
        assert_eq!((recipe.seed, recipe.data.batch, recipe.data.accumulate), (42, 12, 1));
        let curve = Curve::Cosine { last: 1e-7 };
        assert_eq!(recipe.schedule, Schedule { lr: 1e-3, warm_up: 0, per: Per::Epoch, curve });
        let again = Recipe::parse(&recipe.to_toml().unwrap(), "again", &[]).unwrap();
        assert_eq!(again, recipe);
    }

    #[test]
    fn what_is_measured_is_cut_as_what_is_learnt_from() {
        let text = r#"transforms=[{ do = "surroundings", padding = 0.2, jitter = 0.1 }, { do = "flip-horizontal", chance = 0.5 }]"#;
        let of = |changes: &[String]| Recipe::parse(SMALL, "small.toml", changes).unwrap().transforms(64).unwrap();
        let [learning, plain] = of(&[text.into()]);
        assert_eq!(learning.steps[0], Step::Surroundings { padding: 0.2, jitter: 0.1 });
        assert_eq!(plain.steps[0], Step::Surroundings { padding: 0.2, jitter: 0. });
        assert_eq!(plain.steps[1..], of(&[])[1].steps);
    }

    #[test]
    fn values_are_changed_from_outside() {
        let changes = ["schedule.lr=0.5", "data.batch = 3", "seed=7", "model.trunk=large", "length={steps=9}"];
        let recipe = Recipe::parse(SMALL, "small.toml", &changes.map(String::from)).unwrap();
        assert_eq!((recipe.schedule.lr, recipe.data.batch, recipe.seed), (0.5, 3, 7));
        assert_eq!((recipe.model["trunk"].as_str(), recipe.length), (Some("large"), LengthPart::Steps(9)));
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest() {
        let message = refused(SMALL, &["data.bach=3"]);
        assert!(message.contains("bach") && message.contains("did you mean `batch`"), "{message}");
        let message = refused(&SMALL.replace("epochs", "epoch"), &[]);
        assert!(message.contains("did you mean `epochs`"), "{message}");
        let message = refused(&SMALL.replace("sam2-unet", "sam2-unit"), &[]);
        assert!(message.contains("did you mean `sam2-unet`"), "{message}");
        assert!(refused(SMALL, &["data.batch=0"]).contains("data.batch is 0"));
        assert!(refused(SMALL, &["data.batch"]).contains("key=value"));
        assert!(refused(SMALL, &["length=10"]).contains("length is 10, expected { steps = 1000 } or { epochs = 20 }"));
        assert!(refused(SMALL, &["model.image_size=0"]).contains("model.image_size is 0, expected a number of pixels"));
        assert!(
            refused(SMALL, &["schedule.lr=fast"]).contains("schedule"),
            "{}",
            refused(SMALL, &["schedule.lr=fast"])
        );
        assert!(refused("system = ", &[]).contains("small.toml"));
    }
}
