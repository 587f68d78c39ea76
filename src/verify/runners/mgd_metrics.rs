//! `mgd_metrics`: the metrics of MGD-SAM2's validation, on probabilities as floats.

use super::{Result, Run, field};
use candle_core::{Device, Tensor};
use seg_golden::Pattern;
use seg_metrics::{Accumulator, Evaluator, Plane, Prepared, Protocol, Scores};
use std::collections::BTreeMap;

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let case = run.case;
    let sizes: Vec<(usize, usize)> = field(case, "config.sizes", &case.config["sizes"])?;
    let expected: Vec<BTreeMap<String, f64>> = field(case, "values.per_image", &case.values["per_image"])?;
    let evaluator = Evaluator::all(Protocol::mgd_sam2());
    let protocol = evaluator.protocol();
    let mut of_maxima = Accumulator::new(protocol.clone(), evaluator.metrics().to_vec(), false);
    let mut of_mean = Accumulator::new(Protocol::pysodmetrics(), evaluator.metrics().to_vec(), false);
    for (i, (&(height, width), expected)) in sizes.iter().zip(&expected).enumerate() {
        let (pred, gt) = images(run, i, (height, width))?;
        for (name, image) in [("pred", &pred), ("gt", &gt)] {
            run.checks.tensor(&format!("{name}.{i}"), &Tensor::from_slice(image, (height, width), run.device)?);
        }
        let gt: Vec<u8> = gt.iter().map(|&v| (v * 255.) as u8).collect();
        let gt = Plane::new(&gt, width, height)?;
        let scores = evaluator.measure_prepared(&Prepared::from_floats(&pred, gt, protocol)?);
        for (theirs, ours) in [
            ("maxf", "fmeasure.max"),
            ("adpf", "fmeasure.adp"),
            ("meanf", "fmeasure.mean"),
            ("wfm", "wfm_beta0.3"),
            ("em", "emeasure.mean"),
            ("adpe", "emeasure.adp"),
            ("sm", "smeasure.sm"),
            ("mae", "mae"),
        ] {
            let value = scores.value(ours).unwrap_or(f64::NAN);
            run.checks.number(&format!("{theirs}.{i}"), value, expected.get(theirs).copied().unwrap_or(f64::NAN), 0.);
        }
        curves(run, i, &scores)?;
        of_maxima.add(&i.to_string(), &scores)?;
        of_mean.add(&i.to_string(), &scores)?;
    }
    for (name, all) in [("mean_of_max_F", of_maxima), ("max_of_mean_F", of_mean)] {
        let expected: f64 = field(case, &format!("values.{name}"), &case.values[name])?;
        let found = all.aggregate()?.values.get("fmeasure.max").copied().unwrap_or(f64::NAN);
        run.checks.number(name, found, expected, 0.);
    }
    Ok(())
}

/// Prediction and ground truth of image `i`: stored, or made of its name as the JSON says.
fn images(run: &Run<'_, '_>, i: usize, (height, width): (usize, usize)) -> Result<(Vec<f32>, Vec<f32>)> {
    let stored = |name: &str| run.case.stored_input(name, &Device::Cpu);
    let image = |name: String, generate: &dyn Fn(&str) -> Vec<f32>| -> Result<Vec<f32>> {
        match stored(&name) {
            Some(tensor) => Ok(tensor?.flatten_all()?.to_vec1()?),
            None => Ok(generate(&name)),
        }
    };
    let content =
        |name: &str, shift: f64| Pattern::salted(&run.case.salt, name).shifted(shift).content01(1, height, width);
    let pred = image(format!("input.pred.{i}"), &|name| match i {
        2 => vec![0.3; height * width],
        _ => content(name, 0.03 * i as f64).iter().map(|&v| v as f32).collect(),
    })?;
    let gt = image(format!("input.gt.{i}"), &|name| {
        content(name, 0.02 * i as f64).iter().map(|&v| f32::from(u8::from(v > 0.6))).collect()
    })?;
    Ok((pred, gt))
}

fn curves(run: &mut Run<'_, '_>, i: usize, scores: &Scores) -> Result<()> {
    for (theirs, ours) in [("fm_curve", "fmeasure.curve"), ("em_curve", "emeasure.curve")] {
        let curve: Vec<f32> = scores.curve(ours).unwrap_or_default().iter().map(|&v| v as f32).collect();
        run.checks.tensor(&format!("{theirs}.{i}"), &Tensor::from_slice(&curve, curve.len(), run.device)?);
    }
    Ok(())
}
