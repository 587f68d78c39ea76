//! `pisam_train_toy`: one step of each of Pi-SAM's stages of training, with the random numbers that the case's names generate and the clicks that it stores.

use super::pisam_losses::NamedRandom;
use super::pisam_model::{config, images};
use super::{Result, Run, boxes, field, scalar};
use crate::verify::labels::barred_mask;
use candle_core::{DType, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use seg_golden::{Case, NamedShape, TrainableWeights};
use seg_layers::Unobserved;
use seg_models::pi_sam::{
    ClickSimulation, PiSamConfig, PiSamEncoder, PiSamMaskDecoder, SimulatedClick, label_box, stack_clicks,
};
use seg_train::pi_sam::{Batch, Pass, Stage, WeightedClicks, forward, small_labels};
use serde::Deserialize;
use std::collections::BTreeMap;

/// `runner.py`.
const LEARNING_RATE: f64 = 1e-3;
/// A gradient this small beside the largest is what rounding leaves of none at all: a bias of keys moves all scores of a softmax alike.
const ROUNDING: f64 = 1e-6;

/// What the JSON says of one stage.
#[derive(Deserialize)]
struct Expected {
    losses: BTreeMap<String, f64>,
    total: f64,
    grad_norms: BTreeMap<String, f64>,
    trainable: Trainable,
    trainable_count: usize,
    total_after_one_adam_step: f64,
}

/// The trainable parameters: their number, or their names.
#[derive(Deserialize)]
#[serde(untagged)]
enum Trainable {
    Number(usize),
    Names(Vec<String>),
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let cfg = config(run)?;
    let size = cfg.image_size();
    let steps: BTreeMap<String, Expected> = field(case, "values.train", &case.values["train"])?;
    let count = match case.output("stage1.boxes").map(|o| o.shape.as_slice()) {
        Some(&[count, 4]) => count,
        other => return Err(case.field_error("outputs.stage1.boxes", format!("{other:?}, expected [B, 4]")).into()),
    };
    let labels: Vec<f32> = match case.stored_input("input.labels", device) {
        Some(stored) => stored?.to_dtype(DType::F32)?.affine(1. / 255., 0.)?.flatten_all()?.to_vec1()?,
        None => (0..count).flat_map(|i| barred_mask(&case.salt, i, size, size)).map(f32::from).collect(),
    };
    let corners: Vec<[f32; 4]> = labels
        .chunks_exact(size * size)
        .map(|label| label_box(&label.iter().map(|v| v * 255.).collect::<Vec<_>>(), size).unwrap_or_default())
        .collect();
    let labels = Tensor::from_vec(labels, (count, 1, size, size), device)?;
    let corners = boxes(&corners, device)?;

    let mut weights = case.generated("encoder")?;
    if case.official("encoder").is_none() {
        // the case fills the embedding of the pixels, too, though SAM's files have none
        weights = weights.official(vec![NamedShape { name: "rgb_embed.0.weight".into(), shape: Vec::new() }]);
    }
    let encoder = PiSamEncoder::new(&cfg, weights.var_builder(DType::F32, device))?;
    let features = encoder.forward(&images(run, count, size)?, &mut Unobserved)?;
    let image_pe = encoder.prompt_encoder().dense_pe()?;
    let prompts = encoder.prompt_encoder().forward(None, Some(&corners), None)?;
    let batch = Batch { features: &features, image_pe: &image_pe, prompts: &prompts, labels: &labels };
    for (name, expected) in &steps {
        let stage = match name.as_str() {
            "stage1" => Stage::Decoder,
            "stage2" => Stage::Interactor,
            _ => {
                run.checks.fact(name, false, "expected `stage1` or `stage2`");
                continue;
            }
        };
        run.checks.tensor(&format!("{name}.boxes"), &corners.reshape((count, 4))?);
        step(run, &cfg, &batch, (name, stage), expected)?;
    }
    Ok(())
}

fn step(
    run: &mut Run<'_, '_>,
    cfg: &PiSamConfig,
    batch: &Batch<'_>,
    (name, stage): (&str, Stage),
    e: &Expected,
) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let mut weights = TrainableWeights::new(case.generated("decoder")?).train_only(stage.prefixes().iter().copied());
    for buffer in Stage::BUFFERS {
        weights = weights.freeze(buffer);
    }
    let decoder = PiSamMaskDecoder::new(cfg, weights.var_builder(DType::F32, device))?;
    let mut problems = Vec::new();
    let mut pass = || -> Result<Pass> {
        let mut clicker =
            |masks: &Tensor, labels: &Tensor| Ok(stored_clicks(case, name, masks, labels, &mut problems)?);
        let mut random = NamedRandom::new(&case.salt);
        Ok(forward(&decoder, stage, batch, &mut clicker, &mut random, &mut Unobserved)?)
    };
    let first = pass()?;
    let checks = &mut *run.checks;
    checks.tensor(&format!("{name}.pred_masks"), &first.output.masks);
    checks.tensor(&format!("{name}.pred_masks_large"), &first.output.masks_large);
    checks.tensor(&format!("{name}.labels_low"), &small_labels(batch.labels, &first.output.masks)?);
    if let Some((clicks, valid)) = &first.clicks {
        checks.tensor(&format!("{name}.points"), &clicks.coords);
        checks.tensor(&format!("{name}.flags"), &clicks.flags);
        if let Some(ignored) = &clicks.ignored {
            checks.tensor(&format!("{name}.attn_mask"), ignored);
        }
        checks.tensor(&format!("{name}.valid"), valid);
    }
    let losses = &first.losses;
    let small = losses.small.as_ref();
    for (loss, &expected) in &e.losses {
        let value = match loss.as_str() {
            "loss_mask_s" => small.map(|l| &l.mask),
            "loss_dice_s" => small.map(|l| &l.dice),
            "loss_mask_l" => Some(&losses.large.mask),
            "loss_dice_l" => Some(&losses.large.dice),
            _ => None,
        };
        checks.number(&format!("{name}.{loss}"), value.map_or(Ok(f64::NAN), scalar)?, expected, 0.);
    }
    checks.number(&format!("{name}.total"), scalar(&losses.total)?, e.total, 0.);

    let vars = weights.variables();
    let elements: usize = vars.iter().map(|(_, var)| var.elem_count()).sum();
    let names = vars.iter().map(|(name, _)| name);
    let same = match &e.trainable {
        Trainable::Number(number) => *number == vars.len(),
        Trainable::Names(expected) => {
            vars.len() == expected.len() && expected.iter().all(|n| names.clone().any(|m| m == n))
        }
    };
    let same = same && names.clone().eq(e.grad_norms.keys()) && names.clone().all(|n| stage.trains(n));
    checks.fact(&format!("{name}: trainable"), same, "other parameters than the case's are trained");
    let problem = format!("{elements} numbers, expected {}", e.trainable_count);
    checks.fact(&format!("{name}: trainable_count"), elements == e.trainable_count, problem);

    let grads = losses.total.backward()?;
    let floor = ROUNDING * e.grad_norms.values().copied().fold(0., f64::max);
    for (parameter, var) in &vars {
        let norm = grads.get(var).map_or(Ok(f64::NAN), |grad| scalar(&grad.sqr()?.sum_all()?.sqrt()?))?;
        let expected = e.grad_norms.get(parameter).copied().unwrap_or(f64::NAN);
        checks.number(&format!("{name}.grad_norms.{parameter}"), norm, expected, floor);
    }
    let config = ParamsAdamW { lr: LEARNING_RATE, weight_decay: 0., ..ParamsAdamW::default() };
    AdamW::new(vars.into_iter().map(|(_, var)| var).collect::<Vec<Var>>(), config)?.step(&grads)?;
    let after = scalar(&pass()?.losses.total)?;
    checks.number(&format!("{name}.total_after_one_adam_step"), after, e.total_after_one_adam_step, 0.);
    checks.fact(&format!("{name}: clicks"), problems.is_empty(), problems.join("; "));
    Ok(())
}

