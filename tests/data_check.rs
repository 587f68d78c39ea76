//! `hrseg data`, run as a user runs it.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod common;

use common::Sandbox;
use hrseg::seg_data::{GrayImage, RgbImage, load_image, output};
use image::{Luma, Rgb};
use serde_json::Value;

/// A pair whose picture is like no other one of another `seed`, and whose mask has so many of 16 columns inside.
fn pair(sandbox: &Sandbox, part: &str, stem: &str, seed: u8, columns: u32) {
    let image = RgbImage::from_fn(16, 10, |x, y| Rgb([seed, (x * 15) as u8, (y * 25) as u8]));
    let mask = GrayImage::from_fn(16, 10, |x, _| Luma([if x < columns { 255 } else { 0 }]));
    for (folder, png) in [("im", output::png(&image).unwrap()), ("gt", output::png(&mask).unwrap())] {
        let path = sandbox.path(&format!("set/{part}/{folder}/{stem}.png"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, png).unwrap();
    }
}

fn sound() -> Sandbox {
    let sandbox = Sandbox::new();
    for (i, stem) in ["1", "2", "10"].iter().enumerate() {
        pair(&sandbox, "DIS-TR", stem, i as u8, 4 + 4 * i as u32);
    }
    pair(&sandbox, "DIS-VD", "1", 100, 8);
    sandbox
}

#[test]
fn a_sound_set_is_told_and_drawn() {
    let sandbox = sound();
    let run = sandbox.hrseg(&["data", "check", "set", "--layout", "dis5k", "-o", "sheet.png"]).exits(0);
    assert_eq!(run.stderr, "");
    for part in [
        "DIS-TR\n",
        "pairs     3, of which a training can use 3",
        "16x10",
        "quartiles 37.5 %, 50.0 %, 62.5 %",
        "DIS-VD\n",
    ] {
        assert!(run.stdout.contains(part), "{part:?}\n{}", run.stdout);
    }
    assert!(run.stdout.contains("  1   2   10\n"), "{}", run.stdout);
    let sheet = load_image(sandbox.path("sheet.png"), &Default::default()).unwrap().image;
    assert!(sheet.width() > 1000 && sheet.pixels().any(|p| p.0[0] > 200 && p.0[1] < 90), "an outline is drawn");
    // nothing is written over
    let again = ["data", "check", "set", "-o", "sheet.png"];
    assert!(sandbox.hrseg(&again).exits(2).stderr.contains("--force"));
    sandbox.hrseg(&[&again[..], &["--force", "--split", "dis-tr"]].concat()).exits(0);
    // one part is the same data set
    let run = sandbox.hrseg(&["data", "check", "set/DIS-TR", "--layout", "dis5k", "--json"]).exits(0);
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    let report = &json["parts"][0]["report"];
    assert_eq!((&json["parts"].as_array().unwrap().len(), &report["pairs"]), (&1, &3.into()));
    assert_eq!((&report["levels"][0], &report["levels"][255]), (&240.into(), &240.into()));
    assert_eq!(json["sheet"], Value::Null);
}

#[test]
fn what_is_wrong_has_a_line_each() {
    let sandbox = sound();
    for (stem, columns) in [("empty", 0), ("full", 16), ("cut", 3), ("small", 3), ("lone", 3), ("alone", 3)] {
        pair(&sandbox, "DIS-TR", stem, 50 + stem.len() as u8 + columns as u8, columns);
    }
    pair(&sandbox, "DIS-VD", "copy", 0, 4);
    let path = |name: &str| sandbox.path(&format!("set/DIS-TR/{name}.png"));
    std::fs::remove_file(path("gt/lone")).unwrap();
    std::fs::remove_file(path("im/alone")).unwrap();
    std::fs::write(path("im/cut"), &std::fs::read(path("im/1")).unwrap()[..60]).unwrap();
    std::fs::write(path("gt/small"), output::png(&GrayImage::from_pixel(4, 4, Luma([255]))).unwrap()).unwrap();
    let run = sandbox.hrseg(&["data", "check", "set", "-o", "sheet.png"]).exits(1);
    let lines: Vec<&str> = run.stderr.lines().collect();
    for parts in [
        &["error: DIS-TR", "1 picture without a mask: lone.png"][..],
        &["error: DIS-TR", "1 mask without a picture: alone.png"],
        &["error: DIS-TR", "cut.png"],
        &["error: DIS-TR", "small (picture 16x10, mask 4x4)"],
        &["error: DIS-TR", "1 mask has nothing inside: empty"],
        &["error: DIS-TR", "everything inside: full"],
        &["error: 1 picture is in several parts: DIS-TR/1 = DIS-VD/copy"],
    ] {
        assert_eq!(
            lines.iter().filter(|line| parts.iter().all(|part| line.contains(part))).count(),
            1,
            "{parts:?} {lines:#?}"
        );
    }
    assert!(run.stdout.contains("pairs     7, of which a training can use 4"), "{}", run.stdout);
}

#[test]
fn wrong_use_exits_with_2() {
    let sandbox = sound();
    for (args, part) in [
        (&["nothing-here"][..], "nothing-here"),
        (&["set", "--layout", "dis6k"], "known: dis5k"),
        (&["set", "--split", "test"], "DIS-TR, DIS-VD"),
        (&["set", "-o", "sheet.jpg"], "ends in .png"),
        (&["set", "-o", "none/sheet.png"], "the folder none does not exist"),
    ] {
        let run = sandbox.hrseg(&[&["data", "check"], args].concat()).exits(2);
        assert!(run.stderr.contains(part) && run.stderr.lines().count() == 1, "{args:?} {}", run.stderr);
    }
    std::fs::create_dir(sandbox.path("blank")).unwrap();
    sandbox.hrseg(&["data", "check", "blank"]).refuses(&["blank", "no picture and mask of the same stem"]);
    sandbox.hrseg(&["data", "check", "blank", "--layout", "duts"]).refuses(&["blank", "DUTS-TR/DUTS-TR-Image"]);
}

#[test]
fn what_is_made_on_the_fly_can_be_looked_at() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("spec.toml"), "task = \"prompted\"\nsize = 48\n[kinds]\ndisc = 1\n").unwrap();
    let check = ["data", "check", "procedural:spec.toml", "-o", "sheet.png", "--draw", "4"];
    let run = sandbox.hrseg(&check).exits(0);
    assert!(run.stdout.contains("of the first 4") && run.stdout.contains("with a coarse mask"), "{}", run.stdout);
    let sheet = load_image(sandbox.path("sheet.png"), &Default::default()).unwrap().image;
    assert!(sheet.width() > 1000 && sheet.pixels().any(|p| p.0[0] > 200 && p.0[1] < 90), "an outline is drawn");
    assert!(sandbox.hrseg(&check).exits(2).stderr.contains("--force"));
    let run = sandbox.hrseg(&["data", "check", "procedural:plain", "--draw", "2", "--json"]).exits(0);
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&json["pictures"], json["inside"].as_array().unwrap().len()), (&2.into(), 5));
    assert!(sandbox.hrseg(&["data", "check", "procedural", "--layout", "dis5k"]).exits(2).stderr.contains("--layout"));
}

