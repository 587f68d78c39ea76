//! Fingerprints, on names and shapes alone.
#![allow(clippy::unwrap_used)] // in tests a panic is the report, in their helpers too

mod common;

use candle_core::{DType, Device, Tensor};
use common::state_dicts;
use seg_checkpoints::{
    Checkpoint, Error, FileDtype, LoadPolicy, TensorInfo, identify_tensors, load_strict, write_safetensors,
};
use std::collections::BTreeMap;

type Keys = BTreeMap<String, TensorInfo>;

fn keys(list: &[(&str, &[usize])]) -> Keys {
    list.iter().map(|(n, s)| (n.to_string(), TensorInfo { shape: s.to_vec(), dtype: FileDtype::F32 })).collect()
}

fn blocks(keys: &mut Keys, prefix: &str, count: usize) {
    for i in 0..count {
        keys.insert(format!("{prefix}{i}.norm1.weight"), TensorInfo { shape: vec![1], dtype: FileDtype::F32 });
    }
}

fn sam2(dim: usize, count: usize, version: &str) -> Keys {
    let mut k = keys(&[
        ("image_encoder.trunk.patch_embed.proj.weight", &[dim, 3, 7, 7]),
        ("sam_mask_decoder.iou_token.weight", &[1, 256]),
        ("sam_prompt_encoder.no_mask_embed.weight", &[1, 256]),
    ]);
    blocks(&mut k, "image_encoder.trunk.blocks.", count);
    if version != "image" {
        k.extend(keys(&[
            ("maskmem_tpos_enc", &[7, 1, 1, 64]),
            ("memory_attention.norm.weight", &[256]),
            ("obj_ptr_proj.layers.0.weight", &[256, 256]),
        ]));
    }
    if version == "2.1" {
        k.extend(keys(&[("no_obj_embed_spatial", &[1, 64])]));
    }
    k
}

fn name(keys: &Keys) -> String {
    identify_tensors(keys).map_or_else(|| "none".into(), |i| i.to_string())
}

#[test]
fn sam2_sizes_and_versions() {
    for (dim, count, size) in [(96, 12, "tiny"), (96, 16, "small"), (112, 24, "base-plus"), (144, 48, "large")] {
        assert_eq!(name(&sam2(dim, count, "2.0")), format!("sam2-{size} (SAM 2.0)"));
        assert_eq!(name(&sam2(dim, count, "2.1")), format!("sam2.1-{size} (SAM 2.1)"));
        let image = identify_tensors(&sam2(dim, count, "image")).unwrap();
        assert_eq!(image.candidates(), [format!("sam2-{size}"), format!("sam2.1-{size}")]);
        assert!(image.is_partial());
    }
    let image = "sam2-small or sam2.1-small (SAM 2.0 or 2.1, image part only)";
    assert_eq!(name(&sam2(96, 16, "image")), image);
    assert_eq!(name(&sam2(64, 5, "2.1")), "none");
}

#[test]
fn other_families() {
    let mut vit = keys(&[
        ("image_encoder.patch_embed.proj.weight", &[1024, 3, 16, 16]),
        ("mask_decoder.iou_token.weight", &[1, 256]),
        ("prompt_encoder.no_mask_embed.weight", &[1, 256]),
    ]);
    blocks(&mut vit, "image_encoder.blocks.", 24);
    assert_eq!(name(&vit), "sam-vit-l (SAM ViT-L)");
    let net = |channels| {
        keys(&[
            ("conv_in.weight", &[64, channels, 3, 3]),
            ("stage1.rebnconvin.conv_s1.weight", &[64, 64, 3, 3]),
            ("stage1d.rebnconvin.conv_s1.weight", &[64, 64, 3, 3]),
            ("side1.weight", &[1, 64, 3, 3]),
        ])
    };
    assert_eq!(name(&net(3)), "is-net (IS-Net)");
    assert_eq!(name(&net(5)), "dis-sam (DIS-SAM's IS-Net)");
    assert_eq!(name(&keys(&[("fc.weight", &[10, 10])])), "none");
    assert_eq!(name(&Keys::new()), "none");
}

