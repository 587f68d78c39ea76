//! Checkpoints that transformers saved. The names on both sides were made by the conversion scripts of transformers itself, and those of its
//! SAM 2 are the ones that `Sam2VideoModel.save_pretrained` of 4.57 and 5.24 writes.
#![allow(clippy::unwrap_used)] // in tests a panic is the report, in their helpers too

use candle_core::{Device, Tensor};
use seg_checkpoints::{Checkpoint, write_safetensors};
use std::collections::BTreeMap;

/// Family, transformers' name, the authors' name.
const NAMES: &str = include_str!("data/transformers_names.txt");

fn save(tensors: &BTreeMap<String, Tensor>) -> Checkpoint {
    let dir = tempfile::tempdir().unwrap();
    // as `save_pretrained` leaves it: opened by its folder
    write_safetensors(dir.path().join("model.safetensors"), tensors, &BTreeMap::new()).unwrap();
    Checkpoint::open(dir.path()).unwrap()
}

/// A table of `rows` rows of 3, from `first` on.
fn numbers(first: f32, rows: usize) -> Tensor {
    Tensor::arange(first, first + (3 * rows) as f32, &Device::Cpu).unwrap().reshape((rows, 3)).unwrap()
}

fn file(tensors: &[(&str, f32, usize)]) -> Checkpoint {
    save(&tensors.iter().map(|&(name, first, rows)| (name.to_owned(), numbers(first, rows))).collect())
}

#[track_caller]
fn holds(checkpoint: &Checkpoint, name: &str, expected: &Tensor) {
    let found = checkpoint.tensor(name, &Device::Cpu).unwrap();
    assert_eq!(checkpoint.get(name).unwrap().shape, expected.dims(), "{name}");
    assert_eq!(found.to_vec2::<f32>().unwrap(), expected.to_vec2::<f32>().unwrap(), "{name}");
}

fn pairs(family: &str) -> Vec<(&'static str, &'static str)> {
    let lines = NAMES.lines().filter_map(|line| line.strip_prefix(family)?.strip_prefix(' ')?.split_once(' '));
    lines.collect()
}

#[test]
fn every_name_has_its_counterpart() {
    for (family, signed, at_least) in
        [("sam", "SamModel", 90), ("sam2", "Sam2VideoModel", 180), ("dinov2", "Dinov2Model", 24)]
    {
        let pairs = pairs(family);
        assert!(pairs.len() >= at_least, "{family}: {}", pairs.len());
        let made = |number: usize| numbers(number as f32, 1);
        let theirs = pairs.iter().enumerate().map(|(i, (name, _))| ((*name).to_owned(), made(i))).collect();
        let checkpoint = save(&theirs);
        let mut expected: Vec<&str> = pairs.iter().map(|(_, authors)| *authors).collect();
        expected.sort_unstable();
        assert_eq!(checkpoint.keys().collect::<Vec<_>>(), expected, "{family}");
        for (number, (_, authors)) in pairs.iter().enumerate() {
            holds(&checkpoint, authors, &made(number));
        }
        assert!(checkpoint.transformers().unwrap().contains(signed), "{family}");
        let renamed = pairs.iter().filter(|(theirs, authors)| theirs != authors).count();
        let note = format!("{renamed} tensors of transformers'");
        assert!(checkpoint.notes()[0].contains(&note), "{note}: {:?}", checkpoint.notes());
    }
}

