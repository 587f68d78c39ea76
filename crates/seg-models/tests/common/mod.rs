//! Small models of made-up weights, and pictures.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone
#![allow(dead_code)] // each test file uses a part

use candle_core::{DType, Device, Tensor};
use hiera_encoder::HieraConfig;
use seg_data::RgbImage;
use seg_golden::GeneratedWeights;
use seg_models::registry::{LoadOptions, ModelName};
use seg_models::sam2::{Sam2Config, Sam2ImageModel, Sam2ImagePredictor, Sam2Version};
use seg_models::{MaskCleanup, Prediction, PromptableSegmenter};

/// SAM 2 with a narrow trunk, for 256x256 pixels: masks of 64x64.
pub fn toy_sam2(cleanup: MaskCleanup) -> Sam2ImagePredictor {
    let trunk =
        HieraConfig { embed_dim: 16, stages: vec![1, 2, 3, 1], global_att_blocks: vec![4], ..HieraConfig::tiny() };
    let config = Sam2Config { image_size: 256, ..Sam2Config::new(Sam2Version::V2_1, trunk) };
    let vb = GeneratedWeights::new("").var_builder(DType::F32, &Device::Cpu);
    Sam2ImagePredictor::new(Sam2ImageModel::new(&config, vb).unwrap(), cleanup, DType::F32, &Device::Cpu)
}

/// MobileSAM for 256x256 pixels.
pub fn small_mobile_sam() -> Box<dyn PromptableSegmenter> {
    small_mobile_sam_of("")
}

/// The same of other weights.
pub fn small_mobile_sam_of(seed: &str) -> Box<dyn PromptableSegmenter> {
    let vb = GeneratedWeights::new(seed).var_builder(DType::F32, &Device::Cpu);
    ModelName::MobileSam.build(256, &LoadOptions::default(), vb).unwrap().promptable(ModelName::MobileSam).unwrap()
}

/// Both predictors.
pub fn models() -> [(&'static str, Box<dyn PromptableSegmenter>); 2] {
    [("SAM 2", Box::new(toy_sam2(MaskCleanup::default()))), ("MobileSAM", small_mobile_sam())]
}

/// A picture with shapes in it, another one for each `seed`.
pub fn picture(width: u32, height: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (x as f32 / width as f32, y as f32 / height as f32);
        let phase = seed as f32;
        let disk = (x - 0.4).hypot(y - 0.5) < 0.25;
        let wave = (9.0 * x + phase).sin() * (7.0 * y - phase).cos();
        let base = if disk { 200.0 } else { 60.0 };
        [base + 50.0 * wave, 128.0 - 90.0 * wave, 40.0 + 180.0 * y].map(|v: f32| v as u8).into()
    })
}

pub fn list(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Equal to the last bit.
#[track_caller]
pub fn assert_same(a: &Prediction, b: &Prediction, what: &str) {
    assert_eq!(a.iou_predictions, b.iou_predictions, "{what}: predicted IoUs");
    assert!(list(&a.low_res_masks) == list(&b.low_res_masks), "{what}: low-resolution logits");
    assert_eq!(a.masks.dims(), b.masks.dims(), "{what}");
    assert!(list(&a.masks) == list(&b.masks), "{what}: logits");
}
