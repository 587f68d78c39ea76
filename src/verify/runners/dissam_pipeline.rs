//! `dissam_pipeline`: DIS-SAM's ways from images to the network's input and from its output to masks and measures.

use super::{Result, Run, field};
use crate::verify::labels::barred;
use candle_core::{DType, Device, Tensor};
use seg_data::GrayImage;
use seg_data::geometry::extent;
use seg_data::mask::otsu_threshold;
use seg_golden::fill::uniform;
use seg_golden::inputs::ellipse;
use seg_models::dis_sam::{ValidationMeasures, demo_input, training_input};
use seg_models::is_net::ProbabilityMap;
use seg_ops::{Layout, Pool2dParams, avg_pool2d};

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let (h, w, _): (usize, usize, usize) = field(case, "inputs.u8", &case.inputs["u8"])?;
    let photo = run.inputs().photo("input.u8", Some((h, w)))?;
    let truth = mask_image(&barred(ground_truth(&case.salt, h, w), h, w), (h, w));
    let coarse = mask_image(&coarse(&case.salt, h, w), (h, w));

    let size = case.output("loader.image").and_then(|o| o.shape.last().copied()).unwrap_or(1024);
    let (input, label) = training_input(&photo, &coarse, &truth, size, device)?;
    run.checks.tensor("loader.image", &input);
    run.checks.tensor("loader.label", &label);
    run.checks.tensor("loader.mask", &input.narrow(1, 3, 1)?);
    run.checks.tensor("loader.box", &input.narrow(1, 4, 1)?);
    box_extent(run, &input.narrow(1, 4, 1)?, size)?;
    run.checks.tensor("demo.input", &demo_input(&photo, &coarse, size, device)?);

    let output = network_output(run, size)?;
    run.checks.tensor("post.d0", &output);
    let map = ProbabilityMap::from_output(&output, (w as u32, h as u32))?;
    run.checks.tensor("post.norm", &Tensor::new(map.values(), device)?.reshape((h, w))?);
    let bytes = map.to_bytes();
    let threshold = otsu_threshold(&bytes);
    let area = map.otsu_mask()?.as_raw().iter().filter(|v| **v != 0).count();
    run.checks.tensor("post.u8", &Tensor::from_vec(bytes, (h, w), device)?);
    number(run, "demo_otsu_threshold", f64::from(threshold))?;
    number(run, "demo_otsu_area", area as f64)?;

    let levels: Vec<f32> = map.values().iter().map(|v| v * 255.).collect();
    let measures = ValidationMeasures::of_image(&levels, truth.as_raw())?;
    for (name, curve) in [("pre", &measures.precision), ("rec", &measures.recall), ("f1", &measures.f_measure)] {
        run.checks.tensor(&format!("metric.{name}"), &Tensor::new(curve.as_slice(), device)?.unsqueeze(0)?);
    }
    number(run, "mae", measures.mae)?;
    number(run, "max_f1_single", f64::from(measures.max_f_measure()))?;
    number(run, "max_f1_from_mean_pr", ValidationMeasures::max_f_measure_of_means(&[measures]))
}

/// One of the JSON's numbers.
fn number(run: &mut Run<'_, '_>, name: &str, actual: f64) -> Result<()> {
    let expected: f64 = field(run.case, &format!("values.values.{name}"), &run.case.values["values"][name])?;
    run.checks.number(name, actual, expected, 0.);
    Ok(())
}

/// Rows and columns of the box, as the JSON has them: the first and the last one.
fn box_extent(run: &mut Run<'_, '_>, channel: &Tensor, size: usize) -> Result<()> {
    let inside: Vec<u8> = channel.flatten_all()?.to_vec1::<f32>()?.into_iter().map(|v| u8::from(v > 0.)).collect();
    let [x0, y0, x1, y1] = extent(&inside, size as u32, size as u32)?.unwrap_or_default();
    for (name, found) in [("box_rows", [y0, y1.saturating_sub(1)]), ("box_cols", [x0, x1.saturating_sub(1)])] {
        let expected: [u32; 2] = field(run.case, name, &run.case.values["values"][name])?;
        run.checks.fact(name, found == expected, format!("{found:?}, expected {expected:?}"));
    }
    Ok(())
}

/// What stands for the network's output: noise, smoothed.
fn network_output(run: &Run<'_, '_>, size: usize) -> Result<Tensor> {
    let name = format!("{}input.d0", run.case.salt);
    let noise: Vec<f32> = uniform(&name, size * size).into_iter().map(|u| u as f32).collect();
    let smooth = Pool2dParams { kernel: 9, stride: 1, padding: 4, ceil_mode: false, layout: Layout::Nchw };
    let noise = Tensor::from_vec(noise, (1, 1, size, size), &Device::Cpu)?.to_dtype(DType::F32)?;
    Ok(avg_pool2d(&noise, &smooth)?.to_device(run.device)?)
}

fn ground_truth(salt: &str, h: usize, w: usize) -> Vec<u8> {
    if salt.is_empty() { ellipse((0.45, 0.55), (0.3, 0.25), h, w) } else { ellipse((0.52, 0.4), (0.3, 0.35), h, w) }
}

fn coarse(salt: &str, h: usize, w: usize) -> Vec<u8> {
    if salt.is_empty() { ellipse((0.47, 0.53), (0.28, 0.26), h, w) } else { ellipse((0.5, 0.42), (0.33, 0.33), h, w) }
}

fn mask_image(mask: &[u8], (h, w): (usize, usize)) -> GrayImage {
    GrayImage::from_fn(w as u32, h as u32, |x, y| [mask[y as usize * w + x as usize] * 255].into())
}