/// The clicks of the case, which are random in the original: each must lie in a region of ours that is as large as the one whose turn it is.
fn stored_clicks(
    case: &Case,
    stage: &str,
    masks: &Tensor,
    labels: &Tensor,
    problems: &mut Vec<String>,
) -> candle_core::Result<WeightedClicks> {
    let (batch, _, h, w) = masks.dims4()?;
    let rules = ClickSimulation::default();
    let most = rules.max_points;
    let stored = |output: &str| case.stored_values(&format!("{stage}.{output}")).unwrap_or_default();
    let (points, ignored, valid) = (stored("points"), stored("attn_mask"), stored("valid"));
    if points.len() != batch * most * 2 || ignored.len() != batch * (1 + most) || valid.len() != batch {
        candle_core::bail!(
            "{stage}: points, attn_mask and valid are not stored whole for {batch} rows of {most} clicks"
        );
    }
    let values = |t: &Tensor| t.flatten_from(1)?.to_vec2::<f32>();
    let (masks_of, labels_of) = (values(masks)?, values(labels)?);
    let mut rows = Vec::with_capacity(batch);
    for b in 0..batch {
        let found = rules.regions(&masks_of[b], Some(&labels_of[b]), w as u32, h as u32);
        let regions = found.map_err(candle_core::Error::wrap)?.regions;
        let count = match valid[b] > 0. {
            true => ignored[b * (1 + most) + 1..(b + 1) * (1 + most)].iter().filter(|v| **v == 0.).count(),
            false => 0,
        };
        let mut row = Vec::with_capacity(count);
        for i in 0..count {
            let at = (b * most + i) * 2;
            let (row_at, column) =
                ((points[at] * h as f64).round() as usize, (points[at + 1] * w as f64).round() as usize);
            let size = regions.get(i).map_or(0, |(pixels, _)| pixels.len());
            // regions of one size may come in any order
            let region = regions.iter().find(|(p, _)| p.len() == size && p.contains(&(row_at * w + column)));
            if region.is_none() {
                problems.push(format!("row {b}: click {i} at ({row_at}, {column}) is in no region of {size} pixels"));
            }
            row.push(SimulatedClick { row: row_at, column, foreground: region.is_some_and(|(_, missing)| *missing) });
        }
        if valid[b] > 0. && regions.is_empty() || valid[b] == 0. && !regions.is_empty() {
            problems.push(format!("row {b}: {} regions, but its weight is {}", regions.len(), valid[b]));
        }
        rows.push(row);
    }
    stack_clicks(&rows, (h, w), most, masks.device())
}
