//! Pi-SAM in its two stages: the high-resolution decoder on boxes, the Precise Interactor on clicks that mend.

use super::parts::{Start, Weights, planes};
use super::prompts::{
    ALL_SCORES, BOX_SCORES, ByRow, Chance, Encoder, check_side, click_after, is_frozen, label_bounds, mended,
    normalised, numbers, rules, scores_after, square,
};
use super::{Learner, Losses};
use crate::init::Begun;
use crate::pi_sam::{Stage, StageLosses};
use crate::recipe::Recipe;
use crate::{Result, TrainError};
use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use detail_refine::Clicks;
use hr_decoders::PiSamCoarse;
use seg_checkpoints::{Checkpoint, ParameterGroup, ParameterRules, TrainingWeights, Treatment};
use seg_data::training::transform::Prepared;
use seg_layers::{Unobserved, sine_position_map};
use seg_models::pi_sam::{
    PiSamBase, PiSamConfig, PiSamEncoder, PiSamFeatures, PiSamMaskDecoder, PiSamOutput, RgbEmbed, SimulatedClick,
};
use seg_models::registry::Architecture;
use seg_models::sam::SamEncoderConfig;
use seg_ops::Activation;
use serde::Deserialize;
use std::collections::HashMap;

/// What a recipe may say about the model.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ModelPart {
    encoder: Encoder,
    image_size: usize,
    stage: StageName,
    /// Clicks of the second stage at most, each after the mask before it.
    clicks: u64,
    /// Whether the new token begins as SAM's own, where `start.sam` is given.
    token_of_sam: bool,
}

impl Default for ModelPart {
    fn default() -> Self {
        Self {
            encoder: Encoder::Named(super::prompts::EncoderName::VitB),
            image_size: 1024,
            stage: StageName::Decoder,
            clicks: 3,
            token_of_sam: false,
        }
    }
}

/// What learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StageName {
    /// The paper's first stage: the decoder, on boxes alone.
    Decoder,
    /// Its second: the Precise Interactor, on clicks.
    Interactor,
    /// Both at once, for small trainings: the losses of both are summed.
    Both,
}

impl StageName {
    fn stages(self) -> &'static [Stage] {
        match self {
            Self::Decoder => &[Stage::Decoder],
            Self::Interactor => &[Stage::Interactor],
            Self::Both => &[Stage::Decoder, Stage::Interactor],
        }
    }

    fn rules(self) -> ParameterRules {
        let frozen = Stage::BUFFERS.iter().map(|part| (format!("{part}*"), Treatment::Frozen));
        let trained = self.stages().iter().flat_map(|stage| {
            let name = if *stage == Stage::Decoder { "decoder" } else { "interactor" };
            let group = Treatment::Trained(ParameterGroup::new(name, 1., 0.));
            stage.prefixes().iter().map(move |part| (format!("{part}*"), group.clone()))
        });
        rules(frozen.chain(trained).collect())
    }
}

/// Nothing about the loss can be said.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoLossPart {}

/// Where an example's inputs stand: normalised picture, label in 0..1, box, seed, and behind a frozen encoder its embedding and early features.
const IMAGE: usize = 0;
const LABEL: usize = 1;
const BOX: usize = 2;
const SEED: usize = 3;
const EMBEDDING: usize = 4;
const EARLY: usize = 5;

/// Pi-SAM. Files: `sam` (SAM's or MobileSAM's, for encoders and SAM's own part of the decoder), `weights` (a Pi-SAM to go on from, decoder and encoders in one).
pub struct PiSamLearner {
    encoder: PiSamEncoder,
    decoder: PiSamMaskDecoder,
    image_pe: Tensor,
    stage: StageName,
    clicks: u64,
    cfg: PiSamConfig,
    frozen: Option<&'static str>,
    device: Device,
    weights: Weights,
}

