//! Tensors of types that are not read, and floats of 8 bits, which are.
#![allow(clippy::unwrap_used)] // in tests a panic is the report, in their helpers too

mod common;

use candle_core::{DType, Device};
use common::{data, put, safetensors};
use seg_checkpoints::{Checkpoint, FileDtype, LoadPolicy, convert, load_strict};
use tempfile::tempdir;

fn load(c: &Checkpoint, names: &[&str]) -> String {
    let load = |vb: candle_nn::VarBuilder<'static>| {
        names.iter().map(|n| vb.get_unchecked(n).or_else(|_| vb.get(1, n))).collect::<candle_core::Result<Vec<_>>>()
    };
    load_strict(c, DType::F32, &Device::Cpu, &LoadPolicy::strict(), load).unwrap_err().to_string()
}

/// What is missing because it is not read is named with the reason, first, in the same message.
#[test]
fn the_reason_is_in_the_message() {
    let c = Checkpoint::open(data("one_sparse.pt.bin")).unwrap();
    let asked = ["a", "b", "c", "d", "mask_decoder.iou_token.weight"];
    let text = load(&c, &asked);
    let part = "5 missing (mask_decoder.iou_token.weight: there, but as a sparse tensor, which is not read, a, b, …)";
    assert!(text.contains(part) && !text.contains('\n'), "{text}");
    assert_eq!(c.skipped()["mask_decoder.iou_token.weight"], "a sparse tensor");
    let text = c.tensor("mask_decoder.iou_token.weight", &Device::Cpu).unwrap_err().to_string();
    assert!(
        text.ends_with("not supported: tensor 'mask_decoder.iou_token.weight', which is a sparse tensor"),
        "{text}"
    );
    // nor does an optional one become zeros
    let policy = LoadPolicy::strict().optional(["mask_decoder"]).allow_extra();
    let ask = |vb: candle_nn::VarBuilder<'static>| vb.get((1, 256), "mask_decoder.iou_token.weight");
    let error = load_strict(&c, DType::F32, &Device::Cpu, &policy, ask).unwrap_err().to_string();
    assert!(error.contains("1 missing (mask_decoder.iou_token.weight: there, but as a sparse tensor"), "{error}");
    // one that is not asked for is in excess, as any other
    let text = load(&c, &["a"]);
    assert!(text.contains("unexpected (mask_decoder.iou_token.weight: there, but as a sparse tensor"), "{text}");
}

#[test]
fn every_type_that_torch_writes() {
    let c = Checkpoint::open(data("odd_types.pt.bin")).unwrap();
    assert_eq!(c.keys().collect::<Vec<_>>(), ["plain"]);
    for (name, what) in [
        ("coo", "a sparse tensor"),
        ("csr", "a sparse tensor"),
        ("sparse_parameter", "a sparse tensor"),
        ("complex64", "a complex tensor of torch.ComplexFloatStorage"),
        ("complex32", "a complex tensor of torch.complex32"),
        ("quantised", "a quantised tensor"),
        ("per_channel", "a quantised tensor"),
        ("nested", "a nested tensor"),
        ("jagged", "a tensor of class NestedTensor"),
        ("meta", "a tensor on the meta device, without numbers"),
        ("masked", "a tensor of a class that keeps its numbers in parts"),
        ("bits", "a tensor of torch.bits8"),
        ("array", "a numpy array of type 'c8'"),
    ] {
        assert_eq!(c.skipped().get(name).map(String::as_str), Some(what), "{name}");
        assert!(load(&c, &["plain", name]).contains(&format!("{name}: there, but as {what}, which is not read")));
        assert!(c.notes().contains(&format!("skipped '{name}': {what}")), "{:?}", c.notes());
    }
    assert_eq!(c.skipped().len(), 13);
}