#[test]
fn what_is_made_on_the_fly_can_be_kept() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("spec.toml"), "task = \"prompted\"\nsize = 48\n[kinds]\ndisc = 1\n").unwrap();
    let make = ["data", "make", "procedural:spec.toml", "-o", "made", "--count", "3"];
    let run = sandbox.hrseg(&make).exits(0);
    assert!(run.stderr.contains("made: 3 pictures in im, their masks in gt, coarse, prompts.json"), "{}", run.stderr);
    // a folder like any other
    assert!(sandbox.hrseg(&["data", "check", "made"]).exits(0).stdout.contains("a training can use 3"));
    let prompts: Value = serde_json::from_slice(&std::fs::read(sandbox.path("made/prompts.json")).unwrap()).unwrap();
    let mask = load_image(sandbox.path("made/gt/0001.png"), &Default::default()).unwrap().image;
    let inside = |x: f64, y: f64| mask.get_pixel(x as u32, y as u32).0[0] > 127;
    let corners: Vec<f64> =
        prompts["0001.png"]["box"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let (x, y) = ((corners[0] + corners[2]) / 2., (corners[1] + corners[3]) / 2.);
    assert!(inside(x, y), "the box is around the disc: {corners:?}");
    // nothing is replaced unless asked for, and the same place gives the same picture
    let before = std::fs::read(sandbox.path("made/im/0001.png")).unwrap();
    sandbox.hrseg(&make).refuses(&["made/im/0000.png"]);
    sandbox.hrseg(&[&make[..], &["--force"]].concat()).exits(0);
    assert_eq!(std::fs::read(sandbox.path("made/im/0001.png")).unwrap(), before);
    sandbox.hrseg(&[&make[..], &["--force", "--seed", "1"]].concat()).exits(0);
    assert_ne!(std::fs::read(sandbox.path("made/im/0001.png")).unwrap(), before);
    assert!(sandbox.hrseg(&["data", "make", "made", "-o", "x"]).exits(2).stderr.contains("expected procedural"));
    let plain = sandbox.hrseg(&["data", "make", "procedural:plain", "-o", "plain", "--count", "1"]).exits(0);
    assert!(plain.stderr.contains("1 pictures in im, their masks in gt\n"), "{}", plain.stderr);
}
