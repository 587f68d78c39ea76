//! `hrseg evaluate` on files as people have them: layouts, names, sequences too short to score.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

use std::path::{Path, PathBuf};
use std::process::Command;

use hrseg::seg_data;
use image::{DynamicImage, GrayImage, ImageFormat};
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

/// Frame `t` of `make_sav_labels.py`: a rectangle that moves right and one that moves down, `shift` pixels away and narrower by it.
fn labelled(t: u32, shift: u32, labels: [u8; 2], (width, height): (u32, u32)) -> GrayImage {
    GrayImage::from_fn(width, height, |x, y| {
        let second = (12 + t..20 + t - shift).contains(&y) && (24 + shift..33).contains(&x);
        let first = (5 + shift..15).contains(&y) && (4 + 2 * t + shift..16 + 2 * t).contains(&x);
        [if second { labels[1] } else { u8::from(first) * labels[0] }].into()
    })
}

/// PNG bytes of levels of 0 and another in one bit.
fn one_bit(image: &GrayImage) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, image.width(), image.height());
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let bits = |row: &[u8]| {
        row.chunks(8).map(|b| b.iter().rev().fold(0, |n, v| n >> 1 | u8::from(*v > 0) << 7)).collect::<Vec<u8>>()
    };
    let packed: Vec<u8> = image.as_raw().chunks(image.width() as usize).flat_map(bits).collect();
    encoder.write_header().unwrap().write_image_data(&packed).unwrap();
    out
}

fn encoded(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    image.into().write_to(&mut out, ImageFormat::Png).unwrap();
    out.into_inner()
}

/// Two folders of six frames each, one for predictions (`shift` 2), one for ground truths (0).
fn sequence(make: impl Fn(u32, u32) -> Vec<u8>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (side, shift) in [("gt", 0), ("pred", 2)] {
        std::fs::create_dir_all(folder.path().join(side).join("v")).unwrap();
        for t in 0..6 {
            std::fs::write(folder.path().join(side).join(format!("v/{t:05}.png")), make(t, shift)).unwrap();
        }
    }
    folder
}

fn sav(folder: &tempfile::TempDir, task: &str, code: i32) -> (Value, String) {
    evaluate(&folder.path().join("pred"), &folder.path().join("gt"), ["--davis", task], code)
}

/// J and F of objects as sav_evaluator prints them: `make_sav_labels.py`.
#[test]
fn label_images_of_odd_kinds_in_sa_v() {
    const SIZE: (u32, u32) = (48, 32);
    let (first, second) = ([66.6667, 52.5], [58.3333, 53.3333]);
    let void = |t, shift| seg_data::labels::png(&labelled(t, shift, [255, 2], SIZE)).unwrap();
    let bits = |t, shift| one_bit(&labelled(t, shift, [1, 0], SIZE));
    // the ground truth in one bit, the prediction in eight: 1 is the same object
    let mixed = |t, shift| if shift > 0 { encoded(labelled(t, shift, [1, 0], SIZE)) } else { bits(t, shift) };
    let sizes = |t, shift| encoded(labelled(t, shift, [1, 2], (48 + 16 * (t % 2), 32 + 32 * (t % 2))));
    for (name, folder, expected) in [
        ("255", sequence(void), vec![("v_255", first), ("v_2", second)]),
        ("one bit", sequence(bits), vec![("v_1", first)]),
        ("one bit, 8 bits", sequence(mixed), vec![("v_1", first)]),
        ("sizes", sequence(sizes), vec![("v_1", first), ("v_2", second)]),
    ] {
        let (json, _) = sav(&folder, "sa-v", 0);
        assert_eq!(json["pairs"].as_object().unwrap().len(), expected.len(), "{name}");
        for (object, [j, f]) in expected {
            for (key, theirs) in [("J-Mean", j), ("F-Mean", f)] {
                let ours = json["pairs"][object][key].as_f64().unwrap();
                assert!((ours - theirs).abs() < 5.1e-5, "{name} {object} {key}: {ours}, expected {theirs}");
            }
        }
    }
    // davis2017 stacks the frames of a sequence, and so do we: one size
    let (_, said) = sav(&sequence(sizes), "semi-supervised", 1);
    assert!(said.contains("frame 00001") && said.contains("64x64") && said.contains("48x32"), "{said}");
}

#[test]
fn colours_are_no_labels() {
    let rgb = |t, shift| {
        let labels = labelled(t, shift, [128, 255], (48, 32));
        encoded(image::RgbImage::from_fn(48, 32, |x, y| [labels.get_pixel(x, y).0[0], 0, 0].into()))
    };
    let folder = sequence(rgb);
    for task in ["sa-v", "semi-supervised", "unsupervised"] {
        let (_, said) = sav(&folder, task, 1);
        assert!(said.contains("error: v: ") && said.contains("palette or 8-bit gray"), "{said}");
        assert!(said.contains("nothing could be scored"), "{said}");
    }
}