impl PiSamLearner {
    pub(super) fn new(recipe: &Recipe, at: &Start<'_>) -> Result<Self> {
        at.only(&["sam", "weights"])?;
        let NoLossPart {} = recipe.part("loss", &recipe.loss)?;
        let part: ModelPart = recipe.part("model", &recipe.model)?;
        check_side(part.image_size)?;
        if !(1..=10).contains(&part.clicks) {
            let problem = format!("clicks is {}, expected 1 to 10", part.clicks);
            return Err(TrainError::Recipe { recipe: "[model]".into(), problem });
        }
        let cfg = match part.encoder.config() {
            SamEncoderConfig::TinyVit(tiny) => PiSamConfig::with_tiny_vit(tiny, part.image_size),
            SamEncoderConfig::Vit(vit) => PiSamConfig::with_encoder(vit).with_image_size(part.image_size),
        };
        let fresh = Beginning { rest: at.fresh(), pixels: RgbEmbed::seeded_tensors(&cfg)? };
        let fresh = VarBuilder::from_backend(Box::new(fresh), at.dtype, at.device.clone());
        let rest = match at.file("sam") {
            Some(sam) => {
                let base = PiSamBase::open(sam)?;
                let base = if part.token_of_sam { base.with_token_of_sam() } else { base };
                base.var_builder(fresh, at.dtype, &at.device)
            }
            None => fresh,
        };
        let weights = at.weights(rest, part.stage.rules())?;
        // the first stage leaves an interactor that is there as it is, and makes none
        let has_interactor = match at.file("weights") {
            Some(path) => Checkpoint::open(path)?.keys().any(|key| key.starts_with("interact_2.")),
            None => false,
        };
        let of_decoder = match part.stage == StageName::Decoder && !has_interactor {
            true => cfg.clone().without_interactor(),
            false => cfg.clone(),
        };
        let encoder = PiSamEncoder::new(&cfg, weights.vb.clone())?;
        let decoder = PiSamMaskDecoder::new(&of_decoder, weights.vb.clone())?;
        Ok(Self {
            image_pe: encoder.prompt_encoder().dense_pe()?.detach(),
            encoder,
            decoder,
            stage: part.stage,
            clicks: part.clicks,
            cfg,
            frozen: is_frozen(&weights.weights),
            device: at.device.clone(),
            weights,
        })
    }

    /// The first half for a batch.
    fn coarse(&self, inputs: &[Tensor]) -> Result<(PiSamCoarse, Tensor)> {
        let (image_embeddings, vit_features) = match self.frozen {
            Some(_) => (inputs[EMBEDDING].clone(), inputs[EARLY].clone()),
            None => self.encoder.embed(&inputs[IMAGE])?,
        };
        let rgb_embedding = self.encoder.rgb_embed().forward(&inputs[IMAGE])?;
        let features = PiSamFeatures { image_embeddings, vit_features, rgb_embedding };
        let prompts = self.encoder.prompt_encoder().forward(None, Some(&inputs[BOX]), None)?;
        let coarse = self.decoder.coarse(&features, &self.image_pe, &prompts, &mut Unobserved)?;
        Ok((coarse, features.rgb_embedding))
    }

    /// The second half, corrected by clicks on maps of a quarter of the input's size: as a user's, x before y, each in the middle of its pixel.
    fn finish(&self, coarse: &PiSamCoarse, pixels: &Tensor, clicks: &[SimulatedClick]) -> Result<Tensor> {
        let quarter = (self.cfg.image_size / 4) as f32;
        let place = |at: usize| (at as f32 + 0.5) / quarter;
        let points: Vec<_> = clicks.iter().map(|c| (place(c.column), place(c.row), c.foreground)).collect();
        let clicks = if points.is_empty() { None } else { Some(Clicks::single(&points, &self.device)?) };
        Ok(self.decoder.finish(coarse, pixels, clicks.as_ref(), &mut Unobserved)?)
    }

