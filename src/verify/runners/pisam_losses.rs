//! `pisam_losses`: the mask losses at sampled points, with the random numbers that the case's names generate.

use super::{Result, Run, field};
use crate::verify::labels::barred_mask;
use candle_core::{Device, Shape, Tensor};
use seg_golden::fill::uniform;
use seg_golden::inputs::filled;
use seg_train::losses::{PointSampledMaskLoss, sample_points};
use seg_train::random::Uniform;
use std::collections::BTreeMap;

/// The factor of the logits, as the JSON says in words.
const LOGITS: f32 = 6.;
const BATCH: usize = 2;

/// `input.rand0`, `input.rand1`, … one after the other.
pub(super) struct NamedRandom {
    pub(super) salt: String,
    pub(super) next: usize,
}

impl NamedRandom {
    pub(super) fn new(salt: &str) -> Self {
        Self { salt: salt.to_string(), next: 0 }
    }
}

impl Uniform for NamedRandom {
    fn uniform(&mut self, shape: &Shape, device: &Device) -> candle_core::Result<Tensor> {
        let name = format!("{}input.rand{}", self.salt, self.next);
        self.next += 1;
        let values: Vec<f32> = uniform(&name, shape.elem_count()).into_iter().map(|u| u as f32).collect();
        Tensor::from_vec(values, shape, device)
    }
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let size: usize = field(case, "inputs.size", &case.inputs["size"])?;
    let logits = filled("input.logits", &[BATCH, 1, size, size], &case.salt, LOGITS, device)?;
    let labels: Vec<f32> =
        (0..BATCH).flat_map(|image| barred_mask(&case.salt, image, size, size)).map(f32::from).collect();
    let labels = Tensor::from_vec(labels, (BATCH, 1, size, size), device)?;

    let loss = PointSampledMaskLoss::default();
    let points = loss.points(&logits, &mut NamedRandom::new(&case.salt))?;
    run.checks.tensor("point_coords", &points);
    run.checks.tensor("point_logits", &sample_points(&logits, &points)?.unsqueeze(1)?);
    run.checks.tensor("point_labels", &sample_points(&labels, &points)?.unsqueeze(1)?);

    let expected: BTreeMap<String, f64> = field(case, "values.losses", &case.values["losses"])?;
    let first_only = Tensor::new(&[1f32, 0.], device)?;
    for (valid, suffix) in [(None, ""), (Some(&first_only), "_valid10")] {
        let losses = loss.forward(&logits, &labels, valid, &mut NamedRandom::new(&case.salt))?;
        for (name, loss) in [("loss_mask", &losses.mask), ("loss_dice", &losses.dice)] {
            let name = format!("{name}{suffix}");
            match expected.get(&name) {
                Some(&expected) => run.checks.number(&name, f64::from(loss.to_scalar::<f32>()?), expected, 0.),
                None => run.checks.fact(&name, false, "the case gives no such loss"),
            }
        }
    }
    Ok(())
}
