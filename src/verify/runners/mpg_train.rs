//! `mpg_toy_train`, `mpg_toy_train_image`: a training step of MPG-SAM 2 on a clip or on single images: losses, gradients, which weights get one, what AdamW
//! makes of them.
//!
//! Two things make the reference's gradients differ from the true ones. Memories are rounded to bfloat16, and a difference of 1e-7 before that is one of 1 %
//! after it where a value lies at an edge: so the step is also run in float64, and what that moves a gradient by, the reference may be off as well. And the
//! similarity loss, which the sentence cannot influence, still hands it what rounding leaves of zero: the layer's own gradient says how much that is, and a
//! second backward pass how much of it reaches each weight of BEiT-3.

use super::mpg::{config, frame, frames, texts};
use super::mpg_losses::{Targets, frame_list};
use super::{Result, Run, field, scalar};
use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use seg_checkpoints::TrainingWeights;
use seg_models::mpg_sam2::MpgSam2;
use seg_train::mpg_sam2::{Objective, Prediction, Recipe, Terms, segment_clip, segment_images};
use seg_train::optim::{Adam, AdamParams, Gradients, clip_grad_norm};
use std::collections::{BTreeMap, BTreeSet};

/// Gradients this small beside the largest are what rounding leaves of zero: keys' biases shift all scores alike.
const ROUNDING: f64 = 1e-6;
/// The layer that makes the sentence's number, whose true gradient is zero.
const SENTENCE: &str = "text2one_linear.";

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let exact = Step::new(run, DType::F64)?;
    let mut step = Step::new(run, DType::F32)?;
    run.checks.tensor("out.pred_masks", &step.prediction.logits);
    check_losses(run, &step.terms)?;
    check_groups(run, &step)?;
    check_gradients(run, &step, &exact)?;
    drop(exact);
    check_update(run, &mut step)
}

/// A forward and a backward pass.
struct Step {
    weights: TrainingWeights,
    prediction: Prediction,
    terms: Terms,
    grads: GradStore,
}

impl Step {
    fn new(run: &Run<'_, '_>, dtype: DType) -> Result<Self> {
        let source = run.case.generated("model")?.var_builder(dtype, run.device);
        let weights = TrainingWeights::new(source, MpgSam2::parameter_rules());
        let model = MpgSam2::new(&config(run)?, weights.var_builder(dtype, run.device))?;
        let text = texts(run)?;
        let (clips, _) = text.dims();
        let count = run
            .case
            .inputs
            .as_object()
            .map_or(0, |inputs| inputs.keys().filter(|name| name.starts_with("input.frame")).count());
        let look = frames(run, "beit_frame", count)?.to_dtype(dtype)?;
        let prediction = if clips == 1 {
            let frames = (0..count).map(|t| Ok(frame(run, "frame", t)?.to_dtype(dtype)?));
            segment_clip(&model, &frames.collect::<Result<Vec<_>>>()?, &look, &text)?
        } else {
            let images = frames(run, "frame", count)?.to_dtype(dtype)?;
            let (_, _, h, w) = images.dims4()?;
            segment_images(&model, images, &look, &text, (h, w))?
        };
        let description: String = field(run.case, "values.targets", &run.case.values["targets"])?;
        let empty = frame_list(run.case, description.rsplit_once("; frames").map_or("", |(_, frames)| frames))?;
        let (clips, frames, _, h, w) = prediction.logits.dims5()?;
        let targets = Targets::discs([clips, frames, h, w], |_| empty.clone(), run.device)?;
        let Prediction { logits, sentence, .. } = &prediction;
        let terms = Objective::MPG_SAM2.forward(logits, &targets.masks, &targets.valid, sentence)?;
        let grads = terms.total.backward()?;
        Ok(Self { weights, prediction, terms, grads })
    }

    /// The gradients that weights would have of the sentence's number alone, whose own is `size`.
    fn through_sentence(&self, size: f64) -> Result<GradStore> {
        Ok((self.prediction.sentence.sum_all()? * size)?.backward()?)
    }

