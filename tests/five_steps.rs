//! Five steps of the authors' training and five of ours, from the same weights on the same pictures: the loop as `hrseg train` runs it, with the recipe that
//! comes with it, its optimiser, its groups and its schedule.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

use candle_core::{Device, Tensor};
use hrseg::seg_golden::fill::fill_tensor;
use hrseg::seg_golden::{Pattern, inputs::ellipse};
use seg_data::training::transform::Transforms;
use seg_data::training::{Example, Examples, Place, Source};
use seg_ops::Alone;
use seg_train::learners::learner;
use seg_train::recipe::Recipe;
use seg_train::run::{Run, Scores, Stepped, Watch};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What the official code gave.
#[derive(Deserialize)]
struct Golden {
    recipe: String,
    model: serde_json::Value,
    inputs: Inputs,
    steps: Vec<Step>,
    /// Official names with shapes and types.
    state_dict: Vec<(String, Vec<usize>, String)>,
}

#[derive(Deserialize)]
struct Inputs {
    side: usize,
    batch: usize,
    steps_per_epoch: usize,
}

#[derive(Deserialize)]
struct Step {
    loss: f64,
    /// Before the groups' factors.
    rate: f64,
    /// Of all gradients, as one vector.
    norm: f64,
    /// The part of the loss that MGD-SAM2's views have.
    views: Option<f64>,
}

/// The pictures by their number.
struct Pictures(usize);

impl Examples for Pictures {
    fn len(&self) -> Option<u64> {
        None
    }

    fn example(&self, place: Place) -> seg_data::Result<Example> {
        let (side, i) = (self.0, place.index as f64);
        let name = if place.index == 0 { "input.image".to_owned() } else { format!("input.image.{}", place.index) };
        let image = Pattern::new(&name).shifted(0.04 * i).image_u8(side, side);
        let inside = ellipse((0.4 + 0.02 * i, 0.45), (0.29, 0.29), side, side);
        Ok(Example {
            name,
            image: image::RgbImage::from_raw(side as u32, side as u32, image).unwrap(),
            mask: seg_data::mask::from_binary(&inside, side as u32, side as u32)?,
            prompt: None,
        })
    }

    fn digest(&self) -> seg_data::Result<String> {
        Ok("five steps".into())
    }
}

#[derive(Default)]
struct Steps(Vec<f64>);

impl Watch for Steps {
    fn note(&mut self, _: &str) {}

    fn stepped(&mut self, step: &Stepped) {
        self.0.push(step.loss.expect("a loss"));
    }

    fn measured(&mut self, _: u64, _: &Scores) {}
}

fn check(name: &str) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let golden: Golden = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let start = dir.path().join("start.safetensors");
    let weights: HashMap<&str, Tensor> = golden
        .state_dict
        .iter()
        .filter(|(_, _, dtype)| dtype != "int64")
        .map(|(name, shape, _)| (name.as_str(), fill_tensor(name, shape.clone(), "", &Device::Cpu).unwrap()))
        .collect();
    candle_core::safetensors::save(&weights, &start).unwrap();

    let Inputs { side, batch, steps_per_epoch } = golden.inputs;
    let changes = [
        format!("model={}", toml_value(&golden.model)),
        format!("start={{ weights = {:?} }}", start.to_str().unwrap()),
        format!("length={{ steps = {} }}", golden.steps.len()),
        format!("data={{ batch = {batch}, epoch = {} }}", batch * steps_per_epoch),
    ];
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes").join(format!("{}.toml", golden.recipe));
    let recipe = Recipe::parse(&std::fs::read_to_string(file).unwrap(), &golden.recipe, &changes).unwrap();
    let learner = learner(&recipe, &Device::Cpu).unwrap();
    let fresh = learner.begun().unwrap().fresh;
    assert!(fresh.is_empty(), "not among the official weights: {fresh:?}");

    let as_it_is = Transforms { steps: Vec::new() };
    let run = Run {
        recipe,
        learner,
        data: Source::Pictures(Arc::new(Pictures(side))),
        transforms: as_it_is.clone(),
        plain: as_it_is,
        validation: None,
        embeddings: None,
        out: dir.path().join("run"),
        group: Arc::new(Alone),
    };
    let mut steps = Steps::default();
    run.train(false, &AtomicBool::new(false), &mut steps).unwrap();

    let log = std::fs::read_to_string(run.out.join("log.jsonl")).unwrap();
    let lines: Vec<BTreeMap<String, f64>> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), steps.0.len()), (golden.steps.len(), golden.steps.len()));
    for (number, (line, expected)) in lines.iter().zip(&golden.steps).enumerate() {
        let near = |what: &str, ours: f64, theirs: f64, tolerance: f64| {
            let off = (ours - theirs).abs() / theirs.abs();
            assert!(off <= tolerance, "step {}: {what} is {ours}, official {theirs}, off by {off:.1e}", number + 1);
        };
        assert_eq!(line["train/loss"], steps.0[number]);
        near("the loss", line["train/loss"], expected.loss, 1e-4);
        near("the rate", line["train/lr"], expected.rate, 1e-9);
        near("the norm of the gradients", line["train/norm"], expected.norm, 1e-3);
        if let Some(views) = expected.views {
            near("the views' loss", line["train/loss_views"], views, 1e-4);
        }
    }
}

/// JSON as a value of TOML on one line.
fn toml_value(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key} = {}", toml_value(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

#[test]
fn sam2_unext_takes_the_official_steps() {
    check("sam2-unext/unext_toy_five_steps_128.json");
}

#[test]
fn mgd_sam2_takes_the_official_steps() {
    check("mgd-sam2/mgd_toy_five_steps_128.json");
}
