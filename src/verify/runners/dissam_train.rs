//! `dissam_train`: one training step of IS-Net in DIS-SAM's form, with DIS-SAM's loss and with IS-Net's own, batch norms in train
//! mode and in evaluation.
//!
//! In train mode the deepest batch norms see as few as eight values a channel at the case's size. That makes the gradients, but not the
//! forward pass, sensitive to rounding: PyTorch's own gradient norms in float32 are off by 2 % from those in float64, and change by 0.5 % with the number of
//! threads and by 3 % with the memory layout. So every case in float32 is run in float64, too; what the difference is, the reference may be off as well. The
//! forward pass, losses and everything in evaluation mode have the usual tolerance, and so has everything of cases in float64
//! (`values.dtype`), which prove the same gradients without rounding.

use super::isnet::{planes, with_mask_and_box};
use super::{Result, Run, field, scalar};
use crate::verify::labels;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use detail_refine::{IsNet, IsNetConfig, IsNetGtConfig, IsNetGtEncoder, IsNetOutput};
use seg_golden::{Case, GeneratedWeights, Pattern, TrainableWeights};
use seg_train::dis_sam::Objective;
use seg_train::losses::{DichotomousLoss, FeatureDistance};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Gradients this small beside the largest are what rounding leaves of zero: a bias before a batch norm has none.
const ROUNDING: f64 = 1e-6;
/// The batch norm whose running statistics the case stores.
const WATCHED: &str = "stage1.rebnconvin.bn_s1";
/// Names of the other distances between features.
const OTHERS: [(&str, FeatureDistance); 3] =
    [("MAE", FeatureDistance::Mae), ("SmoothL1", FeatureDistance::SmoothL1), ("KL", FeatureDistance::Kl)];

/// What the JSON says of one step.
#[derive(Deserialize)]
struct Expected {
    target_loss: f64,
    loss_without_orth: f64,
    orth: f64,
    total: f64,
    grad_norms: BTreeMap<String, f64>,
    loss_without_orth_after_one_step: Option<f64>,
    #[serde(default)]
    other_losses: BTreeMap<String, f64>,
}

/// What the networks see.
struct Batch {
    images: Tensor,
    labels: Tensor,
}

/// What a step gives.
struct Step {
    output: IsNetOutput,
    encoded: Vec<Tensor>,
    first: f64,
    outputs: f64,
    orthogonality: f64,
    total: f64,
    grad_norms: BTreeMap<String, f64>,
    /// Losses after the step, by the features' distance: `MSE` and the [`OTHERS`].
    after: BTreeMap<&'static str, f64>,
    /// `mean` and `var` after two passes in train mode.
    statistics: BTreeMap<&'static str, Tensor>,
}

/// How far rounding moves what a step gives; all zero where it does nothing to speak of.
#[derive(Default)]
struct Spread {
    /// Part of a gradient's norm.
    gradients: f64,
    after: f64,
    statistics: f64,
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let case = run.case;
    let dtype = match case.values["dtype"].as_str() {
        None | Some("float32") => DType::F32,
        Some("float64") => DType::F64,
        Some(other) => {
            let problem = format!("{other:?}, expected \"float32\" or \"float64\"");
            return Err(case.field_error("values.dtype", problem).into());
        }
    };
    let batch = batch(case, run.device)?;
    run.checks.tensor("label", &batch.labels);
    let steps: BTreeMap<String, Expected> = field(case, "values.train", &case.values["train"])?;
    for (name, expected) in &steps {
        let (objective, train) = match name.split_once('.') {
            Some(("dissam", mode @ ("train" | "eval"))) => (Objective::DIS_SAM, mode == "train"),
            Some(("isnet_original_loss", mode @ ("train" | "eval"))) => (Objective::IS_NET, mode == "train"),
            _ => {
                run.checks.fact(name, false, "expected `dissam` or `isnet_original_loss` with `train` or `eval`");
                continue;
            }
        };
        let step = Step::new(case, &batch, objective, train, dtype)?;
        let spread = match train && dtype == DType::F32 {
            true => step.spread(&Step::new(case, &batch, objective, train, DType::F64)?)?,
            false => Spread::default(),
        };
        step.check(run, name, if train { "train" } else { "eval" }, expected, &spread);
    }
    Ok(())
}

