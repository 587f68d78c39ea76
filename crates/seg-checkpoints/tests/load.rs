//! Strict loading and its report, writing, converting.
#![allow(clippy::unwrap_used)] // in tests a panic is the report, in their helpers too

mod common;

use candle_core::{DType, Device, Tensor};
use common::data;
use seg_checkpoints::{
    Checkpoint, Error, LoadPolicy, LoadReport, convert, load_strict, sha256_file, write_safetensors,
};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn write(dir: &tempfile::TempDir, tensors: &[(&str, &[usize])]) -> PathBuf {
    let map: BTreeMap<String, Tensor> =
        tensors.iter().map(|(n, s)| (n.to_string(), Tensor::ones(*s, DType::F32, &Device::Cpu).unwrap())).collect();
    let path = dir.path().join("model.safetensors");
    write_safetensors(&path, &map, &BTreeMap::new()).unwrap();
    path
}

/// Loads `a.weight` (2, 3) and `a.bias` (2), and `opt.x` (4).
fn load(path: &PathBuf, policy: &LoadPolicy) -> Result<(Vec<Tensor>, LoadReport), Error> {
    let c = Checkpoint::open(path).unwrap();
    load_strict(&c, DType::F32, &Device::Cpu, policy, |vb| {
        Ok(vec![vb.pp("a").get((2, 3), "weight")?, vb.pp("a").get(2, "bias")?, vb.pp("opt").get(4, "x")?])
    })
}

fn report(error: Error) -> (String, LoadReport) {
    let text = error.to_string();
    match error {
        Error::Mismatch { report, .. } => (text, *report),
        other => panic!("{other}"),
    }
}

#[test]
fn whole_file_loads() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(&dir, &[("a.weight", &[2, 3]), ("a.bias", &[2]), ("opt.x", &[4])]);
    let (tensors, report) = load(&path, &LoadPolicy::strict()).unwrap();
    assert!(report.is_ok());
    assert_eq!(report.loaded, 3);
    assert_eq!(tensors[0].sum_all().unwrap().to_scalar::<f32>().unwrap(), 6.);
    assert!(report.summary().starts_with("3 tensors loaded"), "{}", report.summary());
}

#[test]
fn all_misfits_are_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(&dir, &[("a.weight", &[3, 2]), ("b", &[1]), ("c", &[1])]);
    let (text, report) = report(load(&path, &LoadPolicy::strict()).unwrap_err());
    assert_eq!(report.missing, ["a.bias", "opt.x"]);
    assert_eq!(report.extra, ["b", "c"]);
    assert_eq!((&report.mis_shaped[0].got, &report.mis_shaped[0].expected), (&vec![3, 2], &vec![2, 3]));
    assert!(!text.contains('\n'));
    for part in [
        "model.safetensors: ",
        "2 missing (a.bias, opt.x)",
        "a.weight: [3, 2] instead of [2, 3]",
        "2 unexpected (b, c)",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn policy_allows_what_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(&dir, &[("a.weight", &[2, 3]), ("a.bias", &[2]), ("head.w", &[1]), ("header", &[1])]);
    let (_, strict) = report(load(&path, &LoadPolicy::strict().optional(["opt"])).unwrap_err());
    assert_eq!(strict.extra, ["head.w", "header"]);
    let (_, whole) = report(load(&path, &LoadPolicy::strict().optional(["opt"]).unused(["head"])).unwrap_err());
    assert_eq!(whole.extra, ["header"], "head covers whole components only");
    let policy = LoadPolicy::strict().optional(["op*"]).unused(["head*"]);
    let (tensors, report) = load(&path, &policy).unwrap();
    assert_eq!(report.zero_filled, ["opt.x"]);
    assert_eq!(report.ignored, ["head.w", "header"]);
    assert_eq!(tensors[2].to_vec1::<f32>().unwrap(), [0.; 4]);
    assert!(load(&path, &LoadPolicy::strict().optional(["opt."]).allow_extra()).is_ok());
    let text = report.to_string();
    assert!(text.contains("1 optional, missing, set to zero (opt.x)"), "{text}");
}

