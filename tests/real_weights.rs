//! Real weights on real photos, compared with what the official implementations answered.
//!
//! Runs where `HRSEG_TEST_WEIGHTS` names a folder with `mobile_sam.pt`, `sam2_hiera_tiny_image.safetensors`,
//! `isnet_general_use.safetensors`, or some of them.
//! The masks of `tests/data/references` are compared with; where `HRSEG_TEST_REFERENCE` names a folder with `truck.jpg`,
//! `truck.json`, `truck.<case>.png` and `truck.safetensors`, those too.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use common::{Sandbox, json, photo, repository};
use hrseg::prelude::*;
use serde_json::Value;

/// A folder named by an environment variable. Without it the test has nothing to do, and says so, past the capture of
/// the test harness.
fn folder(variable: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os(variable).filter(|v| !v.is_empty()) else {
        println!("skipped: set {variable} to the folder that has them");
        let line = format!("real_weights: skipped: set {variable} to the folder that has them\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
        return None;
    };
    let folder = PathBuf::from(folder);
    assert!(folder.is_dir(), "{variable}: {} is no folder", folder.display());
    Some(folder)
}

/// The models that references are of: the name there, ours, the file.
const MODELS: [(&str, &str, &str); 2] =
    [("mobile_sam", "mobile-sam", "mobile_sam.pt"), ("sam2_tiny", "sam2-tiny", "sam2_hiera_tiny_image.safetensors")];

/// Model and weights for a case such as `mobile_sam.0`, if the weights are there.
fn model_of(case: &str, weights: &Path) -> Option<(&'static str, PathBuf)> {
    let (_, model, file) = MODELS.into_iter().find(|(prefix, ..)| case.split('.').next() == Some(prefix))?;
    let file = weights.join(file);
    if !file.is_file() {
        println!("skipped: {case}: no {}", file.display());
        return None;
    }
    Some((model, file))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn prompts(case: &Value) -> Prompts {
    let prompt = &case["prompt"];
    let mut prompts = Prompts { multimask: prompt["multimask"] == true, ..Prompts::default() };
    for (point, label) in
        prompt["points"].as_array().into_iter().flatten().zip(prompt["labels"].as_array().into_iter().flatten())
    {
        let xy = numbers(point);
        prompts.points.push(Point { x: xy[0] as f32, y: xy[1] as f32, positive: *label == 1 });
    }
    if prompt["box"].is_array() {
        prompts.bbox = Some(std::array::from_fn(|i| numbers(&prompt["box"])[i] as f32));
    }
    prompts
}

fn arguments(prompts: &Prompts) -> Vec<String> {
    let mut args = Vec::new();
    for Point { x, y, positive } in &prompts.points {
        args.extend(["--point".to_owned(), format!("{x},{y}:{}", u8::from(*positive))]);
    }
    if let Some([x0, y0, x1, y1]) = prompts.bbox {
        args.extend(["--box".to_owned(), format!("{x0},{y0},{x1},{y1}")]);
    }
    args.extend(prompts.multimask.then(|| "--multimask".to_owned()));
    args
}

/// Runs the command for every case of `<folder>/<stem>.json` on `image` and compares; how many were compared.
fn compare_command(folder: &Path, stem: &str, image: &Path, weights: &Path) -> usize {
    let reference = json(&folder.join(format!("{stem}.json")));
    let mut compared = 0;
    for (case, expected) in reference["cases"].as_object().unwrap() {
        let Some((model, file)) = model_of(case, weights) else { continue };
        let sandbox = Sandbox::new();
        let mut command = sandbox.command(&["segment", "--device", "cpu", "--model", model, "--format", "mask,rle"]);
        command.arg("--weights").arg(file).args(arguments(&prompts(expected))).arg(image);
        common::Run::from(command.output().unwrap()).exits(0);

        let record = json(&sandbox.path(&format!("out/{stem}.json")));
        assert_eq!([&record["width"], &record["height"]], [&reference["size_wh"][0], &reference["size_wh"][1]]);
        let masks = record["masks"].as_array().unwrap();
        let (ious, shares) = (numbers(&expected["iou"]), numbers(&expected["area_share"]));
        assert_eq!(masks.len(), ious.len(), "{case}");
        assert_eq!(masks[0]["index"], expected["best"], "{case}: the best mask");
        let mut worst = [0f64; 2];
        for mask in masks {
            let index = mask["index"].as_u64().unwrap() as usize;
            worst[0] = worst[0].max((mask["predicted_iou"].as_f64().unwrap() - ious[index]).abs());
            worst[1] = worst[1].max((mask["area_share"].as_f64().unwrap() - shares[index]).abs());
        }
        let overlap = iou(&sandbox.path(&format!("out/{stem}.mask.png")), &folder.join(format!("{stem}.{case}.png")));
        println!(
            "{stem} {case}: IoUs within {:.1e}, areas within {:.1e}, best mask IoU {overlap:.6}",
            worst[0], worst[1]
        );
        assert!(worst[0] <= 1e-3, "{case}: predicted IoUs differ by {}", worst[0]);
        assert!(worst[1] <= 1e-4, "{case}: area shares differ by {}", worst[1]);
        assert!(overlap >= 0.999, "{case}: the best mask's IoU with the reference is {overlap}");
        compared += 1;
    }
    compared
}

/// Intersection over union of two mask images.
fn iou(a: &Path, b: &Path) -> f64 {
    let rle = |path: &Path| {
        let mask = load_mask(path, &DecodeLimits::default()).unwrap().levels;
        Rle::encode(&seg_data::mask::to_binary(&mask), mask.width(), mask.height()).unwrap()
    };
    rle(a).iou(&rle(b)).unwrap()
}

#[test]
fn a_free_photo() {
    let Some(weights) = folder("HRSEG_TEST_WEIGHTS") else { return };
    let references = repository("tests/data/references");
    if model_of("mobile_sam", &weights).is_some() {
        assert_eq!(compare_command(&references, "coffee", &photo("coffee.jpg"), &weights), 2);
    }
}

#[test]
fn the_truck() {
    let (Some(weights), Some(reference)) = (folder("HRSEG_TEST_WEIGHTS"), folder("HRSEG_TEST_REFERENCE")) else {
        return;
    };
    let compared = compare_command(&reference, "truck", &reference.join("truck.jpg"), &weights);
    assert!(compared > 0, "{}: none of the models' weights", weights.display());
}

/// Largest difference of `ours` from `reference`, in standard deviations of the reference.
fn deviation(ours: &Tensor, reference: &Tensor) -> f64 {
    assert_eq!(ours.dims(), reference.dims());
    let list = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (ours, reference) = (list(ours), list(reference));
    let n = reference.len() as f64;
    let mean = reference.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let variance = reference.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    let worst = ours.iter().zip(&reference).map(|(a, b)| f64::from(a - b).abs()).fold(0., f64::max);
    worst / variance.sqrt()
}

/// `[1, C, h, w]` at every 4th row and column.
fn every_4th(t: &Tensor) -> Tensor {
    let rows = |size: usize| Tensor::arange_step(0u32, size as u32, 4, &Device::Cpu).unwrap();
    let (_, _, h, w) = t.dims4().unwrap();
    t.contiguous().unwrap().index_select(&rows(h), 2).unwrap().index_select(&rows(w), 3).unwrap()
}

/// The numbers before they become masks, embeddings and low-resolution logits, within the bound of the golden cases.
#[test]
fn the_trucks_numbers() {
    let (Some(weights), Some(reference)) = (folder("HRSEG_TEST_WEIGHTS"), folder("HRSEG_TEST_REFERENCE")) else {
        return;
    };
    let cases = json(&reference.join("truck.json"))["cases"].clone();
    let stored = candle_core::safetensors::load(reference.join("truck.safetensors"), &Device::Cpu).unwrap();
    let image = load_image(reference.join("truck.jpg"), &DecodeLimits::default()).unwrap().image;
    for (prefix, name, _) in MODELS {
        let Some((_, file)) = model_of(prefix, &weights) else { continue };
        let options = LoadOptions { dtype: DType::F32, device: Device::Cpu, ..LoadOptions::default() };
        let (model, report) = name.parse::<ModelName>().unwrap().load(&file, &options).unwrap();
        assert!(report.is_ok(), "{report}");
        let embedded = EmbeddedImage::new(&*model, &image).unwrap();
        let key = if prefix == "mobile_sam" { "mobile_sam.embedding" } else { "sam2_tiny.image_embed" };
        let worst = deviation(&every_4th(&embedded.embedding().image_embed), &stored[key]);
        println!("{key}: {worst:.1e} standard deviations at most");
        assert!(worst < 2e-4, "{key}: {worst} standard deviations");
        for (case, expected) in cases.as_object().unwrap().iter().filter(|(case, _)| case.starts_with(prefix)) {
            let prediction = embedded.predict(&prompts(expected)).unwrap();
            let worst = deviation(&prediction.low_res_masks, &stored[&format!("{case}.low_res_logits")]);
            println!("{case}.low_res_logits: {worst:.1e} standard deviations at most");
            assert!(worst < 2e-4, "{case}: low-resolution logits differ by {worst} standard deviations");
        }
    }
}

/// IS-Net's probability map of the truck: the output at every 4th pixel, and the stretched map that the official code saves.
#[test]
fn the_truck_by_is_net() {
    use hrseg::seg_models::is_net::IsNetPredictor;

    let (Some(weights), Some(reference)) = (folder("HRSEG_TEST_WEIGHTS"), folder("HRSEG_TEST_REFERENCE")) else {
        return;
    };
    let file = weights.join("isnet_general_use.safetensors");
    if !file.is_file() {
        println!("skipped: no {}", file.display());
        return;
    }
    let (net, report) = IsNetPredictor::load(&file, &LoadOptions::default()).unwrap();
    assert!(report.is_ok(), "{report}");
    let image = load_image(reference.join("truck.jpg"), &DecodeLimits::default()).unwrap().image;
    let map = net.predict(&image).unwrap();
    assert_eq!(map.size(), image.dimensions());

    let expected = load_image(reference.join("truck.isnet.png"), &DecodeLimits::default()).unwrap().image;
    let bytes = map.to_bytes();
    let errors = bytes.iter().zip(expected.pixels()).map(|(&a, b)| u64::from(a.abs_diff(b.0[0])));
    let (worst, sum) = errors.fold((0, 0), |(worst, sum), e| (e.max(worst), sum + e));
    let mae = sum as f64 / bytes.len() as f64 / 255.;
    println!("truck by IS-Net: mean absolute error {mae:.2e}, worst {worst} of 255");
    assert!(mae < 1e-3, "mean absolute error {mae}");
}

/// Where the original IS-Net stands in for DIS-SAM's second stage, and where it must not.
#[test]
fn two_stages_and_the_wrong_checkpoints() {
    use hrseg::seg_models::dis_sam::{DisSamRefiner, Source, Surroundings, TwoStage};
    use hrseg::seg_models::is_net::IsNetPredictor;

    let Some(weights) = folder("HRSEG_TEST_WEIGHTS") else { return };
    let (is_net, sam) = (weights.join("isnet_general_use.safetensors"), weights.join("mobile_sam.pt"));
    if !is_net.is_file() || !sam.is_file() {
        println!("skipped: no {} or no {}", is_net.display(), sam.display());
        return;
    }
    let options = LoadOptions::default();
    let text = DisSamRefiner::load(&is_net, &options).map(drop).unwrap_err().to_string();
    assert!(text.contains("looks like is-net (IS-Net), expected dis-sam"), "{text}");
    let text = IsNetPredictor::load(&sam, &options).map(drop).unwrap_err().to_string();
    assert!(text.contains("looks like mobile-sam (MobileSAM), expected is-net"), "{text}");

    let (sam, _) = ModelName::MobileSam.load(&sam, &options).unwrap();
    let two_stage = TwoStage::sam_is_net(IsNetPredictor::load(&is_net, &options).unwrap().0, Surroundings::default());
    let image = load_image(photo("rocket.jpg"), &DecodeLimits::default()).unwrap().image;
    let embedding = sam.embed(&image).unwrap();
    let refine = |corners| two_stage.predict_embedded(&*sam, &image, &embedding, &Prompts::bbox(corners)).unwrap();
    let rocket = refine([305., 120., 340., 412.]);
    assert_eq!(rocket.probability.size(), image.dimensions());
    println!("the rocket: agreement {:.3}", rocket.agreement());
    assert!(rocket.agreement() > 0.7, "{}", rocket.agreement());

    // a lattice tower, whose coarse mask takes the sky between the beams for tower
    let tower = refine([185., 160., 240., 420.]);
    let pixels = tower.coarse.mask.as_raw().iter().zip(tower.probability.values());
    let (coarse, kept) = pixels
        .filter(|(c, _)| **c != 0)
        .fold((0u32, 0u32), |(all, kept), (_, p)| (all + 1, kept + u32::from(*p > 0.5)));
    println!("the tower: {kept} of {coarse} pixels of the coarse mask are left");
    assert!(kept * 4 < coarse * 3 && kept * 4 > coarse, "{kept} of {coarse}");

    // the coarse mask of the cup lacks a part of its saucer, which IS-Net sees whole
    let image = load_image(photo("coffee.jpg"), &DecodeLimits::default()).unwrap().image;
    let cup = two_stage.predict(&*sam, &image, &Prompts::point(300., 200.)).unwrap();
    let at = |x: u32, y: u32| cup.probability.values()[(y * image.width() + x) as usize];
    assert_eq!(cup.coarse.mask.get_pixel(440, 200).0, [0], "what the coarse mask lacks");
    assert!(at(440, 200) > 0.9 && at(430, 180) > 0.9, "the saucer: {}, {}", at(440, 200), at(430, 180));
    assert_eq!(cup.verdict.unwrap().source, Source::OneObject);
    // the cup in it, where a click says that the rest is not meant
    let part = Prompts {
        points: vec![Point { x: 300., y: 200., positive: true }, Point { x: 440., y: 200., positive: false }],
        ..Default::default()
    };
    let part = two_stage.predict(&*sam, &image, &part).unwrap();
    assert_ne!(part.verdict.unwrap().source, Source::OneObject);

    // the table around it is nothing that IS-Net sees: it stays as it was given
    let mut table = cup.probability.to_image().unwrap();
    table.pixels_mut().for_each(|p| p.0[0] = if p.0[0] < 128 { 255 } else { 0 });
    let refined = two_stage.refine_mask(&image, &table).unwrap();
    assert_eq!(refined.verdict.unwrap().source, Source::FirstStage);
    assert_eq!(refined.probability.to_image().unwrap(), table);
}
