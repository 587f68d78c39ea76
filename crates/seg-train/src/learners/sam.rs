//! SAM's and MobileSAM's mask decoder on the frozen encoder, as SAM was trained (arXiv 2304.02643, appendix A): a box or a click, then clicks where the mask is wrong, each
//! with the mask before as a prompt.

use super::parts::{Start, Weights, planes};
use super::prompts::{
    ALL_SCORES, Chance, Encoder, EncoderName, check_side, click_after, is_frozen, label_bounds, mended, normalised,
    numbers, rules, square,
};
use super::{Learner, Losses};
use crate::init::Begun;
use crate::recipe::Recipe;
use crate::sam2::{ClickPrediction, Objective};
use crate::{Result, TrainError};
use candle_core::{D, DType, Device, Tensor};
use hr_decoders::{MaskDecoderConfig, MaskDecoderOutput, PointPrompts, PromptEncoderConfig};
use seg_checkpoints::{ParameterGroup, TrainingWeights, Treatment};
use seg_data::training::Dice;
use seg_data::training::transform::Prepared;
use seg_models::pi_sam::SimulatedClick;
use seg_models::registry::Architecture;
use seg_models::sam::{Sam, SamConfig};
use seg_ops::{Activation, Resize};
use serde::Deserialize;

/// What a recipe may say about the model.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ModelPart {
    encoder: Encoder,
    image_size: usize,
    /// Clicks behind the first prompt.
    clicks: usize,
}

impl Default for ModelPart {
    fn default() -> Self {
        Self { encoder: Encoder::Named(EncoderName::MobileSam), image_size: 1024, clicks: 8 }
    }
}

/// What a recipe may say about the loss: factors.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LossPart {
    mask: f64,
    dice: f64,
    iou: f64,
}

impl Default for LossPart {
    fn default() -> Self {
        Self { mask: 20., dice: 1., iou: 1. }
    }
}

/// Where an example's inputs stand: normalised picture, label in 0..1, box, width and height within the square, seed, and behind a frozen encoder its embedding.
const IMAGE: usize = 0;
const LABEL: usize = 1;
const BOX: usize = 2;
const SIZE: usize = 3;
const SEED: usize = 4;
const EMBEDDING: usize = 5;

/// SAM and MobileSAM. Files: `weights` (SAM's or MobileSAM's own).
pub struct SamLearner {
    model: Sam,
    image_pe: Tensor,
    objective: Objective,
    clicks: usize,
    cfg: SamConfig,
    frozen: Option<&'static str>,
    device: Device,
    weights: Weights,
}

/// What has been asked of one picture so far.
struct Asked {
    /// x, y in pixels of the input, and the label.
    points: Vec<(f32, f32, i64)>,
    bounds: Option<Tensor>,
    /// Logits of the mask before.
    mask: Option<Tensor>,
}

impl SamLearner {
    pub(super) fn new(recipe: &Recipe, at: &Start<'_>) -> Result<Self> {
        at.only(&["weights"])?;
        let loss: LossPart = recipe.part("loss", &recipe.loss)?;
        let part: ModelPart = recipe.part("model", &recipe.model)?;
        check_side(part.image_size)?;
        let cfg = SamConfig {
            image_encoder: part.encoder.config(),
            image_size: part.image_size,
            prompt_encoder: PromptEncoderConfig::new(part.image_size),
            mask_decoder: MaskDecoderConfig::sam(),
        };
        let decoder = Treatment::Trained(ParameterGroup::new("decoder", 1., 0.1));
        let weights = at.weights(at.fresh(), rules(vec![("mask_decoder.*".into(), decoder)]))?;
        let model = Sam::new(&cfg, weights.vb.clone())?;
        let objective =
            Objective { mask: loss.mask, dice: loss.dice, iou: loss.iou, class: 0., l1_ious: false, ..Objective::SAM2 };
        Ok(Self {
            image_pe: model.prompt_encoder().dense_pe()?.detach(),
            model,
            objective,
            clicks: part.clicks,
            cfg,
            frozen: is_frozen(&weights.weights),
            device: at.device.clone(),
            weights,
        })
    }