impl Step {
    fn new(case: &Case, batch: &Batch, objective: Objective, train: bool, dtype: DType) -> Result<Self> {
        let generated = || GeneratedWeights::new(case.salt.clone());
        let device = batch.images.device();
        let (images, labels) = (batch.images.to_dtype(dtype)?, batch.labels.to_dtype(dtype)?);
        let weights = TrainableWeights::new(generated()).watch_statistics();
        let net = IsNet::new(&IsNetConfig::dis_sam(), weights.var_builder(dtype, device))?;
        // the official training leaves the frozen mask encoder in train mode
        let encoder = IsNetGtEncoder::new(&IsNetGtConfig::published(), generated().var_builder(dtype, device))?;
        let encoded = encoder.forward_t(&labels, train)?.features;

        let vars = weights.variables();
        let output = net.forward_t(&images, train)?;
        let named = vars.iter().map(|(name, var)| (name.as_str(), var.as_tensor()));
        let terms = objective.forward(&output, &labels, &encoded, named)?;
        let grads = terms.total.backward()?;
        let mut grad_norms = BTreeMap::new();
        for (name, var) in &vars {
            let norm = grads.get(var).map_or(Ok(f64::NAN), |grad| scalar(&grad.sqr()?.sum_all()?.sqrt()?))?;
            grad_norms.insert(name.clone(), norm);
        }

        let config = ParamsAdamW { lr: Objective::LEARNING_RATE, weight_decay: 0., ..ParamsAdamW::default() };
        AdamW::new(vars.into_iter().map(|(_, var)| var).collect::<Vec<Var>>(), config)?.step(&grads)?;
        let moved = net.forward_t(&images, train)?;
        let mut after = BTreeMap::new();
        for (name, features) in OTHERS.into_iter().chain([("MSE", FeatureDistance::Mse)]) {
            let loss = DichotomousLoss { features, ..objective.loss };
            let terms = loss.forward(&moved.probabilities, &labels, Some((&moved.features, &encoded)))?;
            after.insert(name, scalar(&terms.total)?);
        }
        let statistic = |name: &str| weights.statistic(&format!("{WATCHED}.running_{name}"));
        let statistics = ["mean", "var"].into_iter().filter_map(|name| Some((name, statistic(name)?))).collect();
        Ok(Self {
            output,
            encoded,
            first: scalar(&terms.first)?,
            outputs: scalar(&terms.outputs)?,
            orthogonality: terms.orthogonality.as_ref().map_or(Ok(0.), scalar)?,
            total: scalar(&terms.total)?,
            grad_norms,
            after,
            statistics,
        })
    }

    /// Below this, a gradient's norm is what rounding leaves of zero.
    fn floor(&self) -> f64 {
        ROUNDING * self.grad_norms.values().copied().fold(0., f64::max)
    }

    /// How far rounding has moved this step from the `exact` one: twice, for the reference is as far away on another side.
    fn spread(&self, exact: &Self) -> Result<Spread> {
        const TWO_ROUNDED: f64 = 2.;
        let floor = self.floor();
        let norms = self.grad_norms.iter().filter_map(|(name, norm)| Some((norm, *exact.grad_norms.get(name)?)));
        let relative = norms.filter(|(_, exact)| *exact > floor).map(|(norm, exact)| (norm - exact).abs() / exact);
        let after = self.after.iter().filter_map(|(name, loss)| Some((loss - exact.after.get(name)?).abs()));
        let mut statistics = 0f64;
        for (name, ours) in &self.statistics {
            if let Some(exact) = exact.statistics.get(name) {
                let difference = (ours.to_dtype(DType::F64)? - exact)?.abs()?.max_all()?;
                statistics = statistics.max(scalar(&difference)?);
            }
        }
        Ok(Spread {
            gradients: TWO_ROUNDED * relative.fold(0., f64::max),
            after: TWO_ROUNDED * after.fold(0., f64::max),
            statistics: TWO_ROUNDED * statistics,
        })
    }

    fn check(&self, run: &mut Run<'_, '_>, name: &str, mode: &str, e: &Expected, spread: &Spread) {
        let checks = &mut *run.checks;
        for (i, probabilities) in self.output.probabilities.iter().enumerate() {
            checks.tensor(&format!("{mode}.d{}", i + 1), probabilities);
        }
        for (i, feature) in self.encoded.iter().enumerate() {
            checks.tensor(&format!("{mode}.gtfeat{}", i + 1), feature);
        }
        checks.number(&format!("{name}.target_loss"), self.first, e.target_loss, 0.);
        checks.number(&format!("{name}.loss_without_orth"), self.outputs, e.loss_without_orth, 0.);
        checks.number(&format!("{name}.orth"), self.orthogonality, e.orth, 0.);
        checks.number(&format!("{name}.total"), self.total, e.total, 0.);

        let same = self.grad_norms.keys().eq(e.grad_norms.keys());
        checks.fact(&format!("{name}: parameters"), same, "the trainable parameters are not those of the case");
        for (parameter, &norm) in &self.grad_norms {
            let expected = e.grad_norms.get(parameter).copied().unwrap_or(f64::NAN);
            let floor = self.floor() + spread.gradients * expected.abs();
            checks.number(&format!("{name}.grad_norms.{parameter}"), norm, expected, floor);
        }

        let Some(after) = e.loss_without_orth_after_one_step else { return };
        let others = e.other_losses.iter().map(|(name, &loss)| (name.as_str(), loss));
        for (distance, expected) in others.chain([("MSE", after)]) {
            let loss = self.after.get(distance).copied().unwrap_or(f64::NAN);
            checks.number(&format!("{name}.after_one_step.{distance}"), loss, expected, spread.after);
        }
        if mode == "train" {
            for (statistic, value) in &self.statistics {
                checks.tensor_above(&format!("train.running_{statistic}_after"), value, spread.statistics);
            }
        }
    }
}

/// Images with mask and box as channels, `[B, 5, H, W]`, and labels `[B, 1, H, W]`. Unlike in other cases, images of a batch have
/// numbers from 0 and are not shifted.
fn batch(case: &Case, device: &Device) -> Result<Batch> {
    let [count, _, h, w]: [usize; 4] = field(case, "inputs.shape", &case.inputs["shape"])?;
    let image = |index: usize| {
        let pattern = Pattern::salted(&case.salt, &format!("input.image{index}"));
        pattern.map((3, h, w), device, |_, v| v - 0.5)
    };
    let images = Tensor::cat(&(0..count).map(image).collect::<candle_core::Result<Vec<_>>>()?, 0)?;
    let labels = planes(count, (h, w), device, |index| labels::training_label(&case.salt, index, h, w))?;
    Ok(Batch { images: with_mask_and_box(case, images)?, labels })
}
