//! What the promptable systems share: labels, boxes, chance by the example, and how masks fare click by click.

use super::parts::planes;
use crate::clicks::{Aim, next_click};
use crate::{Result, TrainError};
use candle_core::{D, DType, Device, Tensor};
use seg_checkpoints::{ParameterRules, TrainingWeights, Treatment};
use seg_data::training::transform::{Planes, Prepared};
use seg_data::training::{Dice, Place};
use seg_layers::Uniform;
use seg_models::normalize::{SAM_MEAN, SAM_STD, normalize};
use seg_models::pi_sam::{SimulatedClick, boundary_iou, label_box, mask_iou};
use seg_models::sam::SamEncoderConfig;
use seg_ops::Resize;
use serde::Deserialize;
use std::borrow::Cow;
use vit_encoder::{SamVitConfig, TinyVitConfig};

/// The image encoder in a recipe: by its name, or by all its numbers.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Encoder {
    Named(EncoderName),
    Given(SamEncoderConfig),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum EncoderName {
    MobileSam,
    VitB,
    VitL,
    VitH,
}

impl Encoder {
    pub(super) fn config(&self) -> SamEncoderConfig {
        match self {
            Self::Named(EncoderName::MobileSam) => SamEncoderConfig::TinyVit(TinyVitConfig::mobile_sam()),
            Self::Named(EncoderName::VitB) => SamEncoderConfig::Vit(SamVitConfig::vit_b()),
            Self::Named(EncoderName::VitL) => SamEncoderConfig::Vit(SamVitConfig::vit_l()),
            Self::Named(EncoderName::VitH) => SamEncoderConfig::Vit(SamVitConfig::vit_h()),
            Self::Given(config) => config.clone(),
        }
    }
}

/// Beginning of the names of the image encoder's weights.
const ENCODER: &str = "image_encoder.";

/// Whether nothing of the image encoder learns.
pub(super) fn is_frozen(weights: &TrainingWeights) -> Option<&'static str> {
    let learns = weights.grouped().iter().any(|(_, vars)| vars.iter().any(|(name, _)| name.starts_with(ENCODER)));
    (!learns).then_some(ENCODER)
}

/// Rules out of patterns that are made: the first is asked first.
pub(super) fn rules(patterns: Vec<(String, Treatment)>) -> ParameterRules {
    let first = |rules: ParameterRules, (pattern, treatment)| rules.with_first(Cow::Owned(pattern), treatment);
    patterns.into_iter().rev().fold(ParameterRules::new([]), first)
}

/// Refuses sides that the prompts' maps do not fit.
pub(super) fn check_side(image_size: usize) -> Result<()> {
    if image_size > 0 && image_size.is_multiple_of(16) {
        return Ok(());
    }
    let problem = format!("image_size is {image_size}, expected a multiple of 16");
    Err(TrainError::Recipe { recipe: "[model]".into(), problem })
}

/// The picture as SAM's encoders take it: normalised, then zeros right and below up to the square. `[1, 3, S, S]`.
pub(super) fn normalised(image: &Planes, side: usize, device: &Device) -> Result<Tensor> {
    square(&normalize(&(planes(image, device)? * 255.)?, SAM_MEAN, SAM_STD)?, side)
}

/// Zeros right and below, up to the square.
pub(super) fn square(map: &Tensor, side: usize) -> Result<Tensor> {
    let (_, _, height, width) = map.dims4()?;
    if height > side || width > side {
        let got = map.shape().clone();
        return Err(TrainError::Shape { tensor: "a picture", got, expected: format!("at most {side} pixels a side") });
    }
    Ok(map.pad_with_zeros(D::Minus2, 0, side - height)?.pad_with_zeros(D::Minus1, 0, side - width)?)
}

/// The box of an example's label, `[left, top, right, bottom]` of what is above 128.
pub(super) fn label_bounds(example: &Prepared) -> Result<[f32; 4]> {
    label_box(&example.mask.levels, example.mask.width as usize).ok_or_else(|| TrainError::Run {
        path: example.name.clone().into(),
        problem: "nothing of the object is left in what the transforms make of the picture, and a box needs it".into(),
    })
}

/// Chance of one example.
pub(super) struct Chance(pub(super) Dice);

impl Chance {
    /// From the seed among an example's inputs, row by row.
    pub(super) fn of_rows(seeds: &Tensor) -> Result<Vec<Self>> {
        let rows = seeds.to_vec2::<u32>()?;
        let place = |row: &Vec<u32>| Place {
            seed: row.iter().fold(0, |all, part| (all << 32) | u64::from(*part)),
            epoch: 0,
            index: 0,
        };
        Ok(rows.iter().map(|row| Self(Dice::new(place(row), "row"))).collect())
    }
}