/// The state dicts of the official models, from the golden cases of the workspace (or of `HRSEG_GOLDEN_DIR`).
#[test]
fn official_state_dicts() {
    let dir = std::env::var_os("HRSEG_GOLDEN_DIR")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden").into(), std::path::PathBuf::from);
    let mut seen = 0;
    for (case, module, expected) in [
        ("sam2/sam2_video_tiny_1024", "model", "sam2.1-tiny"),
        ("sam2/sam2_img_sam20_tiny_512", "model", "sam2-tiny"),
        ("sam2/sam2_img_base_plus_1024", "model", "sam2.1-base-plus"),
        ("sam2/sam2_enc_small_1024", "model", "sam2-small"),
        ("sam2/sam2_enc_large_1024", "model", "sam2-large"),
        ("mobile-sam/mobilesam_1024", "sam", "mobile-sam"),
        ("sam/sam1_vit_b_1024", "sam", "sam-vit-b"),
        ("sam/sam1_vit_l_1024", "sam", "sam-vit-l"),
        ("sam/sam1_vit_h_1024", "sam", "sam-vit-h"),
        ("is-net/isnet_1024", "net", "is-net"),
        ("dis-sam/dissam_1024", "net", "dis-sam"),
        ("mgd-sam2/mgd_b+_1024", "model", "mgd-sam2"),
        ("sam2-unet/unet_full_352", "model", "sam2-unet"),
        ("sam2-unext/unext_full_1024", "model", "sam2-unext"),
        ("pi-sam/pisam_vit_b_1024", "decoder", "pi-sam-b"),
        ("mpg-sam2/mpg_large_video", "model", "mpg-sam2"),
        ("mpg-sam2/mpg_tiny_base_video", "model", "mpg-sam2-tiny"),
        ("beit3/beit3_base_224", "model", "beit3"),
        ("is-net/isnet_gtencoder", "net", "none"),
        ("sam2/sam2_enc_toy_256", "model", "none"),
    ] {
        let path = dir.join(format!("{case}.json"));
        if !path.is_file() {
            eprintln!("skipped: {} is not there", path.display());
            continue;
        }
        seen += 1;
        let (_, list) = state_dicts(&path).into_iter().find(|(name, _)| name == module).unwrap();
        let keys: Keys =
            list.into_iter().map(|(name, shape)| (name, TensorInfo { shape, dtype: FileDtype::F32 })).collect();
        let found = identify_tensors(&keys).map_or("none", |i| i.model());
        assert_eq!(found, expected, "{case}");
    }
    assert!(seen >= 6, "only {seen} golden cases below {}", dir.display());
}

/// A file with the keys' tensors, one element each where the shape does not matter.
fn file(dir: &tempfile::TempDir, keys: &Keys) -> Checkpoint {
    let zeros = |i: &TensorInfo| Tensor::zeros(i.shape.as_slice(), DType::F32, &Device::Cpu).unwrap();
    let tensors = keys.iter().map(|(n, i)| (n.clone(), zeros(i))).collect();
    let path = dir.path().join("sam2.safetensors");
    write_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
    Checkpoint::open(path).unwrap()
}

#[test]
fn sam20_given_as_21_is_named_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let c = file(&dir, &sam2(96, 12, "2.0"));
    let policy = LoadPolicy::strict().allow_extra().expect("sam2.1-tiny");
    let load = |names: &'static [(&'static str, &'static [usize])]| {
        load_strict(&c, DType::F32, &Device::Cpu, &policy, |vb| {
            names.iter().map(|(n, s)| vb.get(*s, n)).collect::<candle_core::Result<Vec<_>>>()
        })
    };
    let error = load(&[("maskmem_tpos_enc", &[7, 1, 1, 64]), ("no_obj_embed_spatial", &[1, 64])]).unwrap_err();
    let text = error.to_string();
    let wanted = "looks like sam2-tiny (SAM 2.0), expected sam2.1-tiny: 1 missing (no_obj_embed_spatial)";
    assert!(text.contains(wanted) && !text.contains('\n'), "{text}");
    // an image model asks for nothing that is missing, and is refused all the same
    let error = load(&[("maskmem_tpos_enc", &[7, 1, 1, 64])]).unwrap_err();
    assert!(matches!(&error, Error::Mismatch { .. }) && error.to_string().contains("expected sam2.1-tiny"), "{error}");
}

#[test]
fn image_part_fits_both_versions_with_a_remark() {
    let dir = tempfile::tempdir().unwrap();
    let c = file(&dir, &sam2(96, 12, "image"));
    for model in ["sam2-tiny", "sam2.1-tiny"] {
        let policy = LoadPolicy::strict().allow_extra().expect(model);
        let (_, report) = load_strict(&c, DType::F32, &Device::Cpu, &policy, |vb| {
            vb.get((1, 256), "sam_mask_decoder.iou_token.weight")
        })
        .unwrap();
        assert!(report.notes.iter().any(|n| n.contains("tell")), "{:?}", report.notes);
    }
    let policy = LoadPolicy::strict().allow_extra().expect("sam2-small");
    let error = load_strict(&c, DType::F32, &Device::Cpu, &policy, |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("expected sam2-small"), "{error}");
}
