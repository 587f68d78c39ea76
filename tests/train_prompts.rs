//! `hrseg train` of the promptable systems, as a user runs it: a frozen encoder's embeddings kept on disk, scores click by click.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod training;

use std::path::{Path, PathBuf};
use std::process::Output;

use training::{Folder, done, text};

/// A training of seconds: Pi-SAM's stages on a toy of a frozen encoder.
const PI_SAM: &str = r#"
system = "pi-sam"
length = { steps = 4 }
[model]
encoder = { vit = { image_size = 64, patch_size = 16, embed_dim = 32, depth = 2, num_heads = 2, mlp_ratio = 2, window_size = 2, global_attn_indexes = [0], out_channels = 256 } }
image_size = 64
stage = "both"
clicks = 2
[[transforms]]
do = "flip-horizontal"
chance = 0.5
[[transforms]]
do = "resize"
width = 64
height = 64
image = "torch-bilinear"
mask = "torch-bilinear"
[data]
batch = 2
pictures = 4
[schedule]
lr = 1e-3
curve = { kind = "constant" }
[validation]
every = 2
examples = 2
pictures = 1
watch = "click3.biou"
[checkpoint]
every = 1
keep = 4
[probe]
frozen_with_gradient = ["iou_token.*", "mask_tokens.*"]
"#;

/// The same of SAM's decoder.
const SAM: &str = r#"
system = "sam"
length = { steps = 2 }
[model]
encoder = { vit = { image_size = 64, patch_size = 16, embed_dim = 32, depth = 2, num_heads = 2, mlp_ratio = 2, window_size = 2, global_attn_indexes = [0], out_channels = 256 } }
image_size = 64
clicks = 2
[data]
batch = 2
pictures = 4
[schedule]
lr = 1e-4
curve = { kind = "constant" }
[validation]
every = 2
examples = 2
pictures = 1
watch = "box.iou"
[probe]
without_gradient = ["mask_decoder.output_hypernetworks_mlps.*"]
"#;

/// Small scenes of two shapes, not all of them square.
const SPEC: &str = "task = \"prompted\"\nsize = 48\naspect = [0.8, 1.3]\nobjects = 2\nextent = [0.4, 0.7]\n[kinds]\ndisc = 1\nring = 1\n";

fn new() -> Folder {
    Folder::with(&[("pi.toml", PI_SAM), ("sam.toml", SAM), ("spec.toml", SPEC)])
}

fn train(folder: &Folder, recipe: &str, arguments: &[&str]) -> Output {
    folder.command(&[], &[&["train", recipe, "--data", "procedural:spec.toml"], arguments].concat()).output().unwrap()
}

/// All files of embeddings below a folder of the test's, in order.
fn embeddings(of: &Folder, folder: &str) -> Vec<PathBuf> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let mut all: Vec<PathBuf> = list(&of.path().join(folder)).iter().flat_map(|folder| list(folder)).collect();
    all.sort();
    all
}

#[test]
fn kept_embeddings_change_no_bit_and_a_resumed_run_neither() {
    let folder = new();
    done(&train(&folder, "pi.toml", &["--out", "plain"]));
    let said = done(&train(&folder, "pi.toml", &["--out", "kept", "--cache-embeddings"]));
    assert!(said.contains("click3.biou"), "{said}");
    let files = embeddings(&folder, "kept/embeddings");
    // four pictures and their mirror images at most, two that are held out
    assert!((3..=10).contains(&files.len()) && said.contains("found"), "{}: {said}", files.len());
    // as if it had been killed behind step 2, and all files damaged meanwhile
    for file in &files {
        let mut bytes = std::fs::read(file).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(file, bytes).unwrap();
    }
    for step in [3, 4] {
        std::fs::remove_dir_all(folder.path().join(format!("kept/checkpoints/{step:08}"))).unwrap();
    }
    std::fs::remove_file(folder.path().join("kept/last.safetensors")).unwrap();
    let said = done(&train(&folder, "pi.toml", &["--out", "kept", "--cache-embeddings", "--resume"]));
    assert!(said.contains("going on from step 2 of 4"), "{said}");
    assert!(said.contains("a damaged embedding: its checksum; made again"), "{said}");
    for file in ["last.safetensors", "log.jsonl", "checkpoints/00000004/state.safetensors"] {
        assert_eq!(folder.bytes(&format!("plain/{file}")), folder.bytes(&format!("kept/{file}")), "{file}");
    }
}

