//! SAM2-UNet and SAM2-UNeXT on photos, and what training starts from.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use common::{list, picture};
use hiera_encoder::{Hiera, HieraConfig};
use seg_golden::GeneratedWeights;
use seg_models::dense::{DensePredictor, imagenet_input};
use seg_models::is_net::ProbabilityMap;
use seg_models::sam2_unet::{Sam2Unet, Sam2UnetConfig};
use seg_models::sam2_unext::{BaseWeights, Sam2Unext, Sam2UnextConfig};
use vit_encoder::{DinoV2, DinoV2Config};

fn trunk() -> HieraConfig {
    HieraConfig { embed_dim: 8, stages: vec![1, 1, 2, 1], global_att_blocks: vec![3], ..HieraConfig::tiny() }
}

fn config() -> Sam2UnextConfig {
    let dino = DinoV2Config { embed_dim: 16, depth: 2, num_heads: 2, ..DinoV2Config::vit_s() };
    let mut config = Sam2UnextConfig { image_size: 128, channels: 8, ..Sam2UnextConfig::on(trunk(), dino) };
    config.dino.image_size = 56;
    config
}

fn made_up() -> VarBuilder<'static> {
    GeneratedWeights::new("").var_builder(DType::F32, &Device::Cpu)
}

fn predictors() -> (DensePredictor<Sam2Unet>, DensePredictor<Sam2Unext>) {
    let unet = Sam2Unet::new(&Sam2UnetConfig { image_size: 96, ..Sam2UnetConfig::on(trunk()) }, made_up()).unwrap();
    let unext = Sam2Unext::new(&config(), made_up()).unwrap();
    (DensePredictor::new(unet, DType::F32, &Device::Cpu), DensePredictor::new(unext, DType::F32, &Device::Cpu))
}

#[test]
fn photos_of_any_size() {
    let (unet, unext) = predictors();
    for size in [(200, 97), (3, 1), (64, 300)] {
        let photo = picture(size.0, size.1, 1);
        for map in [unet.predict(&photo).unwrap(), unext.predict(&photo).unwrap()] {
            assert_eq!(map.size(), size);
            assert!(map.values().iter().all(|v| (0.0..=1.0).contains(v)));
        }
    }
    let map = unext.predict(&picture(120, 80, 2)).unwrap();
    let greatest = map.values().iter().copied().fold(0.0, f32::max);
    assert!(map.values().contains(&0.0) && greatest > 0.999_999, "stretched to {greatest}");
}

/// As numpy does it: `(p - min) / (max - min + 1e-8)`, `⌊255·p⌋`; a constant map is all zero.
#[test]
fn stretching() {
    let logits = Tensor::new(&[-1f32, 0., 2., 3.], &Device::Cpu).unwrap().reshape((1, 1, 2, 2)).unwrap();
    let map = ProbabilityMap::from_logits(&logits, (2, 2)).unwrap();
    let sigmoid = |x: f32| 1. / (1. + (-x).exp());
    let stretched = |x| (sigmoid(x) - sigmoid(-1.)) / (sigmoid(3.) - sigmoid(-1.));
    for (ours, logit) in map.values().iter().zip([-1., 0., 2., 3.]) {
        assert!((ours - stretched(logit)).abs() < 1e-6);
    }
    assert_eq!(map.to_bytes(), [0, 86, 228, 255]);
    let flat = ProbabilityMap::from_logits(&logits.zeros_like().unwrap(), (3, 3)).unwrap();
    assert_eq!(flat.to_bytes(), [0; 9]);
}

/// Levels are whole numbers before they are normalised, for Pillow resizes bytes.
#[test]
fn the_input_is_made_of_bytes() {
    let input = imagenet_input(&picture(50, 70, 3), 32, &Device::Cpu).unwrap();
    assert_eq!(input.dims(), [1, 3, 32, 32]);
    for value in list(&input.narrow(1, 0, 1).unwrap()) {
        let level = (value * 0.229 + 0.485) * 255.;
        assert!((level - level.round()).abs() < 1e-3, "{level}");
    }
    let empty = imagenet_input(&picture(0, 4, 3), 32, &Device::Cpu).unwrap_err().to_string();
    assert!(empty.contains("0x4"), "{empty}");
}

