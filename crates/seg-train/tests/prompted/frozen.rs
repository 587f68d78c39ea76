//! What is frozen costs nothing: no graph behind an encoder that stays as it is, no batch norm that moves.

use candle_core::{Device, Tensor};
use seg_data::training::procedural::{Procedural, Spec};
use seg_data::training::{Examples, Place};
use seg_train::learners::{Learner, inputs_at, learner};
use seg_train::recipe::Recipe;
use std::sync::Arc;

/// Pi-SAM on a TinyViT of a few channels: an encoder with batch norms.
const PI_SAM: &str = r#"
system = "pi-sam"
length = { steps = 1 }
[model]
encoder = { tiny_vit = { embed_dims = [8, 16, 16, 320], depths = [1, 1, 1, 1], num_heads = [1, 1, 1, 5], window_sizes = [4, 4, 4, 4], mlp_ratio = 1, mbconv_expand_ratio = 1, out_channels = 256 } }
image_size = 64
stage = "both"
[schedule]
lr = 1e-3
curve = { kind = "constant" }
"#;

fn build(changes: &[&str]) -> (Arc<dyn Learner>, Vec<Tensor>) {
    let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
    let recipe = Recipe::parse(PI_SAM, "test", &changes).unwrap();
    let learner = learner(&recipe, &Device::Cpu).unwrap();
    let spec = Spec::parse("size = 64\n[kinds]\ndisc = 1", "spec.toml").unwrap();
    let place = Place { seed: 1, epoch: 0, index: 0 };
    let example = Procedural::new(spec, None).unwrap().example(place).unwrap();
    let [_, plain] = recipe.transforms(learner.image_size()).unwrap();
    let prepared = plain.apply(example, place).unwrap();
    let inputs = inputs_at(learner.as_ref(), None, &prepared, place).unwrap();
    (learner, inputs)
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_frozen_encoder_keeps_no_activations() {
    let (learner, inputs) = build(&[]);
    assert_eq!(learner.frozen_encoder(), Some("image_encoder."));
    // its embedding, and all other inputs, have no operation behind them that a gradient could go through
    assert!(inputs.len() == 6 && inputs.iter().all(|input| !input.track_op()), "{}", inputs.len());
    assert!(learner.embedding(&inputs).unwrap().iter().all(|map| !map.track_op()));
    let grads = learner.loss(&inputs).unwrap().total.backward().unwrap();
    let encoder: Vec<_> =
        learner.weights().frozen().into_iter().filter(|(name, _)| name.starts_with("image_encoder.")).collect();
    assert!(encoder.len() > 50);
    for (name, tensor) in &encoder {
        assert!(grads.get(tensor).is_none(), "{name}");
    }
    for input in &inputs[..4] {
        assert!(grads.get(input).is_none());
    }
    for (name, var) in learner.weights().grouped().into_iter().flat_map(|(_, vars)| vars) {
        assert!(grads.get(&var).is_some(), "{name}");
    }

    // a thawed one is in the graph, and asked for no embedding
    let (learner, inputs) = build(&["rules.thaw=[\"image_encoder.*\"]"]);
    assert_eq!((learner.frozen_encoder(), inputs.len()), (None, 4));
    let grads = learner.loss(&inputs).unwrap().total.backward().unwrap();
    let learns = |(name, _): &(String, _)| name.starts_with("image_encoder.");
    for (name, var) in learner.weights().grouped().into_iter().flat_map(|(_, vars)| vars).filter(learns) {
        assert!(grads.get(&var).is_some(), "{name}");
    }
}

#[test]
fn frozen_norms_keep_their_statistics() {
    let (learner, inputs) = build(&[]);
    let weights = learner.weights();
    // they are frozen with the weights that they belong to: neither moved nor saved with every checkpoint
    assert!(weights.statistics().is_empty());
    let statistic = |(name, tensor): (String, Tensor)| name.ends_with(".running_var").then(|| (name, numbers(&tensor)));
    let statistics = || weights.frozen().into_iter().filter_map(statistic).collect::<Vec<_>>();
    let before = statistics();
    assert!(before.len() > 10);
    let first = numbers(&learner.embedding(&inputs).unwrap()[0]);
    learner.loss(&inputs).unwrap().total.backward().unwrap();
    assert_eq!(statistics(), before);
    assert_eq!(numbers(&learner.embedding(&inputs).unwrap()[0]), first);
}

#[test]
fn chance_follows_from_the_place_alone() {
    let (learner, inputs) = build(&[]);
    let total = |inputs: &[Tensor]| numbers(&learner.loss(inputs).unwrap().total)[0];
    assert_eq!(total(&inputs), total(&inputs));
    let mut elsewhere = inputs.clone();
    elsewhere[3] = Tensor::new(&[[5u32, 6]], &Device::Cpu).unwrap();
    assert_ne!(total(&inputs), total(&elsewhere));
    // a row's share does not depend on the others of its batch
    let both: Vec<Tensor> = inputs.iter().zip(&elsewhere).map(|(a, b)| Tensor::cat(&[a, b], 0).unwrap()).collect();
    let mean = (total(&inputs) + total(&elsewhere)) / 2.;
    assert!((total(&both) - mean).abs() < 1e-4 * mean.abs(), "{} {mean}", total(&both));
}