    /// The losses of the rows that can be clicked on, each after its last click: one to [`ModelPart::clicks`] of them, each where the mask after those before is most wrong.
    fn clicked(
        &self,
        coarse: &PiSamCoarse,
        pixels: &Tensor,
        labels: &Tensor,
        chances: &mut [Chance],
    ) -> Result<Vec<StageLosses>> {
        let quarter = self.cfg.image_size / 4;
        let mut losses = Vec::new();
        for (row, chance) in chances.iter_mut().enumerate() {
            let (coarse, pixels, label) = (row_of(coarse, row)?, pixels.narrow(0, row, 1)?, labels.narrow(0, row, 1)?);
            let small = numbers(&(&label * 255.)?, quarter)?;
            let count = 1 + chance.0.below(self.clicks);
            let looked_at = detached(&coarse);
            let pixels_looked_at = pixels.detach();
            let mut clicks = Vec::new();
            while (clicks.len() as u64) < count {
                let mask = self.finish(&looked_at, &pixels_looked_at, &clicks)?.detach();
                match click_after(&mask, &small, quarter, Some(chance))? {
                    Some(click) => clicks.push(click),
                    None => break,
                }
            }
            if clicks.is_empty() {
                continue;
            }
            let masks_large = self.finish(&coarse, &pixels, &clicks)?;
            let output = PiSamOutput { masks: coarse.masks.clone(), masks_large };
            let mut random = ByRow(std::slice::from_mut(chance));
            losses.push(StageLosses::of(Stage::Interactor, &output, &label, None, &mut random)?);
        }
        Ok(losses)
    }
}

fn detached(coarse: &PiSamCoarse) -> PiSamCoarse {
    PiSamCoarse {
        masks: coarse.masks.detach(),
        object_embedding: coarse.object_embedding.detach(),
        mask_token: coarse.mask_token.detach(),
    }
}

fn row_of(coarse: &PiSamCoarse, row: usize) -> Result<PiSamCoarse> {
    Ok(PiSamCoarse {
        masks: coarse.masks.narrow(0, row, 1)?,
        object_embedding: coarse.object_embedding.narrow(0, row, 1)?,
        mask_token: coarse.mask_token.narrow(0, row, 1)?.contiguous()?,
    })
}

impl Learner for PiSamLearner {
    fn weights(&self) -> &TrainingWeights {
        &self.weights.weights
    }

    fn begun(&self) -> Option<Begun> {
        self.weights.begun()
    }

    fn inputs(&self, example: &Prepared) -> Result<Vec<Tensor>> {
        let bounds = Tensor::new(&[label_bounds(example)?], &self.device)?;
        let image = normalised(&example.image, self.cfg.image_size, &self.device)?;
        Ok(vec![image, square(&planes(&example.mask, &self.device)?, self.cfg.image_size)?, bounds])
    }

