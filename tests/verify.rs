//! `hrseg verify` on a user's own checkpoint, and the command around it.

use candle_core::{Device, Tensor};
use hrseg::seg_golden::fill::fill_tensor;
use hrseg::seg_golden::{Case, Pattern};
use hrseg::verify::{CaseReport, Status, run_dir};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

type Tensors = HashMap<String, Tensor>;

/// The toy encoder as a user's case: its weights in a checkpoint, its image stored, a salt that would generate others.
fn own_case(dir: &Path, change: impl FnOnce(&mut Tensors)) -> PathBuf {
    let source = golden("sam2/sam2_enc_toy_256.json");
    let case = Case::read(&source).expect("the toy case");
    let names = case.official("model").expect("its official names");
    let mut weights: Tensors = names
        .into_iter()
        .map(|n| (n.name.clone(), fill_tensor(&n.name, n.shape, "", &Device::Cpu).expect("a weight")))
        .collect();
    change(&mut weights);
    candle_core::safetensors::save(&weights, dir.join("encoder.safetensors")).expect("a checkpoint");

    let stored = source.with_extension("safetensors");
    let mut outputs = candle_core::safetensors::load(stored, &Device::Cpu).expect("the outputs");
    let image = Pattern::new("input.image").image(256, 256, &Device::Cpu).expect("the image");
    outputs.insert("input.image".into(), image);
    candle_core::safetensors::save(&outputs, dir.join("sam2_enc_mine.safetensors")).expect("the case's tensors");

    let text = std::fs::read_to_string(source).expect("the toy case");
    let mut json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    json["case"] = "sam2_enc_mine".into();
    json["salt"] = "another".into();
    json["inputs"]["input.image"]["salt"] = "another".into();
    json["modules"] = serde_json::json!({});
    json["weights"] = "encoder.safetensors".into();
    let path = dir.join("sam2_enc_mine.json");
    std::fs::write(&path, json.to_string()).expect("the case");
    path
}

fn verify(path: &Path) -> CaseReport {
    run_dir(path, None, &Device::Cpu).expect("a case").next().expect("its report")
}

#[test]
fn a_checkpoint_of_ones_own() {
    let dir = tempfile::tempdir().unwrap();
    let report = verify(&own_case(dir.path(), |_| {}));
    assert_eq!(report.status, Status::Pass, "{:?} {:?}", report.message, report.failures);
    // every output of the toy case, and the names
    assert_eq!(report.compared, 23);
}

#[test]
fn another_weight_is_noticed_where_it_acts() {
    const NAME: &str = "image_encoder.neck.convs.3.conv.bias";
    let dir = tempfile::tempdir().unwrap();
    let report = verify(&own_case(dir.path(), |weights| {
        let bias = (&weights[NAME] + 0.01).unwrap();
        weights.insert(NAME.into(), bias);
    }));
    let failed: Vec<&str> = report.failures.iter().map(|f| f.name.as_str()).collect();
    assert_eq!((report.status, failed), (Status::Fail, vec!["neck.fpn0"]));
}

#[test]
fn checkpoints_that_do_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let extra = own_case(dir.path(), |weights| {
        weights.insert("head.weight".into(), Tensor::zeros(4, candle_core::DType::F32, &Device::Cpu).unwrap());
    });
    let report = verify(&extra);
    assert_eq!(report.failures.len(), 1);
    assert!(report.failures[0].describe().contains("1 never requested: head.weight"), "{:?}", report.failures);

    let missing = own_case(dir.path(), |weights| {
        weights.remove("image_encoder.trunk.pos_embed");
    });
    let report = verify(&missing);
    assert_eq!(report.status, Status::Fail);
    assert!(report.message.as_deref().is_some_and(|m| m.contains("image_encoder.trunk.pos_embed")), "{report:?}");

    std::fs::write(dir.path().join("encoder.safetensors"), b"not a checkpoint").unwrap();
    let report = verify(&missing);
    assert!(report.message.as_deref().is_some_and(|m| m.contains("encoder.safetensors")), "{report:?}");
}

#[cfg(feature = "cli")]
mod command {
    use super::*;
    use std::process::{Command, Output};

    fn hrseg(args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hrseg")).arg("verify").args(args).output().expect("the command runs")
    }

    fn stdout(output: &Output) -> String {
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[test]
    fn a_line_a_case() {
        let output = hrseg(&[&golden("mobile-sam").to_string_lossy(), "--filter", "blocks", "--device", "cpu"]);
        assert_eq!(output.status.code(), Some(0));
        let text = stdout(&output);
        assert!(text.starts_with("PASS mobilesam_blocks") && text.lines().count() == 1, "{text}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("1 passed, 0 failed, 0 skipped"));
    }

    #[test]
    fn failures_exit_with_1_and_name_the_tensor() {
        let dir = tempfile::tempdir().unwrap();
        let path = own_case(dir.path(), |weights| {
            let name = "image_encoder.neck.convs.3.conv.bias";
            let bias = (&weights[name] * 3.0).unwrap();
            weights.insert(name.into(), bias);
        });
        let output = hrseg(&[&path.to_string_lossy(), "--json", "--device", "cpu"]);
        assert_eq!(output.status.code(), Some(1));
        let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(json[0]["status"], "fail");
        assert_eq!(json[0]["failures"][0]["name"], "neck.fpn0");
        assert!(json[0]["worst"]["worst_ratio"].as_f64().unwrap() > 1.0);
    }

    #[test]
    fn unknown_kinds_are_skipped_in_a_folder_and_fail_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("later_toy.json"), r#"{"case": "later_toy"}"#).unwrap();
        let folder = hrseg(&[&dir.path().to_string_lossy()]);
        assert_eq!(folder.status.code(), Some(0));
        assert!(stdout(&folder).contains("SKIP later_toy"), "{}", stdout(&folder));
        let alone = hrseg(&[&dir.path().join("later_toy.json").to_string_lossy()]);
        assert_eq!(alone.status.code(), Some(1));
        assert!(stdout(&alone).contains("no runner for kind later"), "{}", stdout(&alone));
    }

    #[test]
    fn wrong_use_exits_with_2() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().to_string_lossy().into_owned();
        for args in [vec!["/no/such/folder"], vec![&empty], vec![&empty, "--dtype", "f16"], vec![]] {
            let output = hrseg(&args);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
