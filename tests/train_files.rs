//! What trainings write is used as it is: `best.safetensors` of every system in `hrseg segment` and `hrseg track`, whatever sizes its recipe had.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod training;

use std::collections::BTreeMap;

use candle_core::Device;
use hrseg::prelude::{LoadOptions, ModelName};
use hrseg::seg_checkpoints::{Checkpoint, write_safetensors};
use hrseg::seg_models::registry::Architecture;
use serde_json::Value;
use training::{Folder, done, text};

/// A trunk of four blocks.
const TRUNK: &str = "model.trunk={ embed_dim = 32, num_heads = 1, stages = [1, 1, 1, 1], global_att_blocks = [], window_spec = [4, 2, 2, 2], window_pos_embed_bkg_spatial_size = 2 }";
const DINO: &str = "model.dino={ image_size = 28, embed_dim = 12, depth = 1, num_heads = 2 }";
const VIT: &str = "model.encoder={ vit = { image_size = 64, patch_size = 16, embed_dim = 32, depth = 1, num_heads = 2, mlp_ratio = 2, window_size = 2, global_attn_indexes = [0], out_channels = 256 } }";
const BEIT3: &str = "model.beit3={ image_size = 16, patch_size = 8, embed_dim = 16, depth = 1, num_heads = 2, ffn_dim = 16, vocab_size = 96, max_text_positions = 20, layer_norm_eps = 1e-5 }";

/// A recipe, what is changed of it, the data, and how the file is used.
type Case = (&'static str, &'static [&'static str], &'static str, &'static [&'static str]);

const BOX: [&str; 4] = ["segment", "frames/0.png", "--box", "10,10,40,30"];

const CASES: [Case; 10] = [
    ("is-net-small", &["model.divide=16"], "plain", &["segment", "frames/0.png", "--model", "is-net"]),
    (
        "dis-sam-small",
        &["model.divide=16"],
        "scenes",
        &["segment", "frames/0.png", "--mask", "mask.png", "--model", "dis-sam"],
    ),
    ("sam2-unet-small", &[TRUNK, "model.channels=8"], "plain", &["segment", "frames/0.png", "--model", "sam2-unet"]),
    (
        "sam2-unext-small",
        &[TRUNK, DINO, "model.channels=8"],
        "plain",
        &["segment", "frames/0.png", "--model", "sam2-unext"],
    ),
    ("mgd-sam2-small", &[TRUNK], "plain", &["segment", "frames/0.png", "--model", "mgd-sam2"]),
    (
        "pi-sam-small",
        &[VIT, "model.stage=both"],
        "scenes",
        &[BOX[0], BOX[1], BOX[2], BOX[3], "--refine", "12,14", "--model", "pi-sam-b"],
    ),
    ("mobile-sam", &[VIT, "start={}", "rules={}"], "scenes", &[BOX[0], BOX[1], BOX[2], BOX[3], "--model", "sam-vit-l"]),
    ("sam2-small", &[TRUNK, "model.width=64"], "clips", &[BOX[0], BOX[1], BOX[2], BOX[3], "--model", "sam2.1-tiny"]),
    (
        "sam2-small",
        &[TRUNK, "model.width=64"],
        "clips",
        &["track", "frames", "--point", "0:1:20,20", "--model", "sam2.1-large"],
    ),
    (
        "mpg-sam2-small",
        &[TRUNK, BEIT3, "model.width=64"],
        "clips",
        &["track", "frames", "--text", "the red ring", "--model", "mpg-sam2"],
    ),
];

fn folder() -> Folder {
    let folder = Folder::with(&[]);
    std::fs::create_dir(folder.path().join("frames")).unwrap();
    for t in 0..2u32 {
        let inside = move |x: u32| (8 + t..40 + t).contains(&x);
        let frame =
            image::RgbImage::from_fn(60, 44, |x, _| if inside(x) { [220, 40, 40] } else { [30, 60, 90] }.into());
        frame.save(folder.path().join(format!("frames/{t}.png"))).unwrap();
    }
    let mask = image::GrayImage::from_fn(60, 44, |x, _| [if x < 30 { 255 } else { 0 }].into());
    mask.save(folder.path().join("mask.png")).unwrap();
    folder
}