    fn embeddings(&self, inputs: &[Tensor]) -> Result<Tensor> {
        match self.frozen {
            Some(_) => Ok(inputs[EMBEDDING].clone()),
            None => Ok(self.model.encode_image(inputs[IMAGE].clone())?),
        }
    }

    /// The masks for what has been asked of one picture; `several`: three of them.
    fn answer(&self, embedding: &Tensor, asked: &Asked, several: bool) -> Result<MaskDecoderOutput> {
        let points = match asked.points.is_empty() {
            true => None,
            false => Some(PointPrompts::single(&asked.points, &self.device)?),
        };
        let prompts =
            self.model.prompt_encoder().forward(points.as_ref(), asked.bounds.as_ref(), asked.mask.as_ref())?;
        Ok(self.model.mask_decoder().forward(embedding, &self.image_pe, &prompts, None, several)?)
    }

    /// The middle of a pixel of the map of a quarter of the input's size, in pixels of the input.
    fn point(click: SimulatedClick) -> (f32, f32, i64) {
        let at = |pixel: usize| 4. * pixel as f32 + 1.5;
        (at(click.column), at(click.row), i64::from(click.foreground))
    }

    /// The first prompt: as often a click on the object as its box, whose edges are moved by a tenth of its sides, 20 pixels at most.
    fn first(&self, small: &[f32], bounds: &Tensor, dice: &mut Dice) -> Result<Asked> {
        let quarter = self.cfg.image_size / 4;
        let inside: Vec<usize> = (0..small.len()).filter(|at| small[*at] > 128.).collect();
        let picked = if dice.chance(0.5) { dice.pick(&inside).copied() } else { None };
        Ok(match picked {
            Some(at) => {
                let click = SimulatedClick { row: at / quarter, column: at % quarter, foreground: true };
                Asked { points: vec![Self::point(click)], bounds: None, mask: None }
            }
            None => {
                let corners = bounds.flatten_all()?.to_vec1::<f32>()?;
                let most = f64::from(self.cfg.image_size as f32 - 1.);
                let mut moved = |at: usize| {
                    let side = f64::from(corners[2 + at % 2] - corners[at % 2]);
                    let by = (0.1 * side * dice.normal()).clamp(-20., 20.);
                    (f64::from(corners[at]) + by).clamp(0., most) as f32
                };
                let [a, b, c, d] = [moved(0), moved(1), moved(2), moved(3)];
                let ordered = [a.min(c), b.min(d), a.max(c), b.max(d)];
                Asked { points: Vec::new(), bounds: Some(Tensor::new(&[ordered], &self.device)?), mask: None }
            }
        })
    }

    /// The loss of one picture, over all its prompts.
    fn of_picture(
        &self,
        embedding: &Tensor,
        label: &Tensor,
        bounds: &Tensor,
        chance: &mut Chance,
    ) -> Result<crate::sam2::Terms> {
        let quarter = self.cfg.image_size / 4;
        let small = numbers(&(label * 255.)?, quarter)?;
        let truth: Vec<f32> = small.iter().map(|v| f32::from(u8::from(*v > 128.))).collect();
        let truth = Tensor::from_vec(truth, (1, quarter, quarter), &self.device)?;
        let mut asked = self.first(&small, bounds, &mut chance.0)?;
        let mut predictions = Vec::new();
        for click in 0..=self.clicks {
            let output = self.answer(embedding, &asked, click == 0)?;
            // the mask that SAM itself would choose is mended
            let ious = output.iou_predictions.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
            let chosen = output.masks.narrow(1, hr_decoders::argmax(&ious), 1)?.detach();
            predictions.push(ClickPrediction {
                masks: output.masks,
                ious: output.iou_predictions,
                object_scores: output.object_score_logits.detach(),
            });
            if click == self.clicks {
                break;
            }
            match click_after(&chosen, &small, quarter, Some(chance))? {
                Some(next) => asked.points.push(Self::point(next)),
                None => break,
            }
            asked.mask = Some(chosen);
        }
        self.objective.forward(&predictions, &truth)
    }

    /// Logits at the size of the input.
    fn enlarged(&self, masks: &Tensor) -> Result<Tensor> {
        Ok(seg_ops::resize(masks, (self.cfg.image_size, self.cfg.image_size), &Resize::bilinear())?)
    }
}