    fn trained(&self) -> BTreeMap<String, Var> {
        self.weights.grouped().into_iter().flat_map(|(_, vars)| vars).collect()
    }
}

fn check_losses(run: &mut Run<'_, '_>, terms: &Terms) -> Result<()> {
    let expected: BTreeMap<String, f64> = field(run.case, "values.losses", &run.case.values["losses"])?;
    let total: f64 = field(run.case, "values.total_loss", &run.case.values["total_loss"])?;
    let ours = [("loss_mask", &terms.mask), ("loss_dice", &terms.dice), ("loss_sim", &terms.similarity)];
    for (name, loss) in ours {
        run.checks.number(name, scalar(loss)?, expected.get(name).copied().unwrap_or(f64::NAN), 0.);
    }
    run.checks.number("total_loss", scalar(&terms.total)?, total, 0.);
    Ok(())
}

/// The rules make the official groups, and freeze what is frozen there.
fn check_groups(run: &mut Run<'_, '_>, step: &Step) -> Result<()> {
    let fast: BTreeSet<String> = field(run.case, "values.lr_bifit_params", &run.case.values["lr_bifit_params"])?;
    let groups = step.weights.grouped();
    let ours: BTreeSet<String> = groups
        .iter()
        .filter(|(group, _)| group.lr_factor == 1.)
        .flat_map(|(_, vars)| vars.iter().map(|(name, _)| name.clone()))
        .collect();
    let problem = format!("not in the same group: {:?}", ours.symmetric_difference(&fast).collect::<Vec<_>>());
    run.checks.fact("groups", ours == fast, problem);

    let frozen: Vec<(String, Tensor)> = step.weights.frozen();
    let leaks: Vec<&str> =
        frozen.iter().filter(|(_, t)| step.grads.get(t).is_some()).map(|(n, _)| n.as_str()).collect();
    run.checks.fact("frozen weights", leaks.is_empty(), format!("with a gradient: {}", leaks.join(", ")));
    let listed: Vec<String> = field(run.case, "values.frozen", &run.case.values["frozen"])?;
    // the last entry says how many there are
    let count = listed.last().and_then(|text| text.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty()));
    let ours = frozen.iter().filter(|(name, _)| name.starts_with("visual_model.image_encoder.")).count();
    run.checks.fact("frozen count", count == Some(&ours.to_string()), format!("{ours}, expected {count:?}"));
    Ok(())
}

/// How far off the reference may be: of a gradient's norm, and of its elements.
#[derive(Default)]
struct Floor {
    norm: f64,
    element: f64,
}

impl Floor {
    /// Of what `extra` adds to a gradient.
    fn add(&mut self, extra: &Tensor) -> Result<()> {
        let extra = extra.to_dtype(DType::F64)?;
        self.norm += scalar(&extra.sqr()?.sum_all()?.sqrt()?)?;
        self.element += scalar(&extra.abs()?.max_all()?)?;
        Ok(())
    }
}

/// Which gradients there are, and how large they are.
struct Expected {
    norms: BTreeMap<String, f64>,
    none: BTreeSet<String>,
    total: f64,
}

impl Expected {
    fn read(run: &Run<'_, '_>) -> Result<Self> {
        let values = &run.case.values;
        Ok(Self {
            norms: field(run.case, "values.grad_norms", &values["grad_norms"])?,
            none: field(run.case, "values.trainable_without_grad", &values["trainable_without_grad"])?,
            total: field(run.case, "values.total_grad_norm", &values["total_grad_norm"])?,
        })
    }

    /// What rounding leaves for the sentence's number.
    fn sentence(&self) -> f64 {
        self.norms.get(&format!("{SENTENCE}bias")).copied().unwrap_or(0.)
    }
}

