//! `hrseg evaluate`, run as a user runs it.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::{GrayImage, ImageBuffer, Luma};
use serde_json::Value;

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/seg-metrics/tests/golden/metrics")
}

struct Sandbox(tempfile::TempDir);

impl Sandbox {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// `pred` and `gt` with the goldens whose names contain one of `parts`.
    fn with_goldens(parts: &[&str]) -> Self {
        let sandbox = Self::new();
        for what in ["pred", "gt"] {
            std::fs::create_dir(sandbox.path(what)).unwrap();
            for entry in std::fs::read_dir(goldens()).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let Some(stem) = name.strip_suffix(&format!(".{what}.png")) else { continue };
                if parts.iter().any(|part| stem.contains(part)) {
                    std::fs::copy(&path, sandbox.path(what).join(format!("{stem}.png"))).unwrap();
                }
            }
        }
        sandbox
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `hrseg evaluate` in the sandbox, which must end with `code`.
    fn run(&self, args: &[&str], code: i32) -> Output {
        let output = Command::new(env!("CARGO_BIN_EXE_hrseg"))
            .arg("evaluate")
            .args(args)
            .current_dir(self.0.path())
            .output()
            .expect("the command runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}\n{stderr}");
        output
    }

    /// The JSON of `--pred pred --gt gt` with further options.
    fn json(&self, args: &[&str], code: i32) -> Value {
        let all = [&["--pred", "pred", "--gt", "gt", "--json", "-"], args].concat();
        serde_json::from_slice(&self.run(&all, code).stdout).expect("JSON")
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }
}

const EQUAL_SIZES: [&str; 10] = ["s04", "s05", "s06", "s07", "s08", "s09", "s10", "s11", "s13", "s14"];

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| (value == "NaN").then_some(f64::NAN))
}

#[test]
fn json_has_the_names_and_numbers_of_pysodmetrics() {
    let sandbox = Sandbox::with_goldens(&EQUAL_SIZES);
    let ours = sandbox.json(&["--protocol", "pysodmetrics", "--curves", "--threads", "2"], 0);
    let text = std::fs::read_to_string(goldens().join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let mut compared = 0;
    for (stem, pair) in ours["pairs"].as_object().unwrap() {
        for (group, name, theirs) in [
            ("smeasure", "sm", "smeasure.sm"),
            ("emeasure", "adp", "emeasure.adaptive"),
            ("emeasure", "max", "emeasure.max"),
            ("fmeasure", "adp", "fmeasure.adp"),
        ] {
            let (ours, theirs) = (&pair[theirs], &expected["pairs"][stem]["pysodmetrics"][group][name]);
            let (a, b) = (number(ours).unwrap(), number(theirs).unwrap());
            assert!((a - b).abs() < 1e-10 || (a.is_nan() && b.is_nan()), "{stem} {group}.{name}: {a}, expected {b}");
            compared += 1;
        }
        let dynamic = &expected["pairs"][stem]["pysodmetrics"]["fmeasure_v2"]["iou"]["dynamic"];
        let curve = pair["fmeasure_v2.iou.dynamic"].as_array().unwrap();
        assert_eq!(curve.len(), 256);
        assert!((number(&curve[17]).unwrap() - number(&dynamic[17]).unwrap()).abs() < 1e-12);
    }
    assert_eq!(compared, 40);
    assert_eq!(ours["aggregate"]["smeasure.sm"], "NaN");
    assert_eq!(ours["undefined"]["smeasure.sm"], 1);
    assert_eq!(ours["protocol"]["name"], "pysodmetrics");
    assert_eq!(ours["protocol"]["hash"].as_str().unwrap().len(), 12);
}

#[test]
fn shards_join_to_the_whole() {
    let sandbox = Sandbox::with_goldens(&EQUAL_SIZES);
    let whole = sandbox.json(&["--metrics", "standard,fmeasure_v2,mask_iou"], 0);
    for i in 1..=3 {
        let (shard, file) = (format!("{i}/3"), format!("{i}.json"));
        let args = ["--pred", "pred", "--gt", "gt", "--metrics", "standard,fmeasure_v2,mask_iou"];
        sandbox.run(&[&args[..], &["--shard", &shard, "--json", &file]].concat(), 0);
    }
    sandbox.run(&["merge", "3.json", "1.json", "2.json", "--json", "all.json"], 0);
    let merged: Value = serde_json::from_str(&sandbox.text("all.json")).unwrap();
    assert_eq!(merged, whole);
    sandbox.run(&["merge", "1.json", "3.json"], 2);
    sandbox.run(&["merge", "1.json", "1.json", "2.json", "3.json"], 1);
    let said = sandbox.run(&["merge", "all.json"], 1).stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(
        said.contains("all.json: it is the result of a whole evaluation") && said.contains("--shard I/N"),
        "{said}"
    );
}

#[test]
fn threads_do_not_change_a_bit() {
    let sandbox = Sandbox::with_goldens(&["s10", "s11", "s14"]);
    let one = sandbox.json(&["--metrics", "all", "--threads", "1"], 0);
    assert_eq!(one, sandbox.json(&["--metrics", "all", "--threads", "2"], 0));
    assert_eq!(one, sandbox.json(&["--metrics", "all", "--threads", "5"], 0));
}

#[test]
fn files_without_a_partner_are_told() {
    let sandbox = Sandbox::with_goldens(&["s10", "s11"]);
    std::fs::rename(sandbox.path("pred/s10_thin_structures.png"), sandbox.path("pred/other.png")).unwrap();
    let json = sandbox.json(&["--metrics", "mae"], 1);
    assert_eq!(json["orphans"]["pred"][0], "other");
    assert_eq!(json["orphans"]["gt"][0], "s10_thin_structures");
    assert_eq!(json["pairs"].as_object().unwrap().len(), 1);
    let table = sandbox.run(&["--pred", "pred", "--gt", "gt", "--metrics", "mae"], 1);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("1 predictions without a partner: other"), "{table}");
}

