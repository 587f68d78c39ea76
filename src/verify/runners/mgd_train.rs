//! The training step of MGD-SAM2: losses, gradients, which weights get one, what AdamW makes of them; batch norms in evaluation and in train mode.
//!
//! Gradients of DRM's small weights are sums over all pixels that nearly cancel: single elements are a thousandth of the terms. So the step is also run in
//! float64, and what rounding moves an element of a gradient by, the reference may be off as well.

use super::unet_family::{images, masks};
use super::{Result, Run, field, scalar};
use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};
use multiview_fusion::{PositionTable, ViewGrid};
use seg_checkpoints::TrainingWeights;
use seg_layers::Unobserved;
use seg_models::mgd_sam2::{MgdSam2, MgdSam2Config, MgdSam2Output};
use seg_train::mgd_sam2::{Objective, Recipe, Terms};
use seg_train::optim::{Adam, AdamParams, Gradients};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Gradients this small beside the largest are what rounding leaves of zero: keys' biases shift all scores alike, biases before batch norms in train
/// mode do nothing.
const ROUNDING: f64 = 1e-6;

/// What the JSON says of a step.
#[derive(Deserialize)]
struct Expected {
    loss: BTreeMap<String, f64>,
    /// Null: no gradient at all.
    grad_norms: BTreeMap<String, Option<f64>>,
    n_group_lr0_1: usize,
    n_group_lr1: usize,
    trainable_params: u64,
}

pub(super) fn run(run: &mut Run<'_, '_>, config: &MgdSam2Config) -> Result<()> {
    let (images, masks) = (images(run)?, masks(run)?);
    run.checks.tensor("views_mask", &ViewGrid::MGD_SAM2.split_masks(&masks)?);
    check_groups(run, &field(run.case, "values.eval", &run.case.values["eval"])?)?;
    for (mode, train) in [("eval", false), ("train", true)] {
        let expected: Expected = field(run.case, &format!("values.{mode}"), &run.case.values[mode])?;
        let step = |dtype: DType| -> Result<Step> {
            let source = run.case.generated("model")?.var_builder(dtype, run.device);
            let weights = TrainingWeights::new(source, MgdSam2::parameter_rules());
            let model = MgdSam2::new(config, weights.var_builder(dtype, run.device))?;
            let mut table = PositionTable::first_call();
            let output = model.forward_t(&images.to_dtype(dtype)?, &mut table, train, &mut Unobserved)?;
            let terms = Objective::MGD_SAM2.forward(&output, &masks.to_dtype(dtype)?)?;
            let grads = terms.total.backward()?;
            Ok(Step { weights, output, terms, grads })
        };
        let exact = step(DType::F64)?.gradients()?;
        let step = step(DType::F32)?;
        run.checks.tensor(&format!("{mode}.pred_mask"), &step.output.masks);
        run.checks.tensor(&format!("{mode}.pred_mask_aux"), &step.output.view_masks);
        check_losses(run, mode, &step.terms, &expected)?;
        check_gradients(run, mode, &step, &exact, &expected)?;
        for (name, statistic) in step.weights.statistics() {
            run.checks.tensor(&format!("{mode}.bn.{name}"), statistic.as_tensor());
        }
    }
    Ok(())
}

/// A forward and a backward pass.
struct Step {
    weights: TrainingWeights,
    output: MgdSam2Output,
    terms: Terms,
    grads: GradStore,
}

impl Step {
    /// The gradients by name, float64.
    fn gradients(&self) -> Result<BTreeMap<String, Tensor>> {
        let vars = self.weights.grouped().into_iter().flat_map(|(_, vars)| vars);
        let found = vars.filter_map(|(name, var)| Some((name, self.grads.get(&var)?.to_dtype(DType::F64))));
        Ok(found.map(|(name, grad)| Ok((name, grad?))).collect::<candle_core::Result<_>>()?)
    }
}