/// As numbers, not as the levels that Pillow makes of them, and a note says so.
#[test]
fn grey_labels_of_a_few_bits() {
    let packed = |t, shift| {
        let image = labelled(t, shift, [1, 2], (48, 32));
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, 48, 32);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Two);
        let bytes: Vec<u8> =
            image.as_raw().chunks(4).map(|four| four.iter().fold(0, |byte, label| byte << 2 | label)).collect();
        encoder.write_header().unwrap().write_image_data(&bytes).unwrap();
        out
    };
    let (json, said) = sav(&sequence(packed), "semi-supervised", 0);
    let (plain, quiet) = sav(&sequence(|t, shift| encoded(labelled(t, shift, [1, 2], (48, 32)))), "semi-supervised", 0);
    assert_eq!((&json["aggregate"], &json["pairs"]), (&plain["aggregate"], &plain["pairs"]));
    assert_eq!(json["unit"], "fraction");
    assert!(said.contains("2 or 4 bits") && said.contains("davis2017") && said.contains("v: "), "{said}");
    assert!(!quiet.contains("bits"), "{quiet}");
}

#[test]
fn sa_v_says_its_unit() {
    let folder = data().join("sav");
    let output = Command::new(env!("CARGO_BIN_EXE_hrseg"))
        .args(["evaluate", "--davis", "sa-v", "--pred"])
        .arg(folder.join("pred"))
        .arg("--gt")
        .arg(folder.join("gt"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("61.6099 %"), "{said}");
    let (json, _) = video("sav", "sa-v", 0, &[]);
    assert_eq!(json["unit"], "percent");
}

#[test]
fn a_pointer_of_git_lfs_among_masks() {
    let folder = tempfile::tempdir().unwrap();
    for side in ["pred", "gt"] {
        std::fs::create_dir(folder.path().join(side)).unwrap();
        std::fs::write(folder.path().join(side).join("a.png"), encoded(labelled(0, 0, [255, 255], (48, 32)))).unwrap();
    }
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n";
    std::fs::write(folder.path().join("gt/a.png"), pointer).unwrap();
    let (_, said) = evaluate(&folder.path().join("pred"), &folder.path().join("gt"), ["--metrics", "mae"], 1);
    assert!(said.contains("a.png") && said.contains("git lfs pull"), "{said}");
}

#[cfg(unix)]
#[test]
fn a_link_keeps_its_name() {
    let folder = tempfile::tempdir().unwrap();
    for side in ["pred", "truths"] {
        std::fs::create_dir(folder.path().join(side)).unwrap();
        std::fs::write(folder.path().join(side).join("a.png"), encoded(labelled(0, 0, [255, 255], (48, 32)))).unwrap();
    }
    std::os::unix::fs::symlink(folder.path().join("truths"), folder.path().join("gt")).unwrap();
    let (json, _) = evaluate(&folder.path().join("pred"), &folder.path().join("gt"), ["--metrics", "mae"], 0);
    assert_eq!(json["dataset"], "gt");
}

/// What a reader of a protocol takes as it is, and truths that leave nothing outside, are told as what they are.
#[test]
fn notes_on_truths_of_small_levels_and_without_background() {
    let folder = tempfile::tempdir().unwrap();
    let write = |side: &str, name: &str, levels: &dyn Fn(u32) -> u8| {
        std::fs::create_dir_all(folder.path().join(side)).unwrap();
        GrayImage::from_fn(24, 16, |x, _| [levels(x)].into()).save(folder.path().join(side).join(name)).unwrap();
    };
    write("pred", "a.png", &|x| if x > 9 { 255 } else { 0 });
    write("ones", "a.png", &|x| u8::from(x > 9));
    write("full", "a.png", &|x| 254 + u8::from(x > 9));
    write("grey", "a.png", &|x| if x > 9 { 200 } else { 40 * u8::from(x > 3) });
    let notes = |gt: &str, protocol: &str| {
        let (json, _) = evaluate(&folder.path().join("pred"), &folder.path().join(gt), ["--protocol", protocol], 0);
        json["notes"].clone()
    };
    let small = "1 of 1 ground truths have levels up to 1 alone, which this protocol's reader takes as they are";
    assert_eq!(notes("ones", "mvanet"), serde_json::json!([small]));
    assert_eq!(notes("full", "default"), serde_json::json!(["1 of 1 ground truths have every pixel inside"]));
    let grey = "1 of 1 ground truths have 3 levels up to 200: taken as grey, not as labels";
    assert_eq!(notes("grey", "default"), serde_json::json!([grey]));
}