/// Draws row by row, each row from its own chance: what a row gets does not depend on the others of its batch.
pub(super) struct ByRow<'c>(pub(super) &'c mut [Chance]);

impl Uniform for ByRow<'_> {
    fn uniform(&mut self, shape: &candle_core::Shape, device: &Device) -> candle_core::Result<Tensor> {
        let rows = shape.dims().first().copied().unwrap_or(0);
        if rows != self.0.len() {
            candle_core::bail!("numbers at random for {rows} rows, expected {}", self.0.len());
        }
        let each = shape.elem_count() / rows.max(1);
        // 24 bits: as many as an f32 below 1 holds evenly
        let draw = |chance: &mut Chance| (chance.0.bits() >> 40) as f32 / (1 << 24) as f32;
        let values: Vec<f32> =
            self.0.iter_mut().flat_map(|chance| (0..each).map(|_| draw(chance)).collect::<Vec<_>>()).collect();
        Tensor::from_vec(values, shape, device)
    }
}

/// A map `[1, 1, H, W]` of f32 as numbers, at `side × side` where it has another size (bilinear).
pub(super) fn numbers(map: &Tensor, side: usize) -> Result<Vec<f32>> {
    let (_, _, height, width) = map.dims4()?;
    let map = map.detach().to_dtype(DType::F32)?;
    let map =
        if (height, width) == (side, side) { map } else { seg_ops::resize(&map, (side, side), &Resize::bilinear())? };
    Ok(map.flatten_all()?.to_vec1()?)
}

/// The click that comes after `logits` `[1, 1, H, W]`, on the map of a quarter of the input's size: `labels` are 0..255 there.
pub(super) fn click_after(
    logits: &Tensor,
    labels: &[f32],
    quarter: usize,
    chance: Option<&mut Chance>,
) -> Result<Option<SimulatedClick>> {
    let aim = match chance {
        Some(chance) => Aim::Anywhere(&mut chance.0),
        None => Aim::Middle,
    };
    next_click(&numbers(logits, quarter)?, labels, (quarter as u32, quarter as u32), aim)
}

/// Names of the scores of a box's mask and of those after each click: IoU and the boundaries' IoU.
pub(super) const BOX_SCORES: [&str; 2] = ["box.iou", "box.biou"];
pub(super) const ALL_SCORES: [&str; 8] =
    ["box.iou", "box.biou", "click1.iou", "click1.biou", "click2.iou", "click2.biou", "click3.iou", "click3.biou"];

/// Scores of the mask after so many clicks, `logits` and `label` (0..1) of one size.
pub(super) fn scores_after(clicks: usize, logits: &Tensor, label: &Tensor) -> Result<[(&'static str, f64); 2]> {
    let side = label.dim(D::Minus1)?;
    let (logits, label) = (numbers(logits, side)?, numbers(&(label * 255.)?, side)?);
    let [iou, boundary] = [2 * clicks, 2 * clicks + 1].map(|at| ALL_SCORES.get(at).copied().unwrap_or("more.iou"));
    Ok([(iou, mask_iou(&logits, &label)), (boundary, boundary_iou(&logits, &label, side))])
}

/// Scores of the mask of a box, `boxed`, and after each of three clicks where the mask before is wrong. `answer` gives the mask to a further click, from the one
/// before; `enlarged` a mask at the size of `label` (0..1, `[1, 1, S, S]`).
pub(super) fn mended(
    boxed: &Tensor,
    label: &Tensor,
    enlarged: impl Fn(&Tensor) -> Result<Tensor>,
    mut answer: impl FnMut(SimulatedClick, Tensor) -> Result<Tensor>,
) -> Result<Vec<(&'static str, f64)>> {
    let quarter = label.dim(D::Minus1)? / 4;
    let small = numbers(&(label * 255.)?, quarter)?;
    let mut scores = scores_after(0, &enlarged(boxed)?, label)?.to_vec();
    let mut mask = boxed.clone();
    for click in 1..=3 {
        // where nothing is wrong any more, the mask stays
        if let Some(next) = click_after(&mask, &small, quarter, None)? {
            mask = answer(next, mask)?.detach();
        }
        scores.extend(scores_after(click, &enlarged(&mask)?, label)?);
    }
    Ok(scores)
}