#[test]
fn whole_numbers_are_no_weights() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.safetensors");
    let map = BTreeMap::from([("w".to_string(), Tensor::zeros(2, DType::I64, &Device::Cpu).unwrap())]);
    write_safetensors(&path, &map, &BTreeMap::new()).unwrap();
    let c = Checkpoint::open(&path).unwrap();
    let error = load_strict(&c, DType::F32, &Device::Cpu, &LoadPolicy::strict(), |vb| vb.get(2, "w")).unwrap_err();
    assert!(error.to_string().contains("w: I64 instead of F32"), "{error}");
}

#[test]
fn own_failures_of_a_model_are_told_as_such() {
    let c = Checkpoint::open(data("views.pth.bin")).unwrap();
    let result = load_strict(&c, DType::F32, &Device::Cpu, &LoadPolicy::strict().allow_extra(), |vb| {
        vb.get((4, 6), "base")?;
        candle_core::bail!("odd configuration");
        #[allow(unreachable_code)]
        Ok(())
    });
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Model { .. }) && error.to_string().contains("odd configuration"), "{error}");
}

#[test]
fn every_type_survives_writing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.safetensors");
    let base = Tensor::new(&[[0f64, 1., 2.], [3., 4., 5.]], &Device::Cpu).unwrap();
    let mut map = BTreeMap::new();
    for dtype in
        [DType::U8, DType::U32, DType::I16, DType::I32, DType::I64, DType::F16, DType::BF16, DType::F32, DType::F64]
    {
        map.insert(format!("{dtype:?}"), base.to_dtype(dtype).unwrap());
    }
    map.insert("transposed".into(), base.t().unwrap());
    map.insert("scalar".into(), Tensor::new(7f32, &Device::Cpu).unwrap());
    map.insert("empty".into(), Tensor::zeros((0, 2), DType::F32, &Device::Cpu).unwrap());
    let metadata = BTreeMap::from([("note".to_string(), "line\n\"quoted\"".to_string())]);
    write_safetensors(&path, &map, &metadata).unwrap();
    let c = Checkpoint::open(&path).unwrap();
    assert_eq!(c.metadata(), &metadata);
    assert_eq!(c.keys().count(), map.len());
    for (name, tensor) in &map {
        let read = c.tensor(name, &Device::Cpu).unwrap();
        assert_eq!((read.dtype(), read.dims()), (tensor.dtype(), tensor.dims()), "{name}");
        let flat = |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(flat(&read), flat(tensor), "{name}");
    }
    // the reference reader agrees
    let bytes = std::fs::read(&path).unwrap();
    let other = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(other.len(), map.len());
    assert_eq!(other.tensor("transposed").unwrap().shape(), [3, 2]);
    // nothing is left beside it
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn converting_keeps_values_and_tells_the_source() {
    let dir = tempfile::tempdir().unwrap();
    let source = data("ddp_legacy.pth.bin");
    let path = dir.path().join("c.safetensors");
    let old = Checkpoint::open(&source).unwrap();
    convert(&old, &path).unwrap();
    let new = Checkpoint::open(&path).unwrap();
    assert_eq!(new.tensors(), old.tensors());
    for name in old.keys() {
        let bits = |c: &Checkpoint| {
            c.tensor(name, &Device::Cpu)
                .unwrap()
                .to_dtype(DType::F64)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1::<f64>()
                .unwrap()
        };
        assert_eq!(bits(&old), bits(&new), "{name}");
    }
    let m = new.metadata();
    assert_eq!(m["source_file"], "ddp_legacy.pth.bin");
    assert_eq!(m["source_sha256"], sha256_file(&source).unwrap());
    assert_eq!((m["source_key"].as_str(), m["stripped_prefix"].as_str()), ("state_dict", "module."));
}

#[cfg(unix)]
#[test]
fn failed_writing_leaves_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(&dir, &[("a", &[1])]);
    let before = std::fs::read(&path).unwrap();
    // a type that safetensors cannot hold fails before anything is written
    let odd = Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap().to_dtype(DType::F8E4M3).unwrap();
    let error = write_safetensors(&path, &BTreeMap::from([("w".into(), odd)]), &BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("F8E4M3"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    // a folder that is not there
    let error = write_safetensors(dir.path().join("no/x.safetensors"), &BTreeMap::new(), &BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("cannot write into it"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
