//! Real checkpoints, where the folder that `HRSEG_WEIGHTS_DIR` names has them.

use candle_core::{DType, Device};
use seg_checkpoints::{Checkpoint, Format, identify};
use std::path::PathBuf;

fn weights(file: &str) -> Option<PathBuf> {
    let path = std::env::var_os("HRSEG_WEIGHTS_DIR").map(|d| PathBuf::from(d).join(file)).filter(|p| p.is_file());
    if path.is_none() {
        eprintln!("skipped: HRSEG_WEIGHTS_DIR names no folder with {file}");
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
    let w = vb.get((32, 3, 3, 3), "image_encoder.patch_embed.seq.0.c.weight").unwrap();
    let w = w.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(&w[..2], &[0., 0.]);
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
}