#[test]
fn stages_follow_each_other() {
    let folder = new();
    let short = ["--set", "length={steps=2}", "--set", "checkpoint.every=2"];
    let first = ["--out", "first", "--set", "model.stage=decoder", "--set", "validation.watch=box.biou"];
    let said = done(&train(&folder, "pi.toml", &[&first[..], &short].concat()));
    assert!(said.contains("box.biou") && !said.contains("click1"), "{said}");
    let second = [
        "--out",
        "second",
        "--set",
        "model.stage=interactor",
        "--set",
        "start.weights=first/last.safetensors",
        "--set",
        "probe={}",
    ];
    let said = done(&train(&folder, "pi.toml", &[&second[..], &short].concat()));
    assert!(said.contains("click3.biou"), "{said}");
    // the second stage moves its interactor and nothing else
    let load =
        |file: &str| candle_core::safetensors::load(folder.path().join(file), &candle_core::Device::Cpu).unwrap();
    let (before, after) = (load("first/last.safetensors"), load("second/last.safetensors"));
    let values = |t: &candle_core::Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (name, tensor) in &before {
        assert_eq!(values(tensor), values(&after[name]), "{name}");
    }
    let moved = after.keys().filter(|name| !before.contains_key(*name)).collect::<Vec<_>>();
    assert!(!moved.is_empty() && moved.iter().all(|name| name.starts_with("interact_2.")), "{moved:?}");
    // zero at the beginning
    assert!(values(&after["interact_2.out_cov.weight"]).iter().any(|v| *v != 0.));
}

#[test]
fn sams_decoder_learns_alone() {
    let folder = new();
    let said = done(&train(&folder, "sam.toml", &["--out", "run", "--cache-embeddings", "kept"]));
    assert!(said.contains("box.biou") && said.contains("click3.biou"), "{said}");
    assert!(!embeddings(&folder, "kept").is_empty());
    let plan = train(&folder, "sam.toml", &["--dry-run", "--json"]);
    done(&plan);
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(plan["groups"].as_array().map(Vec::len), Some(1), "{plan}");
    assert_eq!(plan["groups"][0]["name"], "decoder");
}

#[test]
fn embeddings_are_kept_where_pictures_come_again() {
    let folder = new();
    std::fs::write(
        folder.path().join("is-net.toml"),
        "system = \"is-net\"\nlength = { steps = 1 }\nmodel = { image_size = 64, divide = 16 }\nschedule = { lr = 1e-3, curve = { kind = \"constant\" } }\ndata = { pictures = 4 }\n",
    )
    .unwrap();
    let keep = ["--out", "run", "--cache-embeddings"];
    let endless = PI_SAM.replace("pictures = 4\n", "");
    std::fs::write(folder.path().join("endless.toml"), endless).unwrap();
    for (recipe, more, expected) in [
        ("is-net.toml", &[][..], "no frozen encoder"),
        ("endless.toml", &[], "data.pictures=500"),
        (
            "pi.toml",
            &["--set", "transforms=[{do=\"large-scale-jitter\", side=64, scale=[0.8, 1.6], fill=128}]"],
            "`large-scale-jitter`",
        ),
        ("pi.toml", &["--set", "rules.thaw=[\"image_encoder.*\"]"], "no frozen encoder"),
        ("pi.toml", &["--cache-limit", "0"], "--cache-limit is 0"),
        ("pi.toml", &["--set", "model.image_size=60"], "multiple of 16"),
        ("pi.toml", &["--set", "model.clicks=0"], "clicks is 0"),
        ("pi.toml", &["--set", "model.stage=decode"], "did you mean `decoder`"),
        ("pi.toml", &["--set", "data.pictures=0"], "at least 1"),
    ] {
        let output = train(&folder, recipe, &[&keep[..], more].concat());
        assert!(!output.status.success() && text(&output).contains(expected), "{recipe} {more:?}: {}", text(&output));
        assert!(!folder.path().join("run/run.json").exists(), "{recipe} {more:?}");
    }
    // full at once: told, and the run goes on
    let said = done(&train(&folder, "pi.toml", &[&keep[..], &["--cache-limit", "0.000001"]].concat()));
    assert!(said.contains("as large as it may be"), "{said}");
}