#[test]
fn query_key_and_value_are_one_again() {
    let saved = ["attention.attention.query", "attention.attention.key", "attention.attention.value"];
    let in_memory = ["attention.q_proj", "attention.k_proj", "attention.v_proj"];
    for (before, [query, key, value]) in [("", saved), ("dinov2.", saved), ("", in_memory)] {
        let name = |part: &str| format!("{before}encoder.layer.0.{part}");
        let checkpoint = file(&[
            (&name("layer_scale1.lambda1"), 100., 1),
            (&name(&format!("{key}.weight")), 6., 2),
            (&name(&format!("{value}.weight")), 12., 2),
            (&name(&format!("{query}.weight")), 0., 2),
            (&name("mlp.up_proj.weight"), 3., 1),
            (&name("mlp.gate_proj.weight"), 0., 1),
        ]);
        let expected = ["blocks.0.attn.qkv.weight", "blocks.0.ls1.gamma", "blocks.0.mlp.w12.weight"];
        assert_eq!(checkpoint.keys().collect::<Vec<_>>(), expected);
        holds(&checkpoint, expected[0], &numbers(0., 6));
        holds(&checkpoint, expected[2], &numbers(0., 2));
    }
}

/// A part that is not there, or does not fit, is not made up: its fellows keep their names, for the report of what is missing.
#[test]
fn parts_that_do_not_fit_stay_apart() {
    let name = |part: &str| format!("encoder.layer.0.{part}");
    let (query, value) = (name("attention.attention.query.bias"), name("attention.attention.value.bias"));
    let checkpoint = file(&[(&name("layer_scale1.lambda1"), 0., 1), (&query, 0., 1), (&value, 0., 1)]);
    assert_eq!(checkpoint.keys().collect::<Vec<_>>(), ["blocks.0.ls1.gamma", query.as_str(), value.as_str()]);
}

#[test]
fn the_rows_of_sam2_s_points_are_tensors() {
    let sign = ("vision_encoder.backbone.blocks.0.attn.qkv.weight", 0., 1);
    let checkpoint = file(&[sign, ("prompt_encoder.point_embed.weight", 10., 4)]);
    assert_eq!(checkpoint.tensors().len(), 5);
    for row in 0..4 {
        let name = format!("sam_prompt_encoder.point_embeddings.{row}.weight");
        holds(&checkpoint, &name, &numbers(10. + 3. * row as f32, 1));
    }
    // the encoder alone (`Sam2VisionModel`), and SAM's points, which are apart already
    let alone = file(&[("backbone.patch_embed.projection.weight", 0., 1), ("neck.convs.0.weight", 3., 1)]);
    let expected = ["image_encoder.neck.convs.0.conv.weight", "image_encoder.trunk.patch_embed.proj.weight"];
    assert_eq!(alone.keys().collect::<Vec<_>>(), expected);
    let sign = ("vision_encoder.layers.0.attn.qkv.weight", 0., 1);
    let sam = file(&[sign, ("prompt_encoder.point_embed.2.weight", 5., 1)]);
    holds(&sam, "prompt_encoder.point_embeddings.2.weight", &numbers(5., 1));
}

/// Version 5 writes SAM 2's table of positions twice, and fills the prompt encoder's at random when it loads a file that has one.
#[test]
fn the_table_of_positions_that_the_file_came_with() {
    let sign = ("vision_encoder.backbone.blocks.0.attn.qkv.weight", 0., 1);
    let (image, prompts) =
        ("shared_image_embedding.positional_embedding", "prompt_encoder.shared_embedding.positional_embedding");
    let authors = "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix";
    for (tables, loud) in [
        (vec![(image, 1., 2)], false),
        (vec![(prompts, 1., 2)], false),
        (vec![(image, 1., 2), (prompts, 1., 2)], false),
        (vec![(image, 1., 2), (prompts, 7., 2)], true),
    ] {
        let checkpoint = file(&[vec![sign], tables].concat());
        assert_eq!(checkpoint.tensors().len(), 2);
        holds(&checkpoint, authors, &numbers(1., 2));
        assert_eq!(checkpoint.notes()[0].contains("differ"), loud, "{:?}", checkpoint.notes());
    }
}

#[test]
fn other_files_keep_their_names() {
    let names = [
        "encoder.layer.0.attention.attention.query.weight",
        "embeddings.position_embeddings",
        "vision_encoder.layers.x",
    ];
    let checkpoint = file(&names.map(|name| (name, 0., 1)));
    assert!(checkpoint.transformers().is_none() && names.iter().all(|name| checkpoint.get(name).is_some()));
}