    fn frozen_encoder(&self) -> Option<&'static str> {
        self.frozen
    }

    fn embedding(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let (embeddings, early) = self.encoder.embed(&inputs[IMAGE])?;
        Ok(vec![embeddings, early])
    }

    fn draws(&self) -> bool {
        true
    }

    fn image_size(&self) -> usize {
        self.cfg.image_size
    }

    fn architecture(&self) -> Option<Architecture> {
        Some(Architecture::PiSam(Box::new(self.cfg.clone())))
    }

    fn takes_prompts(&self) -> bool {
        true
    }

    fn loss(&self, inputs: &[Tensor]) -> Result<Losses> {
        let label = &inputs[LABEL];
        let mut chances = Chance::of_rows(&inputs[SEED])?;
        let (mut coarse, pixels) = self.coarse(inputs)?;
        let (mut terms, mut parts) = (Vec::new(), Vec::new());
        if self.stage.stages().contains(&Stage::Decoder) {
            let masks_large = self.finish(&coarse, &pixels, &[])?;
            let output = PiSamOutput { masks: coarse.masks.clone(), masks_large };
            let losses = StageLosses::of(Stage::Decoder, &output, label, None, &mut ByRow(&mut chances))?;
            if let Some(small) = losses.small {
                parts.extend([("coarse_mask", small.mask), ("coarse_dice", small.dice)]);
            }
            parts.extend([("mask", losses.large.mask), ("dice", losses.large.dice)]);
            terms.push(losses.total);
        } else {
            coarse = detached(&coarse);
        }
        if self.stage.stages().contains(&Stage::Interactor) {
            let losses = self.clicked(&coarse, &pixels, label, &mut chances)?;
            let mean = |of: fn(&StageLosses) -> &Tensor| -> Result<Tensor> {
                let all: Vec<&Tensor> = losses.iter().map(of).collect();
                Ok(Tensor::stack(&all, 0)?.mean_all()?)
            };
            if losses.is_empty() {
                // nothing is wrong in any row: nothing to learn by
                let idle = self.decoder.finish(
                    &row_of(&coarse, 0)?,
                    &pixels.narrow(0, 0, 1)?,
                    Some(&Clicks::single(&[], &self.device)?),
                    &mut Unobserved,
                )?;
                terms.push((idle.sum_all()? * 0.)?);
            } else {
                parts.extend([("click_mask", mean(|l| &l.large.mask)?), ("click_dice", mean(|l| &l.large.dice)?)]);
                terms.push(mean(|l| &l.total)?);
            }
        }
        let total = Tensor::stack(&terms, 0)?.sum_all()?;
        Ok(Losses { total, parts })
    }

    fn predict(&self, inputs: &[Tensor]) -> Result<Tensor> {
        let (coarse, pixels) = self.coarse(inputs)?;
        Ok(seg_ops::activate(&self.finish(&coarse, &pixels, &[])?, Activation::Sigmoid)?)
    }

    fn examine(&self, inputs: &[Tensor]) -> Result<(Tensor, Vec<(&'static str, f64)>)> {
        let (coarse, pixels) = self.coarse(inputs)?;
        let label = &inputs[LABEL];
        let boxed = self.finish(&coarse, &pixels, &[])?.detach();
        let as_it_is = |mask: &Tensor| Ok(mask.clone());
        let mut clicks = Vec::new();
        let further = |click, _| {
            clicks.push(click);
            self.finish(&coarse, &pixels, &clicks)
        };
        let scores = match self.decoder.interactor() {
            Some(_) => mended(&boxed, label, as_it_is, further)?,
            None => scores_after(0, &boxed, label)?.to_vec(),
        };
        Ok((seg_ops::activate(&boxed, Activation::Sigmoid)?, scores))
    }

    fn own_scores(&self) -> &'static [&'static str] {
        if self.decoder.interactor().is_some() { &ALL_SCORES } else { &BOX_SCORES }
    }
}

/// Pi-SAM's weights at the beginning: the embedding of the pixels as torch's seed makes it, deformable kernels that do not move yet, an interactor that changes nothing yet,
/// and where no file gives it a position table of sines, by which a box can be told from the beginning.
struct Beginning {
    rest: VarBuilder<'static>,
    pixels: HashMap<String, Tensor>,
}

impl Beginning {
    const PIXELS: &'static str = "rgb_embed.";
    /// Made of another weight.
    const DERIVED: &'static str = "interact_2.img_pe";
    const POSITIONS: &'static str = "image_encoder.pos_embed";
    const ZERO: [&'static str; 3] = [".offset_conv.", ".modulator_conv.", "interact_2.out_cov."];
}

impl SimpleBackend for Beginning {
    fn get(&self, shape: Shape, name: &str, init: Init, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        match name.strip_prefix(Self::PIXELS).and_then(|key| self.pixels.get(key)) {
            Some(pixels) => pixels.reshape(shape)?.to_dtype(dtype)?.to_device(device),
            None if name == Self::POSITIONS && shape.rank() == 4 && shape.dims()[3].is_multiple_of(4) => {
                let (_, height, width, channels) = shape.dims4()?;
                let map = sine_position_map(channels, height, width, &Device::Cpu)?;
                map.permute((0, 2, 3, 1))?.contiguous()?.to_dtype(dtype)?.to_device(device)
            }
            None if Self::ZERO.iter().any(|part| name.contains(part)) => Tensor::zeros(shape, dtype, device),
            None => self.rest.get_with_hints_dtype(shape, name, init, dtype)?.to_device(device),
        }
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        self.rest.get_unchecked_dtype(name, dtype)?.to_device(device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        name != Self::DERIVED
    }
}
