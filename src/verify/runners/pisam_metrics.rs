//! `pisam_metrics`: Pi-SAM's box prompt and the measures of its validation.

use super::{Result, Run, field, labels_shape};
use crate::verify::labels::barred_mask;
use candle_core::{Device, Tensor};
use seg_golden::inputs::filled;
use seg_models::pi_sam::{boundary_iou, label_box, mask_iou};
use seg_ops::Resize;
use std::collections::BTreeMap;

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let (batch, h, w) = labels_shape(case)?;
    let labels: Vec<f32> =
        (0..batch).flat_map(|i| barred_mask(&case.salt, i, h, w)).map(|v| f32::from(v) * 255.).collect();
    run.checks.tensor("labels", &Tensor::from_slice(&labels, (batch, 1, h, w), device)?);
    let corners: Vec<f32> = labels.chunks_exact(h * w).flat_map(|l| label_box(l, w).unwrap_or_default()).collect();
    run.checks.tensor("boxes", &Tensor::from_vec(corners, (batch, 4), device)?);

    let noise = filled("input.metric_logits", &[batch, 1, h, w], &case.salt, 4., &Device::Cpu)?;
    let noise = noise.flatten_all()?.to_vec1::<f32>()?;
    let logits: Vec<f32> = noise.iter().zip(&labels).map(|(noise, label)| noise + label / 255. * 6. - 3.).collect();
    let logits = Tensor::from_vec(logits, (batch, 1, h, w), &Device::Cpu)?;
    // predictions of a quarter of the label's size are enlarged again
    let small = seg_ops::resize(&logits, (h / 4, w / 4), &Resize::bilinear())?;
    let resized = seg_ops::resize(&small, (h, w), &Resize::bilinear())?;
    let expected: BTreeMap<String, f64> = field(case, "values.values", &case.values["values"])?;
    for (logits, suffix) in [(logits, ""), (resized, "_resized")] {
        let logits = logits.flatten_all()?.to_vec1::<f32>()?;
        let pairs = || logits.chunks_exact(h * w).zip(labels.chunks_exact(h * w));
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / batch as f64;
        let iou = mean(pairs().map(|(a, b)| mask_iou(a, b)).collect());
        let boundary = mean(pairs().map(|(a, b)| boundary_iou(a, b, w)).collect());
        for (name, value) in [("iou", iou), ("boundary_iou", boundary)] {
            let name = format!("{name}{suffix}");
            if let Some(&expected) = expected.get(&name) {
                run.checks.number(&name, value, expected, 0.);
            }
        }
    }
    Ok(())
}
