//! MPG-SAM 2: pre-training on pictures and fine-tuning on clips, both with sentences.

use super::drawn::Drawn;
use super::parts::{Start, Trunk, Weights, check_frames, frames_of, planes, whole_clip};
use super::sizes::Sizes;
use super::{Learner, Losses, unfit, words};
use crate::init::Begun;
use crate::mpg_sam2::{Objective, Prediction, Recipe as Published, segment_clip, segment_images};
use crate::recipe::Recipe;
use crate::{Result, TrainError, sam2};
use beit3_encoder::{Beit3Config, SentencePiece, TextTokens, Tokenizer};
use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use hiera_encoder::HieraConfig;
use seg_checkpoints::TrainingWeights;
use seg_data::training::transform::PreparedClip;
use seg_layers::Dropout;
use seg_models::mpg_sam2::input::{normalized, squash};
use seg_models::mpg_sam2::{MpgBaseWeights, MpgSam2, MpgSam2Config, tokenizer_beside};
use seg_models::normalize::{IMAGENET_MEAN, IMAGENET_STD, normalize};
use seg_models::registry::Architecture;
use seg_models::sam2::Sam2Version;
use serde::Deserialize;
use std::path::Path;

/// What a recipe may say about the model.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ModelPart {
    trunk: Option<Trunk>,
    image_size: Option<usize>,
    beit3: Option<Encoder>,
    width: Option<usize>,
    memory_layers: Option<usize>,
    /// Probability of leaving numbers out.
    dropout: Option<f64>,
}

/// BEiT-3 in a recipe: by the name of its size, or by all its numbers.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Encoder {
    Named(EncoderSize),
    Given(Beit3Config),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum EncoderSize {
    Base,
    Large,
}

impl ModelPart {
    fn config(&self) -> Result<MpgSam2Config> {
        let beit3 = match &self.beit3 {
            None | Some(Encoder::Named(EncoderSize::Large)) => Beit3Config::large(),
            Some(Encoder::Named(EncoderSize::Base)) => Beit3Config::base(),
            Some(Encoder::Given(config)) => config.clone(),
        };
        let Self { image_size, width, memory_layers, .. } = *self;
        let sizes = Sizes { trunk: self.trunk.as_ref(), image_size, width, memory_layers };
        let mut config = MpgSam2Config::new(beit3, sizes.sam2(Sam2Version::V2_0, HieraConfig::large())?);
        config.fusion.ffn_dim = 4 * config.fusion.dim;
        sizes.memory(&mut config.sam2);
        Ok(config)
    }
}

/// What a recipe may say about the loss.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LossPart {
    mask: Option<f64>,
    dice: Option<f64>,
    similarity: Option<f64>,
    /// Factor of SAM 2's own loss of the decoder's masks, predicted IoUs and object scores: for a start from nothing. The paper's training has none, as its
    /// decoder has learnt that before.
    sam2: f64,
}

/// MPG-SAM 2. Files: `sam2` and `beit3` (the bases), `weights` (an MPG-SAM 2 to go on from), `tokenizer` (of BEiT-3; where it is not given, the one beside
/// `weights` or `beit3`; without any of them a small vocabulary of its own).
pub struct MpgLearner {
    /// With dropout.
    learning: MpgSam2,
    /// Without.
    net: MpgSam2,
    drawn: Drawn,
    tokenizer: Tokenizer,
    tokenizer_file: (&'static str, Vec<u8>),
    objective: Objective,
    sam2: f64,
    frames: usize,
    device: Device,
    weights: Weights,
}

impl MpgLearner {
    pub(super) fn new(recipe: &Recipe, at: &Start<'_>) -> Result<Self> {
        at.only(&["sam2", "beit3", "weights", "tokenizer"])?;
        let part: ModelPart = recipe.part("model", &recipe.model)?;
        let loss: LossPart = recipe.part("loss", &recipe.loss)?;
        let config = part.config()?;
        let tokenizer_file = tokenizer(at)?;
        let tokenizer = SentencePiece::from_bytes(tokenizer_file.0, &tokenizer_file.1)
            .and_then(|model| Tokenizer::new(tokenizer_file.0, model))
            .map_err(seg_models::Error::from)?;
        let (ids, rows) = (tokenizer.vocab_size() as usize, config.beit3.vocab_size);
        if ids > rows {
            let problem =
                format!("the tokenizer has {ids} ids, and model.beit3.vocab_size is {rows}; expected at least as many");
            return Err(TrainError::Recipe { recipe: "[model]".into(), problem });
        }
        let weights = at.weights(base(at)?, MpgSam2::parameter_rules())?;
        let net = MpgSam2::new(&config, weights.vb.clone())?;
        let drawn = Drawn::new();
        let dropout = Dropout::new(part.dropout.unwrap_or(Published::REF_YOUTUBE_VOS.dropout), drawn.clone())?;
        let objective = Objective {
            mask: loss.mask.unwrap_or(Objective::MPG_SAM2.mask),
            dice: loss.dice.unwrap_or(Objective::MPG_SAM2.dice),
            similarity: loss.similarity.unwrap_or(Objective::MPG_SAM2.similarity),
        };
        Ok(Self {
            learning: net.clone().with_dropout(&dropout),
            net,
            drawn,
            tokenizer,
            tokenizer_file,
            objective,
            sam2: loss.sam2,
            frames: recipe.frames().unwrap_or(1),
            device: at.device.clone(),
            weights,
        })
    }

