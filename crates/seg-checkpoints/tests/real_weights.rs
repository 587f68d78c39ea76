//! Real checkpoints, where the folder that `HRSEG_TEST_WEIGHTS` names has them.
#![allow(clippy::unwrap_used)] // in tests a panic is the report, in their helpers too
#![allow(clippy::excessive_precision)] // as printed by the reference

use candle_core::{DType, Device};
use seg_checkpoints::{Checkpoint, Format, identify};
use std::path::PathBuf;

fn weights(file: &str) -> Option<PathBuf> {
    let path = std::env::var_os("HRSEG_TEST_WEIGHTS").map(|d| PathBuf::from(d).join(file)).filter(|p| p.is_file());
    if path.is_none() {
        eprintln!("skipped: HRSEG_TEST_WEIGHTS names no folder with {file}");
    }
    path
}

#[test]
fn mobile_sam() {
    let Some(path) = weights("mobile_sam.pt") else { return };
    let start = std::time::Instant::now();
    let c = Checkpoint::open(&path).unwrap();
    let opened = start.elapsed();
    assert_eq!(c.format(), Format::TorchZip);
    assert_eq!(c.tensors().len(), 439);
    assert_eq!(c.nested_key(), None);
    assert_eq!(identify(&c).unwrap().to_string(), "mobile-sam (MobileSAM)");
    for name in c.keys() {
        c.tensor(name, &Device::Cpu).unwrap();
    }
    eprintln!("opened in {opened:?}, all tensors read after {:?}", start.elapsed());
    // values printed by torch.load of the published file
    let vb = c.var_builder(DType::F32, &Device::Cpu);
    let sums = |name: &str| {
        let t = vb.get_unchecked(name).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        (t[..2].to_vec(), t.iter().map(|&v| f64::from(v).abs()).sum::<f64>())
    };
    let (first, sum) = sums("image_encoder.patch_embed.seq.0.c.weight");
    assert_eq!(first, [0.042846906930208206, -0.002284264424815774]);
    assert!((sum - 155.70475213676764).abs() < 1e-9, "{sum}");
    let (first, sum) = sums("image_encoder.neck.0.weight");
    assert_eq!(first, [-0.022229960188269615, 0.24944987893104553]);
    assert!((sum - 11034.768846405224).abs() < 1e-6, "{sum}");
    assert_eq!(c.elements(), 10_140_231);
    // and over all tensors together
    let total: f64 = c
        .keys()
        .map(|n| c.tensor(n, &Device::Cpu).unwrap().to_dtype(DType::F64).unwrap())
        .map(|t| t.abs().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap())
        .sum();
    assert!((total - 12_591_585.520102672).abs() < 1e-3, "{total}");
}

#[test]
fn sam2_tiny_image() {
    let Some(path) = weights("sam2_hiera_tiny_image.safetensors") else { return };
    let c = Checkpoint::open(&path).unwrap();
    assert_eq!(c.format(), Format::Safetensors);
    assert_eq!(c.tensors().len(), 305);
    let identity = identify(&c).unwrap();
    assert!(identity.is_partial() && identity.may_be("sam2-tiny") && identity.may_be("sam2.1-tiny"));
    assert!(!identity.may_be("sam2-small"));
    let bias = c.tensor("image_encoder.neck.convs.0.conv.bias", &Device::Cpu).unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(bias[..2], [0.0020224566105753183, -0.004099526908248663]);
}

#[test]
fn is_net_from_onnx() {
    let (Some(onnx), Some(safetensors)) =
        (weights("isnet_general_use.fp16.onnx"), weights("isnet_general_use.safetensors"))
    else {
        return;
    };
    let start = std::time::Instant::now();
    let c = Checkpoint::open(&onnx).unwrap();
    eprintln!("opened in {:?}", start.elapsed());
    assert_eq!((c.format(), c.tensors().len()), (Format::Onnx, 14 + 112 * 6));
    assert_eq!(identify(&c).unwrap().to_string(), "is-net (IS-Net)");
    // converted by other means, with the packages `onnx` and `numpy`
    let other = Checkpoint::open(&safetensors).unwrap();
    assert_eq!(c.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    let values = |c: &Checkpoint, name: &str| {
        let tensor = c.tensor(name, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
        (tensor.dims().to_vec(), tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap())
    };
    for name in c.keys() {
        assert!(values(&c, name) == values(&other, name), "{name}");
    }
}
