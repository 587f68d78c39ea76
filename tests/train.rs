//! `hrseg train` as a user runs it.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod training;

use std::process::{Command, Output};

use hrseg::prelude::Device;
use hrseg::seg_checkpoints::Checkpoint;
use training::{Folder, SMALL, done, text};

/// A training of seconds: a toy on pictures that are made on the fly.
const RECIPE: &str = r#"
system = "is-net"
length = { steps = 6 }
ema = 0.9
clip = 1.0
[model]
image_size = 128
divide = 16
[data]
batch = 2
[optimizer]
decoupled = false
[schedule]
lr = 1e-3
warm_up = 2
curve = { kind = "cosine" }
[validation]
every = 3
examples = 2
pictures = 2
[checkpoint]
every = 2
[probe]
without_gradient = ["*.conv_s1.bias"]
"#;

fn new() -> Folder {
    Folder::with(&[("r.toml", RECIPE), ("spec.toml", SMALL)])
}

fn command(folder: &Folder, arguments: &[&str]) -> Command {
    folder.command(&[], &[&["train", "r.toml", "--data", "procedural:spec.toml"], arguments].concat())
}

fn train(folder: &Folder, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

#[test]
fn a_run_leaves_what_it_says() {
    let folder = new();
    let output = train(&folder, &["--out", "run"]);
    done(&output);
    let said = text(&output);
    assert!(said.contains("gradients reach") && said.contains("best.safetensors"), "{said}");
    for file in ["recipe.toml", "run.json", "log.jsonl", "curve.png", "best.safetensors", "last.safetensors"] {
        assert!(!folder.bytes(&format!("run/{file}")).is_empty(), "{file}");
    }
    assert!(folder.path().join("run/pictures/step-00000006.png").exists());
    let lines = String::from_utf8(folder.bytes("run/log.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 6);
    assert!(lines.contains("val/smeasure.sm") && lines.contains("train/lr"), "{lines}");
    // a second run does not overwrite the first
    let again = train(&folder, &["--out", "run"]);
    assert!(!again.status.success() && text(&again).contains("--resume"), "{}", text(&again));
}

#[test]
fn a_resumed_run_is_the_undisturbed_one_to_the_bit() {
    let folder = new();
    done(&train(&folder, &["--out", "straight"]));
    done(&train(&folder, &["--out", "broken"]));
    // as if it had been killed behind step 4 and before the end
    let broken = folder.path().join("broken");
    std::fs::remove_dir_all(broken.join("checkpoints/00000006")).unwrap();
    std::fs::remove_file(broken.join("last.safetensors")).unwrap();
    let resumed = train(&folder, &["--out", "broken", "--resume"]);
    done(&resumed);
    assert!(text(&resumed).contains("going on from step 4 of 6"), "{}", text(&resumed));
    for file in [
        "last.safetensors",
        "checkpoints/00000006/weights.safetensors",
        "checkpoints/00000006/state.safetensors",
        "log.jsonl",
    ] {
        assert_eq!(folder.bytes(&format!("straight/{file}")), folder.bytes(&format!("broken/{file}")), "{file}");
    }
}

/// `HRSEG_KILLS` says how many; a checkpoint is written at every step, so that most of them fall into the writing of one.
#[test]
fn kills_at_random_moments_lose_nothing() {
    let kills: u32 = std::env::var("HRSEG_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(8);
    let folder = new();
    let often = ["--set", "checkpoint.every=1", "--set", "length={steps=40}", "--set", "validation.every=0"];
    done(&train(&folder, &[&["--out", "straight"][..], &often].concat()));
    let mut done_before = 0;
    let mut random = 12345u64;
    for kill in 0..kills {
        let out = format!("killed{}", done_before);
        let mut child = command(&folder, &[&["--out", &out, "--resume"][..], &often].concat())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        std::thread::sleep(std::time::Duration::from_millis(50 + (random >> 33) % 500));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            // it was quicker: the next one is killed from the beginning on
            done_before = kill + 1;
        }
    }
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.starts_with("killed") {
            continue;
        }
        done(&train(&folder, &[&["--out", &name, "--resume"][..], &often].concat()));
        for file in ["last.safetensors", "log.jsonl", "checkpoints/00000040/state.safetensors"] {
            assert_eq!(
                folder.bytes(&format!("straight/{file}")),
                folder.bytes(&format!("{name}/{file}")),
                "{name}: {file}"
            );
        }
        let parts = std::fs::read_dir(folder.path().join(&name).join("checkpoints")).unwrap();
        let left: Vec<_> =
            parts.map(|e| e.unwrap().file_name()).filter(|n| n.to_string_lossy().starts_with('.')).collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    }
}

#[test]
fn a_damaged_checkpoint_falls_back_and_says_so() {
    let folder = new();
    done(&train(&folder, &["--out", "run"]));
    let right = folder.bytes("run/last.safetensors");
    let damaged = folder.path().join("run/checkpoints/00000006/state.safetensors");
    let mut bytes = std::fs::read(&damaged).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();
    let resumed = train(&folder, &["--out", "run", "--resume"]);
    done(&resumed);
    let said = text(&resumed);
    assert!(said.contains("00000006 is damaged") && said.contains("going on from step 4 of 6"), "{said}");
    assert_eq!(folder.bytes("run/last.safetensors"), right);
}

#[test]
fn what_cannot_be_is_one_line() {
    let folder = new();
    for (arguments, expected) in [
        (&["--out", "run", "--set", "schedule.lrr=1"][..], "did you mean `lr`"),
        (&["--out", "run", "--set", "data.batch=0"], "data.batch is 0"),
        (&["--out", "run", "--set", "data.batch=1000000"], "expected at most 4096"),
        (&["--out", "run", "--set", "data.workers=100000"], "expected 1 to 64"),
        (&["--out", "run", "--set", "ema=2"], "ema is 2"),
        (&["--out", "run", "--set", "optimizer.eps=-1"], "optimizer.eps is -1"),
        (&["--out", "run", "--set", "validation.examples=0"], "validation.examples is 0"),
        (&["--out", "run", "--set", "rules.thaw=[\"nothing.*\"]"], "\"nothing.*\", which is the name of no weight"),
        (
            &["--out", "run", "--set", "rules.freeze=[\"nobody\"]"],
            "freeze has \"nobody\", which is the name of no weight",
        ),
        (&["--out", "run", "--set", "model.image_sice=4"], "did you mean `image_size`"),
        (&["--out", "run", "--set", "start.weights=nowhere.pt"], "nowhere.pt"),
        (&["--out", "run", "--set", "start.sam2=x"], "does not start from `sam2`"),
        (&["--out", "run", "--set", "validation.protocol=dsi"], "protocol is \"dsi\""),
        (&["--out", "run", "--set", "loss.bec=1"], "did you mean `bce`"),
        (&["--out", "run", "--set", "loss.iou=-1"], "iou is -1, expected at least 0"),
        (&["--out", "run", "--set", "length=10"], "length is 10, expected { steps = 1000 }"),
        (&["--out", "run", "--set", "model.image_size=0"], "model.image_size is 0, expected a number of pixels"),
        (&["--out", "run", "--set", "probe.without_gradient=[\"*\"]"], "which excuses every weight"),
        (&["--out", "run", "--set", "validation.watch=iou"], "watch is \"iou\", expected one of"),
        (&[], "--out DIR is missing"),
    ] {
        let output = train(&folder, arguments);
        assert!(!output.status.success() && text(&output).contains(expected), "{arguments:?}: {}", text(&output));
        assert!(!text(&output).contains("cannot be built") || arguments.iter().any(|a| a.contains("start.weights")));
        assert!(!folder.path().join("run").exists(), "{arguments:?}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_hrseg")).args(["train", "is-nut"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("expected a TOML file, or one of"), "{}", text(&output));
}

#[test]
fn a_run_is_not_gone_on_with_by_another_recipe() {
    let folder = new();
    done(&train(&folder, &["--out", "run"]));
    let output = train(&folder, &["--out", "run", "--resume", "--set", "schedule.lr=2e-3"]);
    assert!(!output.status.success() && text(&output).contains("another recipe"), "{}", text(&output));
    std::fs::write(folder.path().join("spec.toml"), "size = 40\n[kinds]\ndisc = 1\n").unwrap();
    let output = train(&folder, &["--out", "run", "--resume"]);
    assert!(!output.status.success() && text(&output).contains("other data"), "{}", text(&output));
}

#[test]
fn gradients_reach_all_that_the_recipes_train() {
    let folder = new();
    std::fs::write(
        folder.path().join("prompted.toml"),
        "task = \"prompted\"\nsize = 64\nobjects = [2, 3]\n[kinds]\ndisc = 1\n",
    )
    .unwrap();
    for (recipe, data) in [
        ("sam2-unet-small", "spec"),
        ("sam2-unext-small", "spec"),
        ("mgd-sam2-small", "spec"),
        ("is-net-small", "spec"),
        ("dis-sam-small", "prompted"),
        ("pi-sam-small", "prompted"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hrseg"));
        command.current_dir(folder.path()).args(["train", recipe, "--dry-run", "--set", "data.batch=2", "--json"]);
        let output = command.args(["--data", &format!("procedural:{data}.toml")]).output().unwrap();
        done(&output);
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(plan["gradients"].as_u64() > Some(100), "{recipe}: {plan}");
    }
}

#[test]
fn a_folder_trains_with_a_picture_that_cannot_be_read() {
    let folder = new();
    for (name, inside) in [("a", 10), ("b", 20), ("c", 30)] {
        let image =
            image::RgbImage::from_fn(40, 40, |x, _| if x < inside { [200, 80, 40] } else { [30, 60, 90] }.into());
        let mask = image::GrayImage::from_fn(40, 40, |x, _| [if x < inside { 255 } else { 0 }].into());
        for (part, picture) in [("im", image::DynamicImage::from(image)), ("gt", image::DynamicImage::from(mask))] {
            std::fs::create_dir_all(folder.path().join("set").join(part)).unwrap();
            picture.save(folder.path().join("set").join(part).join(format!("{name}.png"))).unwrap();
        }
    }
    let broken = folder.path().join("set/im/b.png");
    let bytes = std::fs::read(&broken).unwrap();
    std::fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hrseg"));
    let output =
        command.current_dir(folder.path()).args(["train", "r.toml", "--data", "set", "--out", "run"]).output().unwrap();
    done(&output);
    let said = text(&output);
    assert!(said.contains("b.png") && said.matches("left out of its batch").count() == 1, "{said}");
    assert!(said.contains("no --val: nothing is measured"), "{said}");
    let train = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hrseg"));
        command.current_dir(folder.path()).args(["train", "r.toml"]).args(arguments).output().unwrap()
    };
    // neither into the pictures' folder, nor measured on them without a word
    for out in ["set", "set/im", "./set/../set/gt"] {
        let output = train(&["--data", "set", "--out", out]);
        assert!(output.status.code() == Some(2) && text(&output).contains("that is the folder of --data"), "{out}");
    }
    let short = ["--set", "length={steps=3}", "--set", "schedule.warm_up=9"];
    let output = train(&[&["--data", "set", "--val", "./set", "--out", "same"][..], &short].concat());
    assert!(text(&output).contains("warm_up is 9, and the run has 3 steps"), "{}", text(&output));
    assert!(text(&output).contains("--val has the pictures of --data"), "{}", text(&output));
    // parts of a set
    std::fs::remove_file(broken).unwrap();
    std::fs::remove_file(folder.path().join("set/gt/b.png")).unwrap();
    std::fs::create_dir_all(folder.path().join("parts/train")).unwrap();
    for part in ["im", "gt"] {
        std::fs::rename(folder.path().join("set").join(part), folder.path().join("parts/train").join(part)).unwrap();
        let held_out = folder.path().join("parts/val").join(part);
        std::fs::create_dir_all(&held_out).unwrap();
        std::fs::rename(folder.path().join("parts/train").join(part).join("c.png"), held_out.join("c.png")).unwrap();
    }
    let output = train(&["--data", "parts", "--out", "parted", "--set", "length={steps=3}"]);
    assert!(text(&output).contains("has a part to validate on: --val parts/val"), "{}", text(&output));
    // of the same folder, to measure on, the part that is meant for it
    let output = train(&["--data", "parts", "--val", "parts", "--dry-run", "--set", "length={steps=3}"]);
    let said = text(&output);
    assert!(said.contains("held out   1 ") && !said.contains("--val has the pictures"), "{said}");
}

#[test]
fn a_run_of_a_constant_rate_can_be_made_longer() {
    let folder = new();
    let run = |out: &str, steps: u64, more: &[&str]| {
        let length = format!("length={{steps={steps}}}");
        let arguments = ["--out", out, "--set", "schedule.curve={kind=\"constant\"}", "--set", &length];
        train(&folder, &[&arguments[..], more].concat())
    };
    done(&run("straight", 6, &[]));
    done(&run("longer", 4, &[]));
    done(&run("longer", 6, &["--resume"]));
    assert!(folder.bytes("straight/last.safetensors") == folder.bytes("longer/last.safetensors"));
    assert!(String::from_utf8(folder.bytes("longer/recipe.toml")).unwrap().contains("steps = 6"));
    // where rates depend on the length it is told why not
    done(&train(&folder, &["--out", "cosine"]));
    let output = train(&folder, &["--out", "cosine", "--resume", "--set", "length={steps=9}"]);
    assert!(!output.status.success() && text(&output).contains("can be made longer"), "{}", text(&output));
}

#[cfg(unix)]
#[test]
fn sigterm_saves_the_step() {
    let folder = new();
    let long = ["--out", "run", "--set", "length={steps=100000}", "--set", "checkpoint.every=100000"];
    let mut child = command(&folder, &long).stdout(std::process::Stdio::null()).spawn().unwrap();
    let log = folder.path().join("run/log.jsonl");
    while std::fs::metadata(&log).map_or(0, |about| about.len()) == 0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(child.try_wait().unwrap().is_none(), "the run ended");
    }
    let signal = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(signal.success());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let steps = String::from_utf8(folder.bytes("run/log.jsonl")).unwrap().lines().count();
    assert!(folder.path().join(format!("run/checkpoints/{steps:08}/checkpoint.json")).exists());
}

#[test]
fn held_out_pictures_that_cannot_be_read_cost_no_steps() {
    let folder = new();
    for part in ["im", "gt"] {
        std::fs::create_dir_all(folder.path().join("val").join(part)).unwrap();
        std::fs::write(folder.path().join("val").join(part).join("a.png"), b"broken").unwrap();
    }
    let output = train(&folder, &["--out", "run", "--val", "val", "--set", "checkpoint.every=1000"]);
    assert!(!output.status.success() && text(&output).contains("none of the held-out"), "{}", text(&output));
    assert!(folder.path().join("run/checkpoints/00000003/checkpoint.json").exists());
    assert_eq!(String::from_utf8(folder.bytes("run/log.jsonl")).unwrap().lines().count(), 3);
}

#[test]
fn one_training_a_folder() {
    let folder = new();
    let long = ["--out", "run", "--resume", "--set", "length={steps=100000}"];
    let mut first = command(&folder, &long).stderr(std::process::Stdio::null()).spawn().unwrap();
    let begun = folder.path().join("run/log.jsonl");
    while !begun.exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(first.try_wait().unwrap().is_none(), "the first run ended");
    }
    let second = train(&folder, &long);
    assert!(!second.status.success() && text(&second).contains("at work in this folder"), "{}", text(&second));
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn what_is_frozen_stays_and_what_moved_is_a_small_file() {
    let folder = new();
    done(&train(&folder, &["--out", "base"]));
    let of_base = ["--set", "start.weights=base/last.safetensors", "--set", "rules.freeze=[\"*\"]"];
    let moved = ["--set", "rules.thaw=[\"side1.*\"]", "--set", "batch_norm_trains=false", "--set", "ema=0.0"];
    let output = train(&folder, &[&["--out", "run"][..], &of_base, &moved].concat());
    done(&output);
    assert!(text(&output).contains("gradients reach 2 weights"), "{}", text(&output));
    let weights = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hrseg"));
        command.current_dir(folder.path()).arg("weights").args(arguments).output().unwrap()
    };
    let output =
        weights(&["difference", "run/last.safetensors", "--base", "base/last.safetensors", "-o", "small.safetensors"]);
    done(&output);
    assert!(text(&output).contains("2 tensors that moved"), "{}", text(&output));
    done(&weights(&["apply", "small.safetensors", "--base", "base/last.safetensors", "-o", "whole.safetensors"]));
    let (whole, run) = ("whole.safetensors", "run/last.safetensors");
    let open = |file: &str| Checkpoint::open(folder.path().join(file)).unwrap();
    let (whole, run) = (open(whole), open(run));
    assert!(whole.keys().eq(run.keys()));
    for name in run.keys() {
        let values =
            |of: &Checkpoint| of.tensor(name, &Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&whole), values(&run), "{name}");
    }
    // nothing is written over, and another base is told
    let again = weights(&["apply", "small.safetensors", "--base", "base/last.safetensors", "-o", "whole.safetensors"]);
    assert!(!again.status.success() && text(&again).contains("--force"), "{}", text(&again));
    let output = train(&folder, &["--out", "other", "--set", "seed=7"]);
    done(&output);
    let wrong = weights(&["apply", "small.safetensors", "--base", "other/last.safetensors", "-o", "wrong.safetensors"]);
    assert!(!wrong.status.success() && text(&wrong).contains("learnt from"), "{}", text(&wrong));
    assert!(!folder.path().join("wrong.safetensors").exists());
}

#[test]
fn weights_are_used_at_the_size_that_they_have_learnt_at() {
    // the published sizes of IS-Net, at 64 pixels, without a step that matters
    let folder = new();
    let small = ["--set", "model={image_size=128}", "--set", "length={steps=1}", "--set", "validation.every=0"];
    done(&train(&folder, &[&["--out", "run"][..], &small].concat()));
    image::RgbImage::from_pixel(90, 70, [9, 80, 200].into()).save(folder.path().join("p.png")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hrseg"));
    let arguments = ["segment", "p.png", "--model", "is-net", "--weights", "run/last.safetensors"];
    let output = command.current_dir(folder.path()).args(arguments).output().unwrap();
    done(&output);
    assert!(text(&output).contains("trained at 128 x 128 pixels"), "{}", text(&output));
}

#[test]
fn a_dry_run_writes_nothing() {
    let folder = new();
    let output = train(&folder, &["--out", "run", "--dry-run"]);
    done(&output);
    let said = text(&output);
    for expected in ["is-net", "endless", "moves", "gradients", "6 steps", "memory"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!folder.path().join("run").exists());
}