#[test]
fn sizes_that_differ_fail_or_are_resized_by_protocol() {
    let sandbox = Sandbox::with_goldens(&["s11", "s12"]);
    let json = sandbox.json(&["--metrics", "standard"], 1);
    assert!(json["failed"]["s12_size_mismatch"].as_str().unwrap().contains("260x180"));
    assert_eq!(json["pairs"].as_object().unwrap().len(), 1);
    let text = std::fs::read_to_string(goldens().join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    for protocol in ["mvanet", "birefnet", "saliency_toolbox"] {
        let json = sandbox.json(&["--metrics", "mae,wfm", "--protocol", protocol], 0);
        for (ours, theirs) in [("mae", "mae"), ("wfm_beta1", "wfm")] {
            let a = json["pairs"]["s12_size_mismatch"][ours].as_f64().unwrap();
            let b = expected["pairs"]["s12_size_mismatch"][protocol][theirs].as_f64().unwrap();
            // the weighted F of the toolbox is in float32
            let tolerance = if protocol == "saliency_toolbox" && ours != "mae" { 2e-5 } else { 1e-9 };
            assert!((a - b).abs() < tolerance, "{protocol} {ours}: {a}, expected {b}");
        }
    }
}

#[test]
fn other_formats() {
    let sandbox = Sandbox::new();
    for what in ["pred", "gt"] {
        std::fs::create_dir(sandbox.path(what)).unwrap();
    }
    let gray = GrayImage::from_fn(40, 30, |x, y| Luma([(x * 6 + y) as u8]));
    let deep: ImageBuffer<Luma<u16>, Vec<u16>> =
        ImageBuffer::from_fn(40, 30, |x, y| Luma([257 * u16::from(gray.get_pixel(x, y).0[0])]));
    let gt = GrayImage::from_fn(40, 30, |x, _| Luma([if x > 20 { 255 } else { 0 }]));
    for stem in ["eight", "sixteen", "jpeg"] {
        gt.save(sandbox.path("gt").join(format!("{stem}.png"))).unwrap();
    }
    gray.save(sandbox.path("pred/eight.png")).unwrap();
    deep.save(sandbox.path("pred/sixteen.png")).unwrap();
    gray.save(sandbox.path("pred/jpeg.jpg")).unwrap();
    let json = sandbox.json(&["--metrics", "standard"], 0);
    // 16 bits are the same levels, finer
    assert_eq!(json["pairs"]["sixteen"], json["pairs"]["eight"]);
    let mae = |stem: &str| json["pairs"][stem]["mae"].as_f64().unwrap();
    assert!((mae("jpeg") - mae("eight")).abs() < 0.02);

    std::fs::write(sandbox.path("pred/eight.png"), b"\x89PNG\r\n\x1a\n broken").unwrap();
    let json = sandbox.json(&["--metrics", "standard"], 1);
    assert!(json["failed"]["eight"].as_str().unwrap().contains("eight.png"));
    assert_eq!(json["pairs"].as_object().unwrap().len(), 2);
}

#[test]
fn wrong_use() {
    let sandbox = Sandbox::with_goldens(&["s11"]);
    std::fs::create_dir(sandbox.path("empty")).unwrap();
    sandbox.run(&["--pred", "empty", "--gt", "gt"], 2);
    sandbox.run(&["--pred", "pred", "--gt", "nowhere"], 2);
    sandbox.run(&["--pred", "pred"], 2);
    sandbox.run(&["--pred", "pred", "--gt", "gt", "--metrics", "mea"], 2);
    sandbox.run(&["--pred", "pred", "--gt", "gt", "--protocol", "mine"], 2);
    sandbox.run(&["--pred", "pred", "--gt", "gt", "--protocol", "dis", "--metrics", "mse"], 2);
    sandbox.run(&["--pred", "pred", "--gt", "gt", "--shard", "3/2"], 2);
    std::fs::write(sandbox.path("there.json"), "mine").unwrap();
    sandbox.run(&["--pred", "pred", "--gt", "gt", "--json", "there.json", "--metrics", "mae"], 2);
    assert_eq!(sandbox.text("there.json"), "mine");
    sandbox.run(&["--pred", "pred", "--gt", "gt", "--json", "there.json", "--metrics", "mae", "--force"], 0);
    assert!(sandbox.text("there.json").starts_with('{'));
}

#[test]
fn several_models_and_data_sets() {
    let sandbox = Sandbox::with_goldens(&["s10", "s11", "s14"]);
    for model in ["m1", "m2"] {
        for dataset in ["one", "two"] {
            std::fs::create_dir_all(sandbox.path(model).join(dataset)).unwrap();
            let (gt, stem) =
                (sandbox.path("gt"), if dataset == "one" { "s10_thin_structures" } else { "s14_dense_stripes" });
            std::fs::create_dir_all(sandbox.path("truth").join(dataset)).unwrap();
            std::fs::copy(gt.join(format!("{stem}.png")), sandbox.path("truth").join(dataset).join("a.png")).unwrap();
            // the second model is perfect
            let from = if model == "m2" { gt } else { sandbox.path("pred") };
            std::fs::copy(from.join(format!("{stem}.png")), sandbox.path(model).join(dataset).join("a.png")).unwrap();
        }
    }
    let files = ["--json", "s.json", "--csv", "s.csv", "--markdown", "s.md", "--latex", "s.tex", "--plots", "plots"];
    let args =
        ["--pred", "m1", "--pred", "best=m2", "--gt", "truth/one", "--gt", "B=truth/two", "--metrics", "standard"];
    // B's predictions are not in a folder of that name
    sandbox.run(&[&args[..], &files].concat(), 2);
    let args = ["--pred", "m1", "--pred", "best=m2", "--gt", "truth/one", "--gt", "truth/two", "--metrics", "standard"];
    let output = sandbox.run(&[&args[..], &files].concat(), 0);
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(table.lines().filter(|l| l.starts_with("best") || l.starts_with("m1")).count(), 4, "{table}");
    let json: Value = serde_json::from_str(&sandbox.text("s.json")).unwrap();
    assert_eq!(json["runs"].as_array().unwrap().len(), 4);
    assert_eq!(json["runs"][1]["aggregate"]["mae"], 0.0);
    assert_eq!(sandbox.text("s.csv").lines().count(), 1 + 4 * 2);
    assert!(sandbox.text("s.md").contains("| best | one | 1 |"));
    assert!(sandbox.text("s.tex").contains(r"\textbf{0.0000}"));
    for name in ["one.pr.svg", "two.f.svg", "two.e.svg", "m1.one.worst.png", "best.two.worst.svg"] {
        let size = std::fs::metadata(sandbox.path("plots").join(name)).unwrap_or_else(|_| panic!("{name}")).len();
        assert!(size > 500, "{name}");
    }
    let sheet = image::open(sandbox.path("plots/m1.one.worst.png")).unwrap().into_rgb8();
    // a difference in red: background that was taken for foreground
    assert!(sheet.pixels().any(|p| p.0 == [235, 60, 50]));
}

#[test]
fn video() {
    let sandbox = Sandbox::new();
    let folder = goldens().join("davis");
    let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let sequence = |what: &str| folder.join("two_objects").join(what).to_string_lossy().into_owned();
    let (pred, gt) = (sequence("pred"), sequence("gt"));
    let expected = &expected["sequences"]["two_objects"];
    let run = |task: &str, code: i32| -> Value {
        let output = sandbox.run(&["--davis", task, "--pred", &pred, "--gt", &gt, "--json", "-"], code);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let close = |ours: &Value, theirs: f64| {
        let ours = ours.as_f64().unwrap();
        assert!((ours - theirs).abs() < 1e-9 * theirs.max(1.), "{ours}, expected {theirs}");
    };
    for task in ["semi-supervised", "unsupervised"] {
        let json = run(task, 0);
        for (ours, theirs) in
            [("J-Mean", "J_mean"), ("F-Recall", "F_recall"), ("J-Decay", "J_decay"), ("J&F-Mean", "JF_mean")]
        {
            close(&json["aggregate"][ours], expected[task][theirs].as_f64().unwrap());
        }
    }
    let json = run("sa-v", 0);
    let theirs = &expected["sav_benchmark_skip_first_last"];
    close(&json["pairs"]["gt_1"]["J-Mean"], theirs["J_percent"]["1"].as_f64().unwrap());
    close(&json["pairs"]["gt_2"]["F-Mean"], theirs["F_percent"]["2"].as_f64().unwrap());

    // the same as one of several sequences, of which another lacks frames
    for (what, from) in [("pred", &pred), ("gt", &gt)] {
        for name in ["whole", "torn"] {
            std::fs::create_dir_all(sandbox.path(what).join(name)).unwrap();
            for entry in std::fs::read_dir(from).unwrap() {
                let path = entry.unwrap().path();
                if name == "whole" || what == "gt" || !path.ends_with("00007.png") {
                    std::fs::copy(&path, sandbox.path(what).join(name).join(path.file_name().unwrap())).unwrap();
                }
            }
        }
    }
    let json = sandbox.json(&["--davis", "unsupervised"], 1);
    assert!(json["failed"]["torn"].as_str().unwrap().contains("00007"));
    close(&json["aggregate"]["J-Mean"], expected["unsupervised"]["J_mean"].as_f64().unwrap());
    assert_eq!(json["pairs"].as_object().unwrap().len(), 2);
}

/// Two copies of files of seg-data's tests.
fn with_masks(pred: &str, gt: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let masks = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/seg-data/tests/data/masks");
    for (folder, file) in [("pred", pred), ("gt", gt)] {
        std::fs::create_dir(sandbox.path(folder)).unwrap();
        std::fs::copy(masks.join(file), sandbox.path(folder).join("a.png")).unwrap();
    }
    sandbox
}

#[test]
fn masks_mean_the_same_however_they_are_stored() {
    for (pred, gt) in [
        ("u16_pred.png", "u16_gt255.png"),
        ("u16_pred.png", "u16_gt1.png"),
        ("u16_pred.png", "u16_gt257.png"),
        ("zero_one.png", "zero_one.png"),
        ("palette_pred.png", "palette.png"),
        ("palette.png", "palette_pred.png"),
        ("zero_one.png", "alpha.png"),
    ] {
        let scores = with_masks(pred, gt).json(&["--metrics", "mae,fmeasure,smeasure,mask_iou"], 0);
        let one = |name: &str| scores["aggregate"][name].as_f64().unwrap();
        assert_eq!((one("mae"), one("mask_iou")), (0., 1.), "{pred} {gt}");
        assert!((one("fmeasure.max") - 1.).abs() < 1e-9 && (one("smeasure.sm") - 1.).abs() < 1e-9, "{pred} {gt}");
    }
}

#[test]
fn a_named_protocol_reads_as_its_toolkit() {
    for gt in ["u16_gt255.png", "u16_gt1.png"] {
        let scores = with_masks("u16_pred.png", gt).json(&["--protocol", "mvanet", "--metrics", "mae,smeasure"], 0);
        assert_eq!(scores["aggregate"]["mae"], 0., "{gt}");
        assert!((scores["aggregate"]["smeasure.sm"].as_f64().unwrap() - 1.0007).abs() < 5e-5, "{gt}");
    }
    // OpenCV leaves nothing of either: that is said, and the run fails
    for gt in ["u16_gt255.png", "zero_one.png"] {
        let scores = with_masks("zero_one.png", gt).json(&["--protocol", "pysodmetrics", "--metrics", "mae"], 1);
        assert!(scores["notes"].to_string().contains("none of the 1 ground truths"), "{gt}: {scores}");
    }
}

/// What a toolkit's reader makes of files that nobody meant so is said, though the score is its score.
#[test]
fn what_a_toolkit_loses_is_told() {
    let sixteen = |levels: [u16; 3]| {
        image::DynamicImage::from(ImageBuffer::<Luma<u16>, _>::from_fn(60, 40, |x, _| Luma([levels[x as usize / 20]])))
    };
    let eight =
        |levels: [u8; 3]| image::DynamicImage::from(GrayImage::from_fn(60, 40, |x, _| Luma([levels[x as usize / 20]])));
    let plain = eight([0, 255, 255]);
    let cases = [
        (sixteen([0, 3000, 65535]), plain.clone(), "mvanet", "1 of 1 predictions have 16-bit levels, which"),
        (sixteen([0, 1, 1]), plain.clone(), "pysodmetrics", "16-bit levels up to 1, of which"),
        (sixteen([0, 1, 1]), plain.clone(), "pysodmetrics", "1 of 1 predictions are black"),
        (eight([0, 0, 0]), plain.clone(), "default", "1 of 1 predictions are black"),
        (plain.clone(), eight([0, 1, 255]), "pysodmetrics", "so that only 255 is inside"),
    ];
    for (pred, gt, protocol, said) in cases {
        let sandbox = Sandbox::new();
        for (folder, image) in [("pred", pred), ("gt", gt)] {
            std::fs::create_dir(sandbox.path(folder)).unwrap();
            image.save(sandbox.path(folder).join("a.png")).unwrap();
        }
        let scores = sandbox.json(&["--protocol", protocol, "--metrics", "mae"], 0);
        assert!(scores["notes"].to_string().contains(said), "{protocol}: {said:?} is not in {}", scores["notes"]);
    }
    let palette = with_masks("palette_pred.png", "palette.png");
    let run = palette.run(&["--pred", "pred", "--gt", "gt", "--protocol", "dis", "--metrics", "mae"], 1);
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(said.contains("this protocol's reader takes the grey, not the labels"), "{said}");
}

#[test]
fn folders_that_are_not_looked_into_and_names_that_are_no_files() {
    let sandbox = with_masks("zero_one.png", "zero_one.png");
    for folder in ["pred/more", "gt/more", "gt/empty"] {
        std::fs::create_dir(sandbox.path(folder)).unwrap();
    }
    for folder in ["pred", "gt"] {
        std::fs::copy(sandbox.path("gt/a.png"), sandbox.path(folder).join("more/b.png")).unwrap();
    }
    let run = sandbox.run(&["--pred", "pred", "--gt", "gt", "--metrics", "mae"], 0);
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    for folder in ["pred", "gt"] {
        assert!(said.contains(&format!("{folder}: left out: 1 folder with images in it")), "{said}");
    }
    let run = sandbox.run(&["--pred", "pred/a.png", "--gt", "gt"], 2);
    assert!(String::from_utf8_lossy(&run.stderr).contains("pred/a.png, which is a file, expected a folder"));
    let run = sandbox.run(&["--pred", "pred", "--gt", "gt", "--csv", "-"], 2);
    assert!(String::from_utf8_lossy(&run.stderr).contains("--csv -: expected a file"));
}