/// The rules, applied to the official state dict, make the official groups.
fn check_groups(run: &mut Run<'_, '_>, expected: &Expected) -> Result<()> {
    let Some(official) = run.case.official("model") else { return Ok(()) };
    let rules = MgdSam2::parameter_rules();
    let table = rules.table(official.iter().map(|named| (named.name.as_str(), named.shape.as_slice())));
    let groups: Vec<(String, usize, u64)> = rules
        .groups()
        .iter()
        .zip(&table)
        .map(|(group, row)| (group.name.to_string(), row.names.len(), row.elements()))
        .collect();
    let count = |name: &str| groups.iter().find(|group| group.0 == name).map_or(0, |group| group.1);
    let trained = groups.iter().map(|group| group.2).sum::<u64>();
    let found = (count("pretrained"), count("new"), trained);
    let wanted = (expected.n_group_lr0_1, expected.n_group_lr1, expected.trainable_params);
    run.checks.fact("groups", found == wanted, format!("{found:?}, expected {wanted:?}"));
    Ok(())
}

fn check_losses(run: &mut Run<'_, '_>, mode: &str, terms: &Terms, expected: &Expected) -> Result<()> {
    let ours = [
        ("loss_G", &terms.total),
        ("loss_G_aux", &terms.views),
        ("bce", &terms.cross_entropy),
        ("iou", &terms.iou),
        ("aux_bce", &terms.views_cross_entropy),
        ("aux_iou", &terms.views_iou),
    ];
    for (name, &reference) in &expected.loss {
        let loss = ours.iter().find(|(ours, _)| ours == name).map_or(Ok(f64::NAN), |(_, loss)| scalar(loss))?;
        run.checks.number(&format!("{mode}.loss.{name}"), loss, reference, 0.);
    }
    Ok(())
}

fn check_gradients(
    run: &mut Run<'_, '_>,
    mode: &str,
    step: &Step,
    exact: &BTreeMap<String, Tensor>,
    expected: &Expected,
) -> Result<()> {
    const TWO_ROUNDED: f64 = 2.;
    let checks = &mut *run.checks;
    let Step { weights, grads, .. } = step;
    let frozen = weights.frozen();
    let leaks: Vec<&str> = frozen.iter().filter(|(_, t)| grads.get(t).is_some()).map(|(n, _)| n.as_str()).collect();
    checks.fact(&format!("{mode}: frozen weights"), leaks.is_empty(), format!("with a gradient: {}", leaks.join(", ")));

    let groups = weights.grouped();
    let trained: BTreeMap<_, _> = groups.iter().flat_map(|(_, vars)| vars.clone()).collect();
    let floor = ROUNDING * expected.grad_norms.values().flatten().copied().fold(0., f64::max);
    for (name, reference) in &expected.grad_norms {
        let grad = trained.get(name).and_then(|var| grads.get(var));
        match (reference, grad) {
            (None, grad) => checks.fact(&format!("{mode}.{name}"), grad.is_none(), "a gradient, expected none"),
            (Some(norm), Some(grad)) => {
                let ours = scalar(&grad.sqr()?.sum_all()?.sqrt()?)?;
                checks.number(&format!("{mode}.grad_norms.{name}"), ours, *norm, floor);
                let spread = match exact.get(name) {
                    Some(exact) => scalar(&(grad.to_dtype(DType::F64)? - exact)?.abs()?.max_all()?)?,
                    None => 0.,
                };
                checks.tensor_above(&format!("{mode}.grad.{name}"), grad, TWO_ROUNDED * spread);
            }
            // torch hands out zeros where a slice was left out
            (Some(norm), None) => checks.fact(&format!("{mode}.{name}"), *norm == 0., "no gradient"),
        }
    }
    let unknown: Vec<&str> =
        trained.keys().filter(|name| !expected.grad_norms.contains_key(*name)).map(String::as_str).collect();
    checks.fact(&format!("{mode}: parameters"), unknown.is_empty(), format!("not in the case: {}", unknown.join(", ")));

    let gradients = Gradients::of(grads, trained.values())?;
    Adam::new(groups, AdamParams::default())?.step(&gradients, Recipe::DIS.learning_rate, 1.)?;
    for (name, var) in &trained {
        checks.tensor(&format!("{mode}.after_step.{name}"), var.as_tensor());
    }
    Ok(())
}
