//! `pisam_clicksim`: the wrong regions of masks, and the clicks on them.
//!
//! Which pixel of a region is clicked is random in the original; here the case's pixels are checked to lie in the regions that we find, and
//! everything else to agree.

use super::{Result, Run, field, labels_shape};
use crate::verify::labels::barred_mask;
use candle_core::Tensor;
use seg_golden::inputs::{ellipse, filled};
use seg_models::pi_sam::{ClickMode, ClickSimulation, SimulatedClick, TorchGenerator, stack_clicks};

/// The factor of the logits' noise, as the JSON says in words.
const NOISE: f32 = 0.5;

/// What the model of the case took for the object in image `index`, 0 or 1 a pixel: an ellipse away from the label, the label itself, an ellipse very close
/// to it and without its bar.
fn prediction(salt: &str, index: usize, h: usize, w: usize) -> Vec<u8> {
    match index % 3 {
        0 => ellipse((0.5, 0.5), (0.33, 0.2), h, w),
        1 => barred_mask(salt, index, h, w),
        _ => ellipse((0.45, 0.56), (0.295, 0.25), h, w),
    }
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let (batch, h, w) = labels_shape(case)?;
    let stored = |name: &str| case.stored_input(name, &candle_core::Device::Cpu);
    let labels: Vec<f32> = match stored("input.labels") {
        Some(stored) => stored?.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1()?,
        None => (0..batch).flat_map(|i| barred_mask(&case.salt, i, h, w)).map(|v| f32::from(v) * 255.).collect(),
    };
    let logits: Vec<f32> = match stored("input.logit") {
        Some(stored) => stored?.flatten_all()?.to_vec1()?,
        None => {
            let noise = filled("input.logit_noise", &[batch, 1, h, w], &case.salt, NOISE, &candle_core::Device::Cpu)?;
            let inside = (0..batch).flat_map(|i| prediction(&case.salt, i, h, w));
            let noise = noise.flatten_all()?.to_vec1::<f32>()?;
            inside.zip(noise).map(|(inside, noise)| 8. * f32::from(inside) - 4. + noise).collect()
        }
    };
    run.checks.tensor("labels", &Tensor::from_slice(&labels, (batch, 1, h, w), device)?);
    run.checks.tensor("logit", &Tensor::from_slice(&logits, (batch, 1, h, w), device)?);

    let rules = ClickSimulation::default();
    let expected: Vec<Vec<(usize, i64)>> =
        field(case, "values.regions_area_flag_sorted", &case.values["regions_area_flag_sorted"])?;
    let mut random = TorchGenerator::new(0);
    let (mut missing, mut excess, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for (i, (logits, labels)) in logits.chunks_exact(h * w).zip(labels.chunks_exact(h * w)).enumerate() {
        let (width, height) = (w as u32, h as u32);
        let found = rules.regions(logits, Some(labels), width, height)?;
        // equals in any order
        let mut sizes: Vec<(usize, i64)> = found.regions.iter().map(|(p, fg)| (p.len(), i64::from(*fg))).collect();
        sizes.sort_by_key(|&region| std::cmp::Reverse(region));
        let mut wanted = expected.get(i).cloned().unwrap_or_default();
        wanted.sort_by_key(|&region| std::cmp::Reverse(region));
        run.checks.fact(&format!("regions.{i}"), sizes == wanted, format!("{sizes:?}, expected {wanted:?}"));

        if let Some((pixels, _)) = found.regions.first() {
            let mut region = vec![0f32; h * w];
            pixels.iter().for_each(|&at| region[at] = 1.);
            run.checks.tensor(&format!("largest_region.{i}"), &Tensor::from_slice(&region, (h, w), device)?);
        }
        let clicks = rules.clicks(logits, Some(labels), (width, height), ClickMode::Evaluation, &mut random)?;
        // ours is in the largest region; the original's, too: checked with ours in its place
        let inside = clicks.iter().all(|c| found.regions[0].0.contains(&(c.row * w + c.column)));
        run.checks.fact(&format!("click.{i}"), inside, "our click is not in the largest region");
        rows.push((clicks, found.regions.into_iter().next()));
        missing.extend(found.missing.into_iter().map(f32::from));
        excess.extend(found.excess.into_iter().map(f32::from));
    }
    run.checks.tensor("fg_block", &Tensor::from_vec(missing, (batch, 1, h, w), device)?);
    run.checks.tensor("bg_block", &Tensor::from_vec(excess, (batch, 1, h, w), device)?);

    let mut clicks: Vec<Vec<SimulatedClick>> = Vec::new();
    for (i, (ours, region)) in rows.into_iter().enumerate() {
        let theirs = original_click(run, i, rules.max_points, (h, w));
        clicks.push(match (theirs, region) {
            (Some((row, column)), Some((pixels, foreground))) if pixels.contains(&(row * w + column)) => {
                vec![SimulatedClick { row, column, foreground }]
            }
            _ => ours,
        });
    }
    let (stacked, valid) = stack_clicks(&clicks, (h, w), rules.max_points, device)?;
    run.checks.tensor("points", &stacked.coords);
    run.checks.tensor("flags", &stacked.flags);
    if let Some(ignored) = &stacked.ignored {
        run.checks.tensor("attn_mask", ignored);
    }
    run.checks.tensor("valid", &valid);
    Ok(())
}

/// The pixel that the original clicked first in image `index`.
fn original_click(run: &Run<'_, '_>, index: usize, points: usize, (h, w): (usize, usize)) -> Option<(usize, usize)> {
    let all = run.case.stored_values("points")?;
    let at = |i: usize, side: usize| all.get(index * points * 2 + i).map(|v| (v * side as f64).round() as usize);
    Some((at(0, h)?, at(1, w)?))
}
