//! `hrseg evaluate` on files as people have them: layouts, names, sequences too short to score.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/evaluate")
}

/// JSON and messages of an evaluation that must end with `code`; no JSON where nothing could be scored.
fn evaluate(pred: &Path, gt: &Path, options: [&str; 2], code: i32) -> (Value, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hrseg"))
        .arg("evaluate")
        .args(options)
        .arg("--pred")
        .arg(pred)
        .arg("--gt")
        .arg(gt)
        .args(["--json", "-"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    (serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
}

fn video(name: &str, task: &str, code: i32, expected: &[(&str, f64)]) -> (Value, String) {
    let (json, said) =
        evaluate(&data().join(name).join("pred"), &data().join(name).join("gt"), ["--davis", task], code);
    assert_values(&json, expected);
    (json, said)
}

fn assert_values(json: &Value, expected: &[(&str, f64)]) {
    for (key, theirs) in expected {
        let ours = json["aggregate"][key].as_f64().unwrap();
        assert!((ours - theirs).abs() < 5.1e-5, "{key}: {ours}, expected {theirs}");
    }
}

#[test]
fn sa_v_has_a_folder_an_object() {
    let expected = [("J&F-Mean", 61.6099), ("J-Mean", 72.3006), ("F-Mean", 50.9191)];
    let (json, _) = video("sav", "sa-v", 0, &expected);
    assert!(json["pairs"]["vid1_000"]["J-Mean"].is_number());
    let (_, said) = video("sav", "semi-supervised", 1, &[]);
    assert!(said.contains("--davis sa-v"), "{said}");
}

#[test]
fn numbers_of_frames_count_as_numbers() {
    let j = [("J&F-Mean", 0.5314), ("J-Mean", 0.6635), ("J-Decay", 0.5119)];
    video("unpadded", "semi-supervised", 0, &[&j[..], &[("F-Mean", 0.3992), ("F-Decay", 0.6327)]].concat());
}

#[test]
fn what_cannot_be_scored_is_named_and_left_out() {
    let expected = [("J&F-Mean", 0.8167), ("J-Mean", 0.8772), ("F-Mean", 0.7562)];
    let (json, said) = video("short", "semi-supervised", 1, &expected);
    assert!(said.contains("two: it has 2 frames"), "{said}");
    assert!(json["failed"]["two"].is_string());
    let (_, said) = video("objects", "semi-supervised", 1, &[]);
    assert!(said.contains("the ground truth has no object"), "{said}");
}

#[test]
fn hidden_folders_and_unread_ends_cost_nothing() {
    let expected = [("J&F-Mean", 0.8673), ("J-Mean", 0.8961), ("F-Mean", 0.8384)];
    let gt = data().join("stray/gt/s");
    let pred = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(data().join("stray/pred/s")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, pred.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    for folder in [".ipynb_checkpoints", "__MACOSX", "@eaDir"] {
        std::fs::create_dir(pred.path().join(folder)).unwrap();
    }
    assert_values(&evaluate(pred.path(), &gt, ["--davis", "semi-supervised"], 0).0, &expected);
    let mut names: Vec<PathBuf> =
        std::fs::read_dir(&gt).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()).collect();
    names.sort();
    std::fs::remove_file(pred.path().join(names[0].file_name().unwrap())).unwrap();
    std::fs::write(pred.path().join(names.last().unwrap().file_name().unwrap()), "torn").unwrap();
    assert_values(&evaluate(pred.path(), &gt, ["--davis", "semi-supervised"], 0).0, &expected);
    std::fs::remove_file(pred.path().join(names[2].file_name().unwrap())).unwrap();
    let (_, said) = evaluate(pred.path(), &gt, ["--davis", "semi-supervised"], 1);
    assert!(said.contains("has no prediction"), "{said}");
}

#[test]
fn unicode_forms_and_stray_masks_pair_up() {
    for (name, pairs) in [("unicode", 2), ("endings", 4)] {
        let (pred, gt) = (data().join(name).join("pred"), data().join(name).join("gt"));
        let (json, _) = evaluate(&pred, &gt, ["--metrics", "mae"], 0);
        assert_eq!(json["pairs"].as_object().unwrap().len(), pairs, "{name}");
        assert_eq!(json["aggregate"]["mae"], 0.0, "{name}");
    }
}