    /// The answers to a batch: single pictures as in the pre-training, clips one by one.
    fn answers(&self, model: &MpgSam2, inputs: &Inputs<'_>) -> Result<Prediction> {
        let (clips, frames, _, height, width) = inputs.frames.dims5()?;
        let texts = inputs.texts()?;
        if frames == 1 {
            let text = TextTokens::padded(&texts, Tokenizer::UNK, &self.device)?;
            let (images, looks) = (inputs.frames.squeeze(1)?, inputs.looks.squeeze(1)?);
            return segment_images(model, images, &looks, &text, (height, width));
        }
        let one = |clip: usize| -> Result<Prediction> {
            let text = TextTokens::padded(&texts[clip..=clip], Tokenizer::UNK, &self.device)?;
            let of_clip = |all: &Tensor| all.narrow(0, clip, 1)?.squeeze(0);
            segment_clip(model, &frames_of(inputs.frames, clip)?, &of_clip(inputs.looks)?.contiguous()?, &text)
        };
        Ok(Prediction::joined((0..clips).map(one).collect::<Result<_>>()?)?)
    }

    /// SAM 2's own loss, a mean over frames.
    fn decoder_loss(&self, prediction: &Prediction, masks: &Tensor) -> Result<Tensor> {
        let small = masks.flatten_to(1)?.avg_pool2d(4)?.ge(0.5)?.squeeze(1)?.to_dtype(masks.dtype())?; // [B·T, h, w]
        let (mut sum, mut first) = (None::<Tensor>, 0);
        for decoded in &prediction.decoded {
            let count = decoded.masks.dim(0)?;
            let terms =
                sam2::Objective::SAM2.forward(std::slice::from_ref(decoded), &small.narrow(0, first, count)?)?;
            sum = Some(match sum {
                None => terms.total,
                Some(sum) => (sum + terms.total)?,
            });
            first += count;
        }
        let none = TrainError::Count { what: "predictions of the batch", got: 0, expected: 1 };
        Ok((sum.ok_or(none)? / prediction.decoded.len() as f64)?)
    }
}

/// The tensors that a batch is made of.
struct Inputs<'t> {
    /// What SAM 2 sees, `[B, T, 3, S, S]`.
    frames: &'t Tensor,
    /// What BEiT-3 sees, `[B, T, 3, s, s]`.
    looks: &'t Tensor,
    /// 0 or 1, `[B, T, 1, S, S]`.
    masks: &'t Tensor,
    /// Tokens of the sentences, filled up behind them, `[B, N]`.
    ids: &'t Tensor,
    /// Of what is drawn, `[B, 2]`.
    seeds: &'t Tensor,
}

impl<'t> Inputs<'t> {
    fn of(inputs: &'t [Tensor]) -> Result<Self> {
        match inputs {
            [frames, looks, masks, ids, seeds] => Ok(Self { frames, looks, masks, ids, seeds }),
            _ => Err(TrainError::Count { what: "inputs of a batch", got: inputs.len(), expected: 5 }),
        }
    }

    /// The sentences without what fills them up: each ends in `</s>`.
    fn texts(&self) -> Result<Vec<Vec<u32>>> {
        let mut rows = self.ids.to_vec2::<u32>()?;
        for row in &mut rows {
            while row.last() == Some(&Tokenizer::UNK) {
                row.pop();
            }
        }
        Ok(rows)
    }
}

