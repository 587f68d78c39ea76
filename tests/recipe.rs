//! `hrseg recipe convert` as a user runs it.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

use std::process::{Command, Output};

use seg_train::recipe::{LengthPart, Recipe};

/// A configuration in the form of MGD-SAM2's, with a small trunk.
const CONFIG: &str = "
train_dataset:
  dataset:
    name: paired-image-folders
    args: { root_path_1: pictures/im, root_path_2: pictures/gt, cache: none, split_key: train }
  wrapper:
    name: train
    args: { inp_size: 64, augment: false }
  batch_size: 3
val_dataset: &held
  dataset:
    name: paired-image-folders
    args: { root_path_1: held/im, root_path_2: held/gt }
  wrapper: { name: val, args: { inp_size: 64 } }
  batch_size: 8
val_dataset2: *held
eval_type: cod
sam_checkpoint: weights/a \"b\".pt
data_norm: { inp: { sub: [0.5], div: [0.5] } }
model:
  name: sam
  args:
    inp_size: 64
    loss: iou
    encoder_mode:
      num_heads_hiera: 1
      stages: [1, 1, 3, 1]
      global_att_blocks: [4, 3]
      window_spec: [8, 4, 8, 4]
      window_pos_embed_bkg_spatial_size: [7, 7]
      backbone_channel_list: [256, 128, 64, 32]
      d_model: 256
      embed_dim: 144
optimizer:
  name: adamw
  args: { lr: 3e-4, weight_decay: 0, betas: [0.9, 0.99] }
lr_min: 1.0e-7
epoch_max: 7
";

fn convert(config: &str, arguments: &[&str]) -> (tempfile::TempDir, Output) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("c.yaml"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hrseg"));
    let output =
        command.current_dir(dir.path()).args(["recipe", "convert", "c.yaml"]).args(arguments).output().unwrap();
    (dir, output)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_configuration_becomes_a_recipe() {
    let (dir, output) = convert(CONFIG, &["-o", "r.toml"]);
    let told = said(&output);
    assert!(output.status.success(), "{told}");
    let text = std::fs::read_to_string(dir.path().join("r.toml")).unwrap();
    let recipe = Recipe::parse(&text, "r.toml", &[]).unwrap();
    assert_eq!((recipe.length, recipe.data.batch, recipe.schedule.lr), (LengthPart::Epochs(7), 3, 3e-4));
    assert_eq!(recipe.model["image_size"].as_integer(), Some(128));
    let trunk = recipe.model["trunk"].as_table().unwrap();
    assert_eq!(trunk["embed_dim"].as_integer(), Some(32));
    assert_eq!(trunk["global_att_blocks"].to_string(), "[3, 4]");
    assert_eq!((recipe.start["weights"].as_str(), recipe.optimizer.betas), ("weights/a \"b\".pt", [0.9, 0.99]));
    // the paper's rates of the groups, and its exceptions, are there as well
    assert!(recipe.rules["groups"]["pretrained"].is_table() && !recipe.probe.without_gradient.is_empty());
    // all that counts in another way is told, and stands in the recipe
    for expected in [
        "--data: images in pictures/im, masks in pictures/gt",
        "--val: images in held/im",
        "on all 2 afterwards",
        "lr_min = ",
        "data_norm.inp.sub = [0.5]: the published training does not look at it",
        "model.args.encoder_mode.embed_dim = 144",
        "eval_type = cod",
        "train_dataset.dataset.args.split_key = train",
        "val_dataset2.batch_size = 8",
    ] {
        assert!(
            told.contains(expected) && text.contains(&format!("# {expected}")) | text.contains(expected),
            "{expected}: {told}"
        );
    }
    // it trains
    let mut command = Command::new(env!("CARGO_BIN_EXE_hrseg"));
    let spec = "size = 48\n[kinds]\ndisc = 1\n";
    std::fs::write(dir.path().join("spec.toml"), spec).unwrap();
    let arguments = ["train", "r.toml", "--data", "procedural:spec.toml", "--dry-run", "--set", "start={}", "--json"];
    let output = command.current_dir(dir.path()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    // nor is a file overwritten by chance
    let mut command = Command::new(env!("CARGO_BIN_EXE_hrseg"));
    let output =
        command.current_dir(dir.path()).args(["recipe", "convert", "c.yaml", "-o", "r.toml"]).output().unwrap();
    assert!(output.status.code() == Some(1) && said(&output).contains("--force"), "{}", said(&output));
}

#[test]
fn unknown_keys_are_named_and_nothing_else_is_lost() {
    let config = CONFIG.replace("epoch_max: 7", "epoch_max: 7\nepoch_maximum: 8\nmodel2: { a: [1] }");
    let (_dir, output) = convert(&config, &[]);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("epoch_maximum: nobody knows") && told.contains("model2.a: nobody knows"), "{told}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("# left out: epoch_maximum"), "{text}");
    assert_eq!(Recipe::parse(&text, "r.toml", &[]).unwrap().length, LengthPart::Epochs(7));
}

#[test]
fn what_cannot_be_had_is_refused_with_its_key() {
    for (from, to, expected) in [
        ("name: adamw", "name: sgd", "optimizer.name is sgd, expected adamw or adam"),
        ("loss: iou", "loss: bbce", "model.args.loss is bbce, expected iou"),
        ("d_model: 256", "d_model: 128", "d_model is 128, expected 256"),
        ("[256, 128, 64, 32]", "[256, 128, 64, 33]", "backbone_channel_list is [256, 128, 64, 33]"),
        ("[7, 7]", "[7, 9]", "expected the same number twice"),
        ("epoch_max: 7", "", "epoch_max is missing"),
        ("epoch_max: 7", "epoch_max: many", "epoch_max is many, expected a number"),
        ("epoch_max: 7", "epoch_max: 0", "length is 0"),
        ("stages: [1, 1, 3, 1]", "stages: 4", "stages is 4, expected a list"),
        (
            "args: { inp_size: 64, augment: false }",
            "args: { inp_size: 32 }",
            "inp_size is 32, expected that of model.args.inp_size",
        ),
        ("optimizer:", "optimizer: [", "no YAML"),
    ] {
        let (_dir, output) = convert(&CONFIG.replace(from, to), &["-o", "r.toml"]);
        let told = said(&output);
        assert!(output.status.code() == Some(2) && told.contains(expected) && told.contains("c.yaml"), "{to}: {told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    let (_dir, output) = convert("- a\n- b\n", &[]);
    assert!(said(&output).contains("expected keys and values"), "{}", said(&output));
}
