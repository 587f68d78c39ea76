//! `dissam_train`: one training step of IS-Net in DIS-SAM's form, with DIS-SAM's loss and with IS-Net's own, batch norms in train
//! mode and in evaluation.

use super::isnet::planes;
use super::{Result, Run, field};
use crate::verify::labels;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use detail_refine::{IsNet, IsNetConfig, IsNetGtConfig, IsNetGtEncoder, IsNetOutput};
use seg_golden::{Case, GeneratedWeights, Pattern, TrainableWeights};
use seg_train::losses::{DichotomousLoss, FeatureDistance, orthogonality};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Factor of the orthogonality, and the learning rate (`train_valid_inference_main.py`).
const ORTHOGONALITY: f64 = 1e-8;
const LEARNING_RATE: f64 = 4e-5;
/// Gradients this small beside the largest are what rounding leaves of zero: a bias before a batch norm has none.
const ROUNDING: f64 = 1e-6;
/// The batch norm whose running statistics the case stores.
const WATCHED: &str = "stage1.rebnconvin.bn_s1";

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

/// IS-Net's state and what it made of the batch.
struct Network {
    weights: TrainableWeights,
    net: IsNet,
    encoded: IsNetOutput,
    train: bool,
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let case = run.case;
    let batch = batch(case, run.device)?;
    run.checks.tensor("label", &batch.labels);
    let steps: BTreeMap<String, Expected> = field(case, "values.train", &case.values["train"])?;
    for (name, expected) in &steps {
        let (loss, mode) = match name.split_once('.') {
            Some(("dissam", mode)) => (DichotomousLoss::DIS_SAM, mode),
            Some(("isnet_original_loss", mode)) => (DichotomousLoss::IS_NET, mode),
            _ => {
                run.checks.fact(name, false, "expected `dissam` or `isnet_original_loss` with `train` or `eval`");
                continue;
            }
        };
        step(run, &batch, name, mode, loss, expected)?;
    }
    Ok(())
}

fn step(
    run: &mut Run<'_, '_>,
    batch: &Batch,
    name: &str,
    mode: &str,
    loss: DichotomousLoss,
    e: &Expected,
) -> Result<()> {
    let network = Network::new(run.case, batch, mode == "train", run.device)?;
    let output = network.net.forward_t(&batch.images, network.train)?;
    for (i, probabilities) in output.probabilities.iter().enumerate() {
        run.checks.tensor(&format!("{mode}.d{}", i + 1), probabilities);
    }
    for (i, feature) in network.encoded.features.iter().enumerate() {
        run.checks.tensor(&format!("{mode}.gtfeat{}", i + 1), feature);
    }
    let terms = loss.forward(&output.probabilities, &batch.labels, network.features(&output))?;
    let mut number = |what: &str, actual: &Tensor, expected: f64| -> Result<()> {
        run.checks.number(&format!("{name}.{what}"), scalar(actual)?, expected, 0.);
        Ok(())
    };
    number("target_loss", &terms.first, e.target_loss)?;
    number("loss_without_orth", &terms.total, e.loss_without_orth)?;
    let mut total = terms.total;
    let vars = network.weights.variables();
    if e.orth != 0. {
        let weights = vars.iter().filter(|(name, _)| !name.contains("bias")).map(|(_, var)| var.as_tensor());
        let orthogonality = (orthogonality(weights)? * ORTHOGONALITY)?;
        number("orth", &orthogonality, e.orth)?;
        total = (total + orthogonality)?;
    }
    number("total", &total, e.total)?;

    let grads = total.backward()?;
    let floor = ROUNDING * e.grad_norms.values().copied().fold(0., f64::max);
    run.checks.fact(
        &format!("{name}: parameters"),
        vars.iter().map(|(name, _)| name).eq(e.grad_norms.keys()),
        "the trainable parameters are not those of the case",
    );
    for (parameter, var) in &vars {
        let norm = grads.get(var).map_or(Ok(f64::NAN), |grad| scalar(&grad.sqr()?.sum_all()?.sqrt()?))?;
        let expected = e.grad_norms.get(parameter).copied().unwrap_or(f64::NAN);
        run.checks.number(&format!("{name}.grad_norms.{parameter}"), norm, expected, floor);
    }

    if let Some(after) = e.loss_without_orth_after_one_step {
        let config = ParamsAdamW { lr: LEARNING_RATE, weight_decay: 0., ..ParamsAdamW::default() };
        AdamW::new(vars.iter().map(|(_, var)| var.clone()).collect::<Vec<Var>>(), config)?.step(&grads)?;
        let output = network.net.forward_t(&batch.images, network.train)?;
        let with = |features: FeatureDistance| -> Result<f64> {
            let loss = DichotomousLoss { features, ..loss };
            scalar(&loss.forward(&output.probabilities, &batch.labels, network.features(&output))?.total)
        };
        run.checks.number(&format!("{name}.after_one_step"), with(loss.features)?, after, 0.);
        let others =
            [("MAE", FeatureDistance::Mae), ("SmoothL1", FeatureDistance::SmoothL1), ("KL", FeatureDistance::Kl)];
        for (key, features) in others {
            if let Some(&expected) = e.other_losses.get(key) {
                run.checks.number(&format!("{name}.{key}"), with(features)?, expected, 0.);
            }
        }
        if network.train {
            for (output, statistic) in [("mean", "running_mean"), ("var", "running_var")] {
                if let Some(value) = network.weights.statistic(&format!("{WATCHED}.{statistic}")) {
                    run.checks.tensor(&format!("train.running_{output}_after"), &value);
                }
            }
        }
    }
    Ok(())
}

impl Network {
    fn new(case: &Case, batch: &Batch, train: bool, device: &Device) -> Result<Self> {
        let generated = || GeneratedWeights::new(case.salt.clone());
        let weights = TrainableWeights::new(generated()).watch_statistics();
        let net = IsNet::new(&IsNetConfig::dis_sam(), weights.var_builder(DType::F32, device))?;
        // the official training leaves the frozen mask encoder in train mode
        let encoder = IsNetGtEncoder::new(&IsNetGtConfig::published(), generated().var_builder(DType::F32, device))?;
        let encoded = encoder.forward_t(&batch.labels, train)?;
        Ok(Self { weights, net, encoded, train })
    }

    fn features<'a>(&'a self, output: &'a IsNetOutput) -> Option<(&'a [Tensor], &'a [Tensor])> {
        Some((&output.features, &self.encoded.features))
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
    let mask = |index| labels::mask(&case.salt, index, h, w);
    let masks = planes(count, (h, w), device, mask)?;
    let boxes = planes(count, (h, w), device, |index| labels::open_box(&mask(index), w))?;
    let labels = planes(count, (h, w), device, |index| labels::training_label(&case.salt, index, h, w))?;
    Ok(Batch { images: Tensor::cat(&[images, masks, boxes], 1)?, labels })
}

fn scalar(x: &Tensor) -> Result<f64> {
    Ok(x.to_dtype(DType::F64)?.to_scalar()?)
}