impl Learner for MpgLearner {
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
        Some(Architecture::MpgSam2(Box::new(self.net.config().clone())))
    }

    fn takes_prompts(&self) -> bool {
        true
    }

    fn draws(&self) -> bool {
        true
    }

    fn clip_inputs(&self, clip: &PreparedClip) -> Result<Vec<Tensor>> {
        let beit3 = &self.net.config().beit3;
        check_frames(clip, self.frames)?;
        let mut ids = self.tokenizer.encode(&clip.sentence).map_err(seg_models::Error::from)?;
        let most = beit3.max_text_tokens();
        if ids.len() > most {
            let problem = format!("has a sentence of {} tokens, expected at most {most}", ids.len());
            return Err(unfit(&clip.name, &problem));
        }
        ids.resize(most, Tokenizer::UNK);
        let (mut frames, mut looks, mut masks) = (Vec::new(), Vec::new(), Vec::new());
        for (frame, before) in clip.frames.iter().zip(&clip.before) {
            frames.push(normalize(&planes(&frame.image, &self.device)?, IMAGENET_MEAN, IMAGENET_STD)?);
            looks.push(normalized(&squash(before, beit3.image_size)?, &self.device)?);
            masks.push(planes(&frame.mask, &self.device)?);
        }
        let ids = Tensor::from_vec(ids, (1, most), &self.device)?;
        Ok(vec![whole_clip(&frames)?, whole_clip(&looks)?, whole_clip(&masks)?, ids])
    }

    fn loss(&self, inputs: &[Tensor]) -> Result<Losses> {
        let inputs = Inputs::of(inputs)?;
        self.drawn.begin(inputs.seeds)?;
        let prediction = self.answers(&self.learning, &inputs)?;
        let valid = inputs.masks.flatten_from(2)?.max(2)?;
        let terms = self.objective.forward(&prediction.logits, inputs.masks, &valid, &prediction.sentence)?;
        let mut parts = vec![("mask", terms.mask), ("dice", terms.dice), ("similarity", terms.similarity)];
        let mut total = terms.total;
        if self.sam2 != 0. {
            let decoder = self.decoder_loss(&prediction, inputs.masks)?;
            total = (total + (&decoder * self.sam2)?)?;
            parts.push(("sam2", decoder));
        }
        Ok(Losses { total, parts })
    }

    fn predict(&self, inputs: &[Tensor]) -> Result<Tensor> {
        Ok(self.answers(&self.net, &Inputs::of(inputs)?)?.logits.flatten_to(1)?)
    }

    fn beside(&self) -> Option<(&'static str, &[u8])> {
        let (name, bytes) = &self.tokenizer_file;
        Some((name, bytes))
    }
}

/// Weights of the bases where they are given, others at random.
fn base(at: &Start<'_>) -> Result<VarBuilder<'static>> {
    match (at.file("sam2"), at.file("beit3")) {
        (None, None) => Ok(at.fresh()),
        (Some(sam2), Some(beit3)) => {
            Ok(MpgBaseWeights::open(sam2, beit3)?.var_builder(at.fresh(), at.dtype, &at.device))
        }
        _ => {
            let problem = "MPG-SAM 2 starts from both `sam2` and `beit3`, or from neither".into();
            Err(TrainError::Recipe { recipe: "[start]".into(), problem })
        }
    }
}

/// The tokenizer's file under the name by which it is found beside weights.
fn tokenizer(at: &Start<'_>) -> Result<(&'static str, Vec<u8>)> {
    let path = match (at.file("tokenizer"), at.file("weights").or_else(|| at.file("beit3"))) {
        (Some(path), _) => path.to_path_buf(),
        (None, Some(weights)) => tokenizer_beside(weights)?,
        (None, None) => return Ok((SENTENCEPIECE, words::vocabulary())),
    };
    let read = |path: &Path| std::fs::read(path).map_err(TrainError::io(path, "read it"));
    // refuses what is no tokenizer, or too large to be one
    Tokenizer::open(&path).map_err(seg_models::Error::from)?;
    let bytes = read(&path)?;
    let json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    Ok((if json { "tokenizer.json" } else { SENTENCEPIECE }, bytes))
}

/// The name of sentencepiece models beside weights.
const SENTENCEPIECE: &str = "sentencepiece.bpe.model";