#[test]
fn a_size_that_hiera_cannot_take() {
    let (unet, unext) = predictors();
    let images = Tensor::zeros((1, 3, 112, 128), DType::F32, &Device::Cpu).unwrap();
    for message in [
        unet.model().forward_t(&images, false).unwrap_err().to_string(),
        unext.model().forward_t(&images, false).unwrap_err().to_string(),
    ] {
        assert!(message.contains("28 x 32") && message.contains("multiples of 32"), "{message}");
    }
    let mut odd = config();
    odd.dino.image_size = 60;
    let message = Sam2Unext::new(&odd, made_up()).unwrap_err().to_string();
    assert!(message.contains("60 pixels with patches of 14"), "{message}");
}

/// A file with what a network asks for, under the names that `prefix` precedes, and `more` tensors of one element.
fn file(folder: &Path, name: &str, prefix: &str, weights: &GeneratedWeights, more: &[&str]) -> PathBuf {
    let vb = weights.var_builder(DType::F32, &Device::Cpu);
    let asked = weights.requested().into_iter();
    let mut tensors: HashMap<String, Tensor> =
        asked.map(|n| (format!("{prefix}{}", n.name), vb.get(n.shape, &n.name).unwrap())).collect();
    tensors.extend(more.iter().map(|name| (name.to_string(), Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap())));
    let path = folder.join(name);
    candle_core::safetensors::save(&tensors, &path).unwrap();
    path
}

/// The encoders' own files are found under the names that they have in the whole model, and DINOv2's position table is resampled.
#[test]
fn base_weights() {
    let folder = tempfile::tempdir().unwrap();
    let (sam, dino) = (GeneratedWeights::new("sam"), GeneratedWeights::new("dino"));
    Hiera::new(&trunk(), sam.var_builder(DType::F32, &Device::Cpu)).unwrap();
    let timm = DinoV2Config { image_size: 98, final_norm: true, ..config().dino };
    DinoV2::new(&timm, dino.var_builder(DType::F32, &Device::Cpu)).unwrap();
    let sam_file = file(folder.path(), "sam2.safetensors", "image_encoder.trunk.", &sam, &[]);
    let dino_file = file(folder.path(), "dino.safetensors", "", &dino, &[]);

    let base = BaseWeights::unext(&sam_file, &dino_file).unwrap();
    let vb = base.var_builder(made_up(), DType::F32, &Device::Cpu);
    Sam2Unext::new(&config(), vb.clone()).unwrap();
    let expected = |weights: &GeneratedWeights, name: &str, shape: &[usize]| {
        list(&weights.var_builder(DType::F32, &Device::Cpu).get(shape, name).unwrap())
    };
    let got = |name: &str, shape: &[usize]| list(&vb.get(shape, name).unwrap());
    assert_eq!(got("sam.blocks.1.block.norm1.bias", &[8]), expected(&sam, "blocks.1.norm1.bias", &[8]));
    assert_eq!(got("dino.model.blocks.0.ls1.gamma", &[16]), expected(&dino, "blocks.0.ls1.gamma", &[16]));
    let table = got("dino.model.pos_embed", &[1, 17, 16]);
    assert_eq!(table[..16], expected(&dino, "pos_embed", &[1, 50, 16])[..16]);
    assert_eq!(got("head.bias", &[1]), expected(&GeneratedWeights::new(""), "head.bias", &[1]));
    assert_eq!(base.origin("sam.blocks.0.prompt_learn.0.bias"), None);
    assert_eq!(base.origin("dino.model.cls_token"), Some((dino_file.as_path(), "cls_token".to_owned())));

    let message = Sam2Unext::new(&Sam2UnextConfig::on(HieraConfig::tiny(), config().dino), vb).unwrap_err().to_string();
    assert!(message.contains("sam2.safetensors") && message.contains("sam."), "{message}");
}

#[test]
fn sam_2_1_is_refused_where_2_0_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let weights = GeneratedWeights::new("");
    Hiera::new(&HieraConfig::tiny(), weights.var_builder(DType::F32, &Device::Cpu)).unwrap();
    let path = file(folder.path(), "new.safetensors", "image_encoder.trunk.", &weights, &["no_obj_embed_spatial"]);
    let message = BaseWeights::unet(&path).err().unwrap().to_string();
    assert!(
        message.contains("new.safetensors") && message.contains("SAM 2.1") && message.contains("SAM 2.0"),
        "{message}"
    );
}