fn check_gradients(run: &mut Run<'_, '_>, step: &Step, exact: &Step) -> Result<()> {
    const TWO_ROUNDED: f64 = 2.;
    let expected = Expected::read(run)?;
    let (trained, in_f64) = (step.trained(), exact.trained());
    let through_sentence = step.through_sentence(expected.sentence())?;
    let smallest = ROUNDING * expected.norms.values().copied().fold(0., f64::max);
    let checks = &mut *run.checks;
    let mut squares = 0.;
    for (name, var) in &trained {
        let at = format!("grad_norms.{name}");
        let (reference, grad) = match (expected.norms.get(name), step.grads.get(var)) {
            (Some(&reference), Some(grad)) => (reference, grad),
            // torch hands out zeros where a slice was left out
            (Some(&reference), None) => {
                checks.fact(&at, reference == 0., "no gradient");
                continue;
            }
            (None, grad) => {
                checks.fact(&at, expected.none.contains(name) && grad.is_none(), "a gradient, expected none");
                continue;
            }
        };
        let mut floor = Floor { norm: smallest, element: smallest };
        if let Some(exact) = in_f64.get(name).and_then(|var| exact.grads.get(var)) {
            floor.add(&((grad.to_dtype(DType::F64)? - exact)? * TWO_ROUNDED)?)?;
        }
        if let Some(noise) = through_sentence.get(var) {
            floor.add(noise)?;
        }
        let norm = scalar(&grad.sqr()?.sum_all()?.sqrt()?)?;
        squares += norm * norm;
        checks.number(&at, norm, reference, floor.norm);
        checks.tensor_above(&format!("grad.{name}"), grad, floor.element);
    }
    let lacking: Vec<&String> = expected.norms.keys().filter(|name| !trained.contains_key(*name)).collect();
    checks.fact("parameters", lacking.is_empty(), format!("not among ours: {lacking:?}"));
    checks.number("total_grad_norm", squares.sqrt(), expected.total, 0.);
    Ok(())
}

/// How far a step of AdamW moves some weights, with clipped gradients.
fn check_update(run: &mut Run<'_, '_>, step: &mut Step) -> Result<()> {
    const RECIPE: Recipe = Recipe::REF_YOUTUBE_VOS;
    let expected: BTreeMap<String, f64> =
        field(run.case, "values.adamw_step_delta_norms", &run.case.values["adamw_step_delta_norms"])?;
    let trained = step.trained();
    let mut before = BTreeMap::new();
    for (name, var) in trained.iter().filter(|(name, _)| expected.contains_key(*name)) {
        before.insert(name, var.as_tensor().copy()?);
    }
    let norm = clip_grad_norm(&mut step.grads, trained.values(), RECIPE.max_grad_norm)?;
    let clipped = (RECIPE.max_grad_norm / norm).min(1.);
    let noise = step.through_sentence(Expected::read(run)?.sentence() * clipped)?;
    let gradients = Gradients::of(&step.grads, trained.values())?;
    Adam::new(step.weights.grouped(), AdamParams::default())?.step(&gradients, RECIPE.learning_rate, 1.)?;
    for (name, &reference) in &expected {
        let moved = match (before.get(name), trained.get(name)) {
            (Some(before), Some(after)) => scalar(&(after.as_tensor() - before)?.sqr()?.sum_all()?.sqrt()?)?,
            _ => f64::NAN,
        };
        let grads = trained.get(name).map(|var| (step.grads.get(var), noise.get(var)));
        let floor = match grads {
            Some((Some(grad), Some(noise))) => RECIPE.learning_rate * moved_by_noise(grad, noise)?,
            _ => 0.,
        };
        run.checks.number(&format!("adamw.{name}"), moved, reference, floor);
    }
    Ok(())
}

/// How much else AdamW's first step, in units of the learning rate, is with `noise` in the gradient: it is nearly the gradient's sign.
fn moved_by_noise(grad: &Tensor, noise: &Tensor) -> Result<f64> {
    const EPS: f64 = 1e-8;
    let step = |grad: &Tensor| grad / (grad.abs()? + EPS)?;
    let difference = (step(&(grad + noise)?)? - step(grad)?)?;
    Ok(scalar(&difference.sqr()?.sum_all()?.sqrt()?)?)
}
