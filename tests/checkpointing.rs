//! Recipes with and without `checkpointing`: the same loss, the same running statistics, the same answers to the bit, and the same gradients: to the bit, too, but in systems on Hiera,
//! whose stages' gradients have three parts that are added in another order. (`five_steps.rs` holds two of these, checkpointed, to the official steps.)
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

use candle_core::{Device, Tensor};
use hrseg::seg_golden::{Pattern, inputs::ellipse};
use seg_data::training::transform::Transforms;
use seg_data::training::{Example, ExamplePrompt, Place};
use seg_train::learners::learner;
use seg_train::recipe::Recipe;
use std::collections::BTreeMap;
use std::path::Path;

/// What a pass gives, as bits by name.
type Bits = BTreeMap<String, Vec<u32>>;

fn bits(t: &Tensor) -> Vec<u32> {
    t.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

fn pass(recipe: &str, checkpointing: bool) -> Bits {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("recipes/small/{recipe}.toml"));
    let changes = [format!("checkpointing={checkpointing}")];
    let recipe = Recipe::parse(&std::fs::read_to_string(file).unwrap(), recipe, &changes).unwrap();
    let learner = learner(&recipe, &Device::Cpu).unwrap();
    let side = learner.image_size();
    let image = Pattern::new("input.image").image_u8(side, side);
    let mask = seg_data::mask::from_binary(&ellipse((0.4, 0.5), (0.3, 0.2), side, side), side as u32, side as u32);
    let mask = mask.unwrap();
    let prompt = ExamplePrompt { coarse: Some(mask.clone()), ..ExamplePrompt::default() };
    let image = image::RgbImage::from_raw(side as u32, side as u32, image).unwrap();
    let example = Example { name: "one".into(), image, mask, prompt: Some(prompt) };
    let place = Place { seed: 0, epoch: 0, index: 0 };
    let inputs = learner.inputs(&Transforms { steps: Vec::new() }.apply(example, place).unwrap()).unwrap();
    let inputs: Vec<Tensor> =
        inputs.iter().map(|x| Tensor::cat(&[x, &x.affine(0.9, 0.05).unwrap()], 0).unwrap()).collect();

    let loss = learner.loss(&inputs).unwrap().total;
    let gradients = loss.backward().unwrap();
    let mut all = Bits::from([("loss".to_owned(), bits(&loss))]);
    for (name, var) in learner.weights().grouped().iter().flat_map(|(_, vars)| vars) {
        all.extend(gradients.get(var).map(|grad| (format!("gradient of {name}"), bits(grad))));
    }
    all.extend(learner.weights().statistics().iter().map(|(name, var)| (name.clone(), bits(var.as_tensor()))));
    // and what it answers afterwards
    all.insert("answer".into(), bits(&learner.predict(&inputs).unwrap()));
    all
}

fn check(recipe: &str) {
    let (kept, again) = (pass(recipe, false), pass(recipe, true));
    assert!(kept.len() > 100 && kept.keys().eq(again.keys()), "{recipe}");
    let other: Vec<&String> = kept.keys().filter(|name| kept[*name] != again[*name]).collect();
    assert!(other.is_empty(), "{recipe}: {other:?}");
}

/// The same but for the order in which gradients are added: each to `most` of its own largest number.
fn check_nearly(recipe: &str, most: f32) {
    let (kept, again) = (pass(recipe, false), pass(recipe, true));
    assert!(kept.len() > 100 && kept.keys().eq(again.keys()), "{recipe}");
    for (name, bits) in kept.iter().filter(|(name, _)| kept[*name] != again[*name]) {
        assert!(name.starts_with("gradient of "), "{recipe}: {name}");
        let [kept, again] =
            [bits, &again[name]].map(|bits| bits.iter().map(|bits| f32::from_bits(*bits)).collect::<Vec<_>>());
        let largest = kept.iter().fold(0f32, |most, value| most.max(value.abs()));
        let furthest = kept.iter().zip(&again).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(furthest <= most * largest, "{recipe}: {name}: {furthest} of {largest}");
    }
}

#[test]
fn sam2_unet() {
    check_nearly("sam2-unet", 1e-5);
}

#[test]
fn sam2_unext() {
    check_nearly("sam2-unext", 1e-5);
}

#[test]
fn mgd_sam2() {
    check_nearly("mgd-sam2", 1e-5);
}

#[test]
fn is_net() {
    check("is-net");
}

#[test]
fn dis_sam() {
    check("dis-sam");
}
