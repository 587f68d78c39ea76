//! `sam2_train_loss`: the loss of SAM 2's training over several clicks, and its gradients.

use super::{Result, Run, field, scalar};
use candle_core::{Tensor, Var};
use seg_train::losses::FocalLoss;
use seg_train::sam2::{ClickPrediction, Objective};
use std::collections::BTreeMap;

/// Above this the picture belongs to an object.
const INSIDE: f64 = 0.62;

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let (case, device, inputs) = (run.case, run.device, run.inputs());
    let config = |name: &str| (format!("config.{name}"), &case.config[name]);
    let number = |name: &str| -> Result<f64> {
        let (at, value) = config(name);
        field(case, &at, value)
    };
    let size = |name: &str| -> Result<usize> {
        let (at, value) = config(name);
        field(case, &at, value)
    };
    let (objects, side) = (size("N")?, size("H")?);
    let choices: Vec<usize> = field(case, "config.masks_per_step", &case.config["masks_per_step"])?;
    let weights: BTreeMap<String, f64> = field(case, "config.weights", &case.config["weights"])?;
    let weight = |name: &str| weights.get(name).copied().unwrap_or(f64::NAN);
    let alpha = number("focal_alpha_obj_score")?;
    let objective = Objective {
        mask: weight("loss_mask"),
        dice: weight("loss_dice"),
        iou: weight("loss_iou"),
        class: weight("loss_class"),
        supervise_all_ious: field(case, "config.supervise_all_iou", &case.config["supervise_all_iou"])?,
        l1_ious: field(case, "config.iou_use_l1_loss", &case.config["iou_use_l1_loss"])?,
        object_scores: FocalLoss { alpha: (alpha >= 0.).then_some(alpha), gamma: number("focal_gamma_obj_score")? },
    };

    let mut masks = Vec::with_capacity(objects);
    for i in 0..objects {
        masks.push(inputs.tensor(&format!("input.gt.{i}"), |pattern| {
            let mask = pattern.clone().shifted(0.1 * i as f64).mask(side, side, INSIDE, device)?;
            // the last object is not in the picture
            if i + 1 == objects { mask.zeros_like() } else { Ok(mask) }
        })?);
    }
    let masks = Tensor::cat(&masks, 0)?; // [N, 1, H, W]
    let mut clicks = Vec::with_capacity(choices.len());
    let mut vars = Vec::with_capacity(choices.len());
    for (step, &count) in choices.iter().enumerate() {
        let var = |x: Tensor| Var::from_tensor(&x);
        let noise = inputs.noise(&format!("input.logits.{step}"), &[objects, count, side, side], 12.)?;
        let lean = masks.affine(4., -2.)?.affine((step as f64 + 1.) * 0.5, 0.)?;
        let logits = var(noise.broadcast_add(&lean)?)?;
        let ious = var(inputs.noise(&format!("input.ious.{step}"), &[objects, count], 1.)?.affine(1., 0.5)?)?;
        let scores = var(inputs.noise(&format!("input.obj.{step}"), &[objects, 1], 6.)?)?;
        clicks.push(ClickPrediction {
            masks: logits.as_tensor().clone(),
            ious: ious.as_tensor().clone(),
            object_scores: scores.as_tensor().clone(),
        });
        vars.push([("logits", logits), ("ious", ious), ("obj", scores)]);
    }
    let masks = masks.squeeze(1)?;
    let terms = objective.forward(&clicks, &masks)?;
    run.checks.tensor("gt", &masks);

    let expected: BTreeMap<String, f64> = field(case, "values.losses", &case.values["losses"])?;
    let found = [
        ("loss_mask", &terms.mask),
        ("loss_dice", &terms.dice),
        ("loss_iou", &terms.iou),
        ("loss_class", &terms.class),
        ("core_loss", &terms.total),
    ];
    for (name, term) in found {
        run.checks.number(name, scalar(term)?, expected.get(name).copied().unwrap_or(f64::NAN), 0.);
    }
    let grads = terms.total.backward()?;
    for (step, vars) in vars.iter().enumerate() {
        for (name, var) in vars {
            if let Some(grad) = grads.get(var) {
                run.checks.tensor(&format!("grad.{name}.{step}"), grad);
            }
        }
    }
    Ok(())
}