#[test]
fn what_is_learnt_is_used_as_it_is() {
    let folder = folder();
    let mut before = "";
    for (number, (recipe, changes, data, usage)) in CASES.into_iter().enumerate() {
        if recipe != before {
            let data = format!("procedural:{data}");
            let mut train = folder.command(&[], &["train", recipe, "--data", &data, "--out", recipe]);
            // 64 pixels, one step of one example, and nothing is proven by so little
            for change in changes.iter().copied().chain([
                "model.image_size=64",
                "length={ steps = 1 }",
                "data.batch=2",
                "data.accumulate=1",
                "validation.every=0",
                "validation.examples=1",
                "transforms=[{ do = 'resize', width = 64, height = 64, image = 'torch-bilinear', mask = 'torch-bilinear' }]",
                "probe={ without_gradient = ['*.weight', '*.bias', '*_embed*', '*ptr*', '*enc', '*token*', '*scale*'], frozen_with_gradient = ['*'] }",
            ]) {
                train.args(["--set", change]);
            }
            done(&train.output().unwrap());
            before = recipe;
        }
        let (weights, out) = (format!("{recipe}/best.safetensors"), format!("out{number}"));
        let used = [usage, &["--weights", &weights, "-o", &out]].concat();
        let output = folder.command(&[], &used).output().unwrap();
        let said = done(&output);
        assert!(said.contains("trained at 64 x 64 pixels"), "{recipe}: {said}");
        assert!(folder.path().join(out).read_dir().unwrap().count() > 0, "{recipe}");
    }
    // of another system
    let wrong = ["segment", "frames/0.png", "--model", "is-net", "--weights", "sam2-unet-small/best.safetensors"];
    let output = folder.command(&[], &wrong).output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output).contains("a training of sam2-unet has written, expected is-net"), "{}", text(&output));
    what_is_said_wrong_is_refused(&folder);
}

/// Any number of what a file says may be wrong: then it is refused, or the model is another one of the same tensors.
fn what_is_said_wrong_is_refused(folder: &Folder) {
    for (recipe, model) in [
        ("is-net-small", "is-net"),
        ("sam2-unet-small", "sam2-unet"),
        ("sam2-unext-small", "sam2-unext"),
        ("mgd-sam2-small", "mgd-sam2"),
        ("pi-sam-small", "pi-sam-b"),
        ("mobile-sam", "mobile-sam"),
        ("sam2-small", "sam2.1-tiny"),
        ("mpg-sam2-small", "mpg-sam2"),
    ] {
        let path = folder.path().join(recipe).join("best.safetensors");
        let name: ModelName = model.parse().unwrap();
        let open = |path: &std::path::Path| match model {
            "mpg-sam2" => name.open_referring(path, None, &LoadOptions::default()).map(|_| ()),
            "sam2.1-tiny" => name.open_video(path, &LoadOptions::default()).map(|_| ()),
            _ => name.open(path, None, &LoadOptions::default()).map(|_| ()),
        };
        open(&path).unwrap();
        let metadata = Checkpoint::open(&path).unwrap().metadata().clone();
        let tensors: BTreeMap<_, _> =
            candle_core::safetensors::load(&path, &Device::Cpu).unwrap().into_iter().collect();
        let said: Value = serde_json::from_str(&metadata[Architecture::KEY]).unwrap();
        let (mut leaves, mut refused) = (0, 0);
        let other = folder.path().join(recipe).join("other.safetensors");
        while changed(&mut said.clone(), &mut leaves.clone(), 0) {
            // all numbers in the place of all others would take a minute
            let number = [1, 3, 4096, 65536][leaves % 4];
            let mut said = said.clone();
            changed(&mut said, &mut leaves.clone(), number);
            let mut metadata = metadata.clone();
            metadata.insert(Architecture::KEY.into(), said.to_string());
            write_safetensors(&other, &tensors, &metadata).unwrap();
            if let Err(error) = open(&other) {
                // candle's errors bring the calls along where they are asked for
                assert!(std::env::var_os("RUST_BACKTRACE").is_some() || !error.to_string().contains('\n'), "{error}");
                refused += 1;
            }
            leaves += 1;
        }
        // what others say in their metadata is their own
        let mut metadata = metadata.clone();
        metadata.remove(Architecture::KEY);
        metadata.insert("model".into(), "ours".into());
        write_safetensors(&other, &tensors, &metadata).unwrap();
        let error = open(&other).unwrap_err().to_string();
        assert!(!error.contains("metadata"), "{error}");
        assert!(leaves > 5 && refused > leaves / 2, "{recipe}: {leaves} numbers, {refused} refused");
    }
}

/// Puts `number` in place of the whole number that `at` others stand before.
fn changed(value: &mut Value, at: &mut usize, number: u64) -> bool {
    match value {
        Value::Number(there) if there.is_u64() => {
            if *at == 0 {
                *value = number.into();
                return true;
            }
            *at -= 1;
            false
        }
        Value::Array(all) => all.iter_mut().any(|one| changed(one, at, number)),
        Value::Object(all) => all.values_mut().any(|one| changed(one, at, number)),
        _ => false,
    }
}
