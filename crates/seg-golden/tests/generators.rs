//! The fill rule and the input generators against samples that the reference wrote.

use candle_core::{Device, Tensor};
use seg_golden::{Case, Checker, Error, Status, check_generators};
use std::fs;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("seg-golden-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a writable folder for temporary files");
    dir
}

#[test]
fn samples_of_the_reference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/sam/sam1_inputs.json");
    let case = Case::read(&path).unwrap();
    let mut checks = Checker::new(&case);
    let outcome = check_generators(&mut checks);
    let report = checks.finish(outcome);
    assert_eq!(report.status, Status::Pass, "{:#?}", report.failures);
    assert!(report.compared >= case.output_names().count());
    // rounding alone: far closer than the tolerance of a model's outputs
    assert!(report.worst.unwrap().worst_ratio < 0.01);
}

#[test]
fn a_case_of_ones_own() {
    let dir = folder("own");
    let input = Tensor::new(&[[1f32, 2.0]], &Device::Cpu).unwrap();
    let output = Tensor::new(&[[2f32, 4.0]], &Device::Cpu).unwrap();
    let tensors = [("input.x".to_string(), input.clone()), ("y".to_string(), output)].into();
    candle_core::safetensors::save::<String, _>(&tensors, dir.join("double.safetensors")).unwrap();
    let json =
        r#"{"case": "double", "weights": "w.safetensors", "tolerance": {"atol": 0.01, "rtol": 0.0}, "later": 1}"#;
    fs::write(dir.join("double.json"), json).unwrap();
    let case = Case::read(&dir.join("double.json")).unwrap();
    assert_eq!(case.weights_file(), Some(dir.join("w.safetensors")));
    let x = case.stored_input("input.x", &Device::Cpu).unwrap().unwrap();
    let run = |factor: f64| {
        let mut checks = Checker::new(&case);
        let outcome = (&x * factor).map(|y| checks.tensor("y", &y)).map_err(Error::from);
        checks.finish(outcome)
    };
    assert_eq!(run(2.0).status, Status::Pass);
    let off = run(2.01);
    assert_eq!((off.status, off.failures[0].at_index.clone()), (Status::Fail, vec![0, 1]));
    assert!(off.line().starts_with("FAIL double"), "{}", off.line());
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn outputs_that_nobody_compares_fail() {
    let dir = folder("forgotten");
    let json = r#"{"case": "c", "outputs": {"a": {"shape": [2]}, "b": {"shape": [1, 0, 4]}, "c": {"shape": [1]}}}"#;
    fs::write(dir.join("c.json"), json).unwrap();
    let case = Case::read(&dir.join("c.json")).unwrap();
    let mut checks = Checker::new(&case);
    checks.tensor("b", &Tensor::zeros((1, 0, 4), candle_core::DType::F32, &Device::Cpu).unwrap());
    checks.tensor("not stored", &Tensor::zeros(1, candle_core::DType::F32, &Device::Cpu).unwrap());
    checks.leave_out("c", "needs a GPU");
    let report = checks.finish(Ok::<_, Error>(()));
    assert_eq!(report.failures.len(), 1);
    assert_eq!(report.failures[0].describe(), "a: stored in the case but not produced by its runner");
    assert_eq!(report.left_out["c"], "needs a GPU");
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn damaged_cases_say_what_is_wrong() {
    let dir = folder("damaged");
    let path = dir.join("x.json");
    assert!(matches!(Case::read(&path), Err(Error::Io { .. })));
    fs::write(&path, "{\"case\": ").unwrap();
    assert!(matches!(Case::read(&path), Err(Error::Json { .. })) && !Case::is_case(&path));
    fs::write(&path, "{\"pairs\": 1}").unwrap();
    assert!(!Case::is_case(&path));
    fs::write(&path, "{\"case\": \"x\", \"values\": {\"fill_scale\": [[\"a\"]]}}").unwrap();
    assert!(Case::is_case(&path));
    let error = Case::read(&path).unwrap().generated("model").unwrap_err().to_string();
    assert_eq!(error, "case x: field values.fill_scale: [\"a\"], expected names with numbers");
    fs::write(dir.join("x.safetensors"), [0u8; 4]).unwrap();
    assert!(matches!(Case::read(&path), Err(Error::SafeTensors { .. })));
    fs::remove_dir_all(&dir).unwrap();
}
