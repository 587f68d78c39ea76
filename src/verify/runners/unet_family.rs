//! What the cases of SAM2-UNet and SAM2-UNeXT have in common: names, inputs, the training step.

use super::{Result, Run, field};
use candle_core::{DType, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder};
use seg_checkpoints::{ParameterRules, TrainingWeights};
use seg_golden::{Case, Checker};
use seg_train::losses::{CrossEntropy, StructureLoss, binary_cross_entropy_with_logits};
use seg_train::sam2_unet::Recipe;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The input of these cases, as their JSON describes it.
const IMAGES: &str = "input.image[.b]";

/// Whether the case is a training step.
pub(super) fn is_training(case: &Case) -> bool {
    case.config["model"].as_str().is_some_and(|model| model.contains("train"))
}

/// Offers each tensor under the case's name: `trunk.stage{1..4}` is `<encoder>.{0..3}` there, `trunk.block{i}` is `<encoder>.blocks.{i}`.
pub(super) fn observed<'o>(
    checks: &'o mut Checker<'_>,
    encoder: &'static str,
) -> impl FnMut(&str, &Tensor) -> candle_core::Result<()> + 'o {
    move |name: &str, tensor: &Tensor| {
        let stage = name.strip_prefix("trunk.stage").and_then(|stage| stage.parse::<usize>().ok());
        match (stage, name.strip_prefix("trunk.block")) {
            (Some(stage), _) => checks.tensor(&format!("{encoder}.{}", stage - 1), tensor),
            (None, Some(block)) => checks.tensor(&format!("{encoder}.blocks.{block}"), tensor),
            (None, None) => checks.tensor(name, tensor),
        }
        Ok(())
    }
}

/// The batch: `input.image`, then `input.image.{b}`, each shifted a little more.
pub(super) fn images(run: &Run<'_, '_>) -> Result<Tensor> {
    let shape = run.inputs().shape(IMAGES)?;
    let [count, _, h, w] = shape[..] else {
        let problem = format!("{shape:?}, expected [B, 3, H, W]");
        return Err(run.case.field_error(&format!("inputs.{IMAGES}.shape"), problem).into());
    };
    let image = |b: usize| {
        let name = if b == 0 { "input.image".to_owned() } else { format!("input.image.{b}") };
        run.inputs().tensor(&name, |pattern| {
            let shift = 0.04 * b as f64;
            pattern.clone().shifted(shift).image(h, w, run.device)
        })
    };
    Ok(Tensor::cat(&(0..count).map(image).collect::<Result<Vec<_>>>()?, 0)?)
}

/// The masks: discs, moved to the right from image to image.
pub(super) fn masks(run: &Run<'_, '_>) -> Result<Tensor> {
    const DISC: &str = "1 if ((x+.5)/W-(0.5+0.08*b))^2+((y+.5)/H-0.45)^2<0.09 else 0";
    if let Some(stored) = run.case.stored_input("gt", run.device) {
        return Ok(stored?);
    }
    let entry = &run.case.inputs["gt"];
    let kind: String = field(run.case, "inputs.gt.kind", &entry["kind"])?;
    if kind != DISC {
        let problem = format!("{kind:?}, expected {DISC:?} or a stored tensor `gt`");
        return Err(run.case.field_error("inputs.gt.kind", problem).into());
    }
    let [count, _, h, w]: [usize; 4] = field(run.case, "inputs.gt.shape", &entry["shape"])?;
    let at = |i: usize, of: usize| (i as f64 + 0.5) / of as f64;
    let mut values = Vec::with_capacity(count * h * w);
    for b in 0..count {
        for (y, x) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
            let (dx, dy) = (at(x, w) - (0.5 + 0.08 * b as f64), at(y, h) - 0.45);
            values.push(f32::from(u8::from(dx * dx + dy * dy < 0.09)));
        }
    }
    Ok(Tensor::from_vec(values, (count, 1, h, w), run.device)?)
}