#[test]
fn names_of_skipped_tensors_lose_their_wrappers() {
    let dir = tempdir().unwrap();
    let header = r#"{"module.image_encoder._orig_mod.a":{"dtype":"F8_E8M0","shape":[4],"data_offsets":[0,4]},
                     "module.mask_decoder.b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    let c = Checkpoint::open(put(&dir, "x.safetensors", &safetensors(header, &[0; 8]))).unwrap();
    assert_eq!(c.skipped().iter().next().unwrap(), (&"image_encoder.a".to_owned(), &"a tensor of F8_E8M0".to_owned()));
    assert_eq!(c.stripped_prefix(), Some("module."));
    // and transformers' names become the authors'
    let header = r#"{"vision_encoder.layers.0.layer_norm1.weight":{"dtype":"F4","shape":[2],"data_offsets":[0,1]},
                     "vision_encoder.layers.0.layer_norm1.bias":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}"#;
    let c = Checkpoint::open(put(&dir, "y.safetensors", &safetensors(header, &[0; 5]))).unwrap();
    assert_eq!(c.skipped()["image_encoder.blocks.0.norm1.weight"], "a tensor of F4");
}

#[test]
fn nothing_that_is_read() {
    let dir = tempdir().unwrap();
    let error = Checkpoint::open(data("all_sparse.pt.bin")).unwrap_err().to_string();
    assert!(error.contains("the types of all its 1 tensors: 'w' is a sparse tensor"), "{error}");
    let header = r#"{"w":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}"#;
    let c = Checkpoint::open(put(&dir, "x.safetensors", &safetensors(header, &[0; 8]))).unwrap();
    assert!(load(&c, &["w"]).contains("w: there, but as a tensor of C64, which is not read"));
}

/// All 256 values of each type, as torch has them in 32 bits (`odd_types.py`).
#[test]
fn floats_of_8_bits() {
    let expected = Checkpoint::open(data("float8_expected.safetensors.bin")).unwrap();
    let types = [
        ("e4m3fn", FileDtype::F8E4M3),
        ("e5m2", FileDtype::F8E5M2),
        ("e4m3fnuz", FileDtype::F8E4M3FNUZ),
        ("e5m2fnuz", FileDtype::F8E5M2FNUZ),
    ];
    let bits = |c: &Checkpoint, name: &str| -> Vec<Option<u32>> {
        let tensor = c.tensor(name, &Device::Cpu).unwrap();
        assert_eq!(tensor.dtype(), DType::F32);
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values.into_iter().map(|v| Some(v.to_bits()).filter(|_| !v.is_nan())).collect()
    };
    let mut files: Vec<_> =
        ["float8.pt.bin", "float8_legacy.pt.bin"].iter().map(|f| Checkpoint::open(data(f)).unwrap()).collect();
    let dir = tempdir().unwrap();
    let entry = |(i, (name, dtype)): (usize, &(&str, FileDtype))| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":[16,16],"data_offsets":[{},{}]}}"#, i * 256, i * 256 + 256)
    };
    let header = types.iter().enumerate().map(entry).collect::<Vec<_>>().join(",");
    let bytes: Vec<u8> = (0..4).flat_map(|_| 0..=255).collect();
    let path = put(&dir, "x.safetensors", &safetensors(&format!("{{{header}}}"), &bytes));
    files.push(Checkpoint::open(path).unwrap());
    for c in &files {
        for (name, dtype) in types {
            assert_eq!(c.get(name).unwrap().dtype, dtype);
            assert_eq!(bits(c, name), bits(&expected, name), "{name}");
            let note = format!("tensors of 8-bit floats ({dtype}) read as 32-bit ones of the same values");
            assert!(c.notes().iter().any(|n| n.ends_with(&note)), "{:?}", c.notes());
        }
        let to = dir.path().join("converted.safetensors");
        convert(c, &to).unwrap();
        assert_eq!(bits(&Checkpoint::open(to).unwrap(), "e5m2"), bits(&expected, "e5m2"));
    }
    // a transposed view
    assert_eq!(files[0].get("view").unwrap().shape, [2, 3]);
    let view = files[0].tensor("view", &Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
    assert_eq!(view, [[1., 0.5, -0.25], [-2., 448., 0.]]);
}

#[test]
fn one_float8_among_others() {
    let c = Checkpoint::open(data("one_fp8.pt.bin")).unwrap();
    assert_eq!(c.get("mask_decoder.iou_token.weight").unwrap().dtype.as_str(), "F8_E4M3");
    assert!(c.skipped().is_empty() && c.keys().count() == 3);
}
