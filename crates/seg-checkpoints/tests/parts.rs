//! Checkpoints of several files.
#![allow(clippy::unwrap_used)] // in tests a panic is the report, in their helpers too

mod common;

use candle_core::{DType, Device, Tensor};
use common::put;
use seg_checkpoints::{Checkpoint, FetchOptions, LoadPolicy, convert, load_strict, resolve, write_safetensors};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::{TempDir, tempdir};

const INDEX: &str = "model.safetensors.index.json";

fn write(path: &Path, values: &[(&str, f32)]) {
    let tensor = |value: f32| Tensor::new(&[value], &Device::Cpu).unwrap();
    let tensors: BTreeMap<String, Tensor> = values.iter().map(|&(n, v)| (n.to_owned(), tensor(v))).collect();
    write_safetensors(path, &tensors, &BTreeMap::new()).unwrap();
}

/// A folder with two parts and the list `index` of them.
fn folder(index: &str) -> TempDir {
    let dir = tempdir().unwrap();
    write(&dir.path().join("a.safetensors"), &[("module.evf_model.x", 1.), ("module.evf_model.y", 2.)]);
    write(&dir.path().join("b.safetensors"), &[("module.evf_model.z", 3.)]);
    put(&dir, INDEX, index.as_bytes());
    dir
}

const GOOD: &str =
    r#"{"metadata": {}, "weight_map": {"x": "a.safetensors", "y": "a.safetensors", "z": "b.safetensors"}}"#;

#[test]
fn parts_are_one_checkpoint() {
    let dir = folder(GOOD);
    for path in [dir.path().to_path_buf(), dir.path().join(INDEX)] {
        let file = Checkpoint::open(&path).unwrap();
        assert_eq!(file.keys().collect::<Vec<_>>(), ["x", "y", "z"]);
        assert_eq!((file.stripped_prefix(), file.files().count()), (Some("module.evf_model."), 2));
        let sizes =
            ["a.safetensors", "b.safetensors"].map(|name| std::fs::metadata(dir.path().join(name)).unwrap().len());
        assert_eq!(file.file_len(), sizes.iter().sum::<u64>());
        let read =
            |vb: candle_nn::VarBuilder<'static>| Tensor::cat(&[vb.get(1, "x")?, vb.get(1, "y")?, vb.get(1, "z")?], 0);
        let (values, _) = load_strict(&file, DType::F32, &Device::Cpu, &LoadPolicy::strict(), read).unwrap();
        assert_eq!(values.to_vec1::<f32>().unwrap(), [1., 2., 3.]);
    }
}

#[test]
fn a_saved_folder_with_one_file() {
    let dir = tempdir().unwrap();
    write(&dir.path().join("model.safetensors"), &[("x", 1.)]);
    write(&dir.path().join("other.safetensors"), &[("y", 1.)]);
    assert_eq!(Checkpoint::open(dir.path()).unwrap().keys().collect::<Vec<_>>(), ["x"]);
}

#[test]
fn a_folder_with_a_single_checkpoint() {
    let dir = tempdir().unwrap();
    write(&dir.path().join("best.SafeTensors"), &[("x", 1.)]);
    put(&dir, "log.txt", b"x");
    put(&dir, ".hidden.pt", b"x");
    assert_eq!(Checkpoint::open(dir.path()).unwrap().keys().collect::<Vec<_>>(), ["x"]);
    let given = dir.path().display().to_string();
    let found = resolve("mobile-sam", Some(&given), &FetchOptions::from_env().unwrap()).unwrap();
    assert_eq!(found.path, dir.path());
    write(&dir.path().join("last.pt"), &[("x", 1.)]);
    refused(&dir, &["2 checkpoints (best.SafeTensors, last.pt)", "name one"]);
}

#[test]
fn folders_are_converted() {
    let dir = folder(GOOD);
    let out = dir.path().join("out.safetensors");
    convert(&Checkpoint::open(dir.path()).unwrap(), &out).unwrap();
    let file = Checkpoint::open(&out).unwrap();
    assert_eq!(file.keys().collect::<Vec<_>>(), ["x", "y", "z"]);
    assert_eq!(file.metadata()["source_file"], "a.safetensors, b.safetensors");
    assert_eq!(file.metadata()["source_sha256"].len(), 2 * 64 + 2);
}

#[track_caller]
fn refused(dir: &TempDir, expected: &[&str]) {
    let message = Checkpoint::open(dir.path()).unwrap_err().to_string();
    assert!(expected.iter().all(|part| message.contains(part)), "{message}");
}

#[test]
fn lists_that_lead_nowhere() {
    refused(&tempdir().unwrap(), &["folder", "model.safetensors", "pytorch_model.bin"]);
    refused(&folder(r#"{"weight_map": {}}"#), &[INDEX, "0 files"]);
    refused(&folder(r#"{"weights": {}}"#), &[INDEX, "not a list"]);
    refused(&folder(r#"{"weight_map": {"x": "missing.safetensors"}}"#), &["missing.safetensors", "cannot open"]);
    for outside in ["../a.safetensors", "/a.safetensors", "deeper/a.safetensors", "..", ""] {
        refused(&folder(&format!(r#"{{"weight_map": {{"x": "{outside}"}}}}"#)), &[outside, "without a folder"]);
    }
}

#[test]
fn a_folder_of_shards_is_named() {
    let dir = tempdir().unwrap();
    put(&dir, ".metadata", b"x");
    put(&dir, "__0_0.distcp", b"x");
    refused(&dir, &["torch.distributed.checkpoint", "dcp_to_torch"]);
    let given = dir.path().display().to_string();
    let told = resolve("mobile-sam", Some(&given), &FetchOptions::from_env().unwrap()).unwrap_err().to_string();
    assert!(told.contains("dcp_to_torch") && told.contains("mobile_sam.pt"), "{told}");
}

#[test]
fn a_tensor_in_two_parts() {
    let dir = folder(GOOD);
    write(&dir.path().join("b.safetensors"), &[("module.evf_model.x", 3.)]);
    refused(&dir, &["module.evf_model.x", "two parts"]);
}

#[test]
fn a_part_that_is_cut_off() {
    let dir = folder(GOOD);
    let part = dir.path().join("b.safetensors");
    let bytes = std::fs::read(&part).unwrap();
    std::fs::write(&part, &bytes[..bytes.len() - 2]).unwrap();
    refused(&dir, &["b.safetensors", "truncated"]);
}

/// safetensors itself reads a header whose metadata are null.
#[test]
fn metadata_may_be_null() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/meta_null.safetensors");
    assert_eq!(Checkpoint::open(file).unwrap().keys().count(), 2);
}