/// A network as training sees it.
pub(super) trait TrainedNet {
    type Net;
    fn rules(&self) -> ParameterRules;
    fn recipe(&self) -> Recipe;
    fn build(&self, vb: VarBuilder<'static>) -> candle_core::Result<Self::Net>;
    fn step(&self, net: &Self::Net, images: &Tensor, mask: &Tensor, train: bool) -> Result<Step>;
}

/// What a step gives.
pub(super) struct Step {
    /// The prediction's logits.
    pub(super) out: Tensor,
    /// Parts of the loss by the case's names.
    pub(super) parts: Vec<(String, Tensor)>,
    /// What is minimised.
    pub(super) loss: Tensor,
}

/// What the JSON says of a step.
#[derive(Deserialize)]
struct Expected {
    loss: f64,
    mean_bce: f64,
    weighted_bce_if_reduction_none: f64,
    /// Null: no gradient at all.
    grad_norms: BTreeMap<String, Option<f64>>,
    /// Numbers in all the weights that are trained, and in all that are not.
    trainable: u64,
    frozen: u64,
    #[serde(flatten)]
    parts: BTreeMap<String, f64>,
}

/// A step with batch norms in evaluation and one in train mode: losses, gradients, which weights get one, what AdamW makes of them.
pub(super) fn training<T: TrainedNet>(run: &mut Run<'_, '_>, trained: &T) -> Result<()> {
    let (images, masks) = (images(run)?, masks(run)?);
    run.checks.tensor("weit", &StructureLoss::weights(&masks)?);
    for (mode, train) in [("eval", false), ("train", true)] {
        let expected: Expected = field(run.case, &format!("values.{mode}"), &run.case.values[mode])?;
        let weights =
            TrainingWeights::new(run.case.generated("model")?.var_builder(DType::F32, run.device), trained.rules());
        let net = trained.build(weights.var_builder(DType::F32, run.device))?;
        let step = trained.step(&net, &images, &masks, train)?;
        check_losses(run.checks, mode, &step, &masks, &expected)?;
        check_gradients(run.checks, mode, &step, &weights, trained.recipe(), &expected)?;
        for (name, statistic) in weights.statistics() {
            run.checks.tensor(&format!("{mode}.bn.{name}"), statistic.as_tensor());
        }
    }
    Ok(())
}

fn check_losses(checks: &mut Checker<'_>, mode: &str, step: &Step, masks: &Tensor, expected: &Expected) -> Result<()> {
    checks.tensor(&format!("{mode}.out"), &step.out);
    let mean_bce = scalar(&binary_cross_entropy_with_logits(&step.out, masks)?.mean_all()?)?;
    // the two averages of the cross-entropy differ, the rest of the loss does not
    let with = |cross_entropy| scalar(&StructureLoss { cross_entropy }.forward(&step.out, masks)?);
    let weighted = with(CrossEntropy::Weighted)? - with(CrossEntropy::Plain)? + mean_bce;
    let numbers = [
        ("loss", scalar(&step.loss)?, expected.loss),
        ("mean_bce", mean_bce, expected.mean_bce),
        ("weighted_bce_if_reduction_none", weighted, expected.weighted_bce_if_reduction_none),
    ];
    for (name, ours, reference) in numbers {
        checks.number(&format!("{mode}.{name}"), ours, reference, 0.);
    }
    for (name, reference) in &expected.parts {
        let ours = step.parts.iter().find(|(part, _)| part == name);
        let ours = ours.map_or(Ok(f64::NAN), |(_, loss)| scalar(loss))?;
        checks.number(&format!("{mode}.{name}"), ours, *reference, 0.);
    }
    Ok(())
}

fn check_gradients(
    checks: &mut Checker<'_>,
    mode: &str,
    step: &Step,
    weights: &TrainingWeights,
    recipe: Recipe,
    expected: &Expected,
) -> Result<()> {
    let grads = step.loss.backward()?;
    let frozen = weights.frozen();
    let leaks: Vec<&str> = frozen.iter().filter(|(_, t)| grads.get(t).is_some()).map(|(n, _)| n.as_str()).collect();
    checks.fact(&format!("{mode}: frozen weights"), leaks.is_empty(), format!("with a gradient: {}", leaks.join(", ")));

    let elements = |shapes: Vec<usize>| shapes.into_iter().sum::<usize>() as u64;
    let frozen_elements = elements(frozen.iter().map(|(_, tensor)| tensor.elem_count()).collect());
    let mut trained = BTreeMap::new();
    for (group, vars) in weights.grouped() {
        let lr = recipe.learning_rate * group.lr_factor;
        let params = ParamsAdamW { lr, weight_decay: group.weight_decay, ..ParamsAdamW::default() };
        AdamW::new(vars.iter().map(|(_, var)| var.clone()).collect::<Vec<Var>>(), params)?.step(&grads)?;
        trained.extend(vars);
    }
    let trained_elements = elements(trained.values().map(|var| var.elem_count()).collect());
    checks.fact(
        &format!("{mode}: numbers trained and frozen"),
        (trained_elements, frozen_elements) == (expected.trainable, expected.frozen),
        format!("{trained_elements} and {frozen_elements}, expected {} and {}", expected.trainable, expected.frozen),
    );
    let same = trained.keys().eq(expected.grad_norms.keys());
    checks.fact(&format!("{mode}: parameters"), same, "the trained parameters are not those of the case");
    for (name, var) in &trained {
        let grad = grads.get(var);
        match (expected.grad_norms.get(name).copied().flatten(), grad) {
            (None, grad) => checks.fact(&format!("{mode}.{name}"), grad.is_none(), "a gradient, expected none"),
            (Some(norm), Some(grad)) => {
                let ours = scalar(&grad.sqr()?.sum_all()?.sqrt()?)?;
                checks.number(&format!("{mode}.grad_norms.{name}"), ours, norm, 0.);
                checks.tensor(&format!("{mode}.grad.{name}"), grad);
            }
            (Some(_), None) => checks.fact(&format!("{mode}.{name}"), false, "no gradient"),
        }
        checks.tensor(&format!("{mode}.after_step.{name}"), var.as_tensor());
    }
    Ok(())
}

fn scalar(x: &Tensor) -> candle_core::Result<f64> {
    x.to_dtype(DType::F64)?.to_scalar()
}