impl Learner for SamLearner {
    fn weights(&self) -> &TrainingWeights {
        &self.weights.weights
    }

    fn begun(&self) -> Option<Begun> {
        self.weights.begun()
    }

    fn inputs(&self, example: &Prepared) -> Result<Vec<Tensor>> {
        let bounds = Tensor::new(&[label_bounds(example)?], &self.device)?;
        let image = normalised(&example.image, self.cfg.image_size, &self.device)?;
        let label = square(&planes(&example.mask, &self.device)?, self.cfg.image_size)?;
        let size = Tensor::new(&[[example.mask.width, example.mask.height]], &Device::Cpu)?;
        Ok(vec![image, label, bounds, size])
    }

    fn frozen_encoder(&self) -> Option<&'static str> {
        self.frozen
    }

    fn embedding(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![self.model.encode_image(inputs[IMAGE].clone())?])
    }

    fn draws(&self) -> bool {
        true
    }

    fn image_size(&self) -> usize {
        self.cfg.image_size
    }

    fn architecture(&self) -> Option<Architecture> {
        Some(Architecture::Sam(Box::new(self.cfg.clone())))
    }

    fn takes_prompts(&self) -> bool {
        true
    }

    fn loss(&self, inputs: &[Tensor]) -> Result<Losses> {
        let embeddings = self.embeddings(inputs)?;
        let mut chances = Chance::of_rows(&inputs[SEED])?;
        let mut terms = Vec::new();
        for (row, chance) in chances.iter_mut().enumerate() {
            let of_row = |t: &Tensor| t.narrow(0, row, 1);
            terms.push(self.of_picture(
                &of_row(&embeddings)?,
                &of_row(&inputs[LABEL])?,
                &of_row(&inputs[BOX])?,
                chance,
            )?);
        }
        let mean = |of: fn(&crate::sam2::Terms) -> &Tensor| -> Result<Tensor> {
            Ok(Tensor::stack(&terms.iter().map(of).collect::<Vec<_>>(), 0)?.mean_all()?)
        };
        let parts = vec![("mask", mean(|t| &t.mask)?), ("dice", mean(|t| &t.dice)?), ("iou", mean(|t| &t.iou)?)];
        Ok(Losses { total: mean(|t| &t.total)?, parts })
    }

    fn predict(&self, inputs: &[Tensor]) -> Result<Tensor> {
        let asked = Asked { points: Vec::new(), bounds: Some(inputs[BOX].clone()), mask: None };
        let output = self.answer(&self.embeddings(inputs)?, &asked, false)?;
        self.shown(&output.masks, inputs)
    }

    fn examine(&self, inputs: &[Tensor]) -> Result<(Tensor, Vec<(&'static str, f64)>)> {
        let embedding = self.embeddings(inputs)?;
        let mut asked = Asked { points: Vec::new(), bounds: Some(inputs[BOX].clone()), mask: None };
        let boxed = self.answer(&embedding, &asked, false)?.masks.detach();
        let scores = mended(
            &boxed,
            &inputs[LABEL],
            |mask| self.enlarged(mask),
            |click, before| {
                asked.points.push(Self::point(click));
                asked.mask = Some(before);
                Ok(self.answer(&embedding, &asked, false)?.masks)
            },
        )?;
        Ok((self.shown(&boxed, inputs)?, scores))
    }

    fn own_scores(&self) -> &'static [&'static str] {
        &ALL_SCORES
    }
}

impl SamLearner {
    /// Probabilities of one picture, without what was added to make it square.
    fn shown(&self, masks: &Tensor, inputs: &[Tensor]) -> Result<Tensor> {
        let size = inputs[SIZE].flatten_all()?.to_vec1::<u32>()?;
        let (Some(&width), Some(&height)) = (size.first(), size.get(1)) else {
            return Err(TrainError::Count { what: "sizes of the picture", got: size.len(), expected: 2 });
        };
        let all = seg_ops::activate(&self.enlarged(masks)?, Activation::Sigmoid)?;
        Ok(all.narrow(D::Minus2, 0, height as usize)?.narrow(D::Minus1, 0, width as usize)?.contiguous()?)
    }
}
