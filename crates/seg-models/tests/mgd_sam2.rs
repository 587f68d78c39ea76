//! MGD-SAM2 on photos, its passes, and what it refuses.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod common;

use candle_core::{DType, Device, Tensor};
use common::{list, picture};
use hiera_encoder::HieraConfig;
use multiview_fusion::PositionTable;
use seg_golden::GeneratedWeights;
use seg_models::PromptFreeSegmenter;
use seg_models::mgd_sam2::{MgdSam2, MgdSam2Config, MgdSam2Predictor, TestTimeAugmentation, ViewOrder};
use seg_models::registry::{LoadOptions, ModelName};

fn config() -> MgdSam2Config {
    let trunk =
        HieraConfig { embed_dim: 16, stages: vec![1, 2, 3, 1], global_att_blocks: vec![4], ..HieraConfig::tiny() };
    let mut config = MgdSam2Config { image_size: 128, ..MgdSam2Config::new(trunk) };
    config.mpadapter.scale_factor = 4;
    config
}

fn model() -> MgdSam2 {
    MgdSam2::new(&config(), GeneratedWeights::new("").var_builder(DType::F32, &Device::Cpu)).unwrap()
}

fn predictor() -> MgdSam2Predictor {
    MgdSam2Predictor::new(model(), 128, DType::F32, &Device::Cpu)
}

#[test]
fn photos_of_any_size() {
    let model = predictor();
    for size in [(200, 97), (3, 1), (64, 300)] {
        let map = model.predict(&picture(size.0, size.1, 1)).unwrap();
        assert_eq!(map.size(), size);
        assert!(map.values().iter().all(|v| (0.0..=1.0).contains(v)));
    }
    let error = model.predict(&picture(0, 4, 1)).unwrap_err().to_string();
    assert!(error.contains("0x4"), "{error}");
}

#[test]
fn the_order_of_views_does_not_matter() {
    let photo = picture(90, 70, 2);
    let together = predictor().predict(&photo).unwrap();
    let sequential = predictor().with_view_order(ViewOrder::Sequential).predict(&photo).unwrap();
    // the blocks of a matrix product depend on its rows, of which five views have more than one
    let largest = (together.values().iter().zip(sequential.values())).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    assert!(largest < 1e-5, "{largest}");
}

#[test]
fn passes_are_averaged() {
    let photo = picture(90, 70, 2);
    let augmentation = TestTimeAugmentation { flip: true, scales: vec![1.0] };
    let both = list(&predictor().with_augmentation(augmentation).logits(&photo).unwrap());
    let plain = list(&predictor().logits(&photo).unwrap());
    let mirrored = image_mirror(&photo);
    let mirrored = predictor().logits(&mirrored).unwrap().flip(&[3]).unwrap();
    for ((both, plain), mirrored) in both.iter().zip(&plain).zip(list(&mirrored)) {
        assert!((both - (plain + mirrored) / 2.).abs() < 1e-5);
    }
    let none = TestTimeAugmentation { flip: false, scales: vec![] };
    let error = predictor().with_augmentation(none).logits(&photo).unwrap_err().to_string();
    assert!(error.contains("no scales"), "{error}");
}

fn image_mirror(photo: &seg_data::RgbImage) -> seg_data::RgbImage {
    let (w, h) = photo.dimensions();
    seg_data::RgbImage::from_fn(w, h, |x, y| *photo.get_pixel(w - 1 - x, y))
}

#[test]
fn fresh_positions_change_other_scales_alone() {
    let photo = picture(90, 70, 2);
    let logits = |scales: &[f64], fresh| {
        let augmentation = TestTimeAugmentation { flip: false, scales: scales.to_vec() };
        list(&predictor().with_augmentation(augmentation).with_fresh_positions(fresh).logits(&photo).unwrap())
    };
    assert_eq!(logits(&[1.0], false), logits(&[1.0], true));
    assert_ne!(logits(&[0.5, 1.0], false), logits(&[0.5, 1.0], true));
}

#[test]
fn sizes_that_do_not_divide_are_refused() {
    let refusal = |h, w| {
        let images = Tensor::zeros((1, 3, h, w), DType::F32, &Device::Cpu).unwrap();
        model().forward(&images, &mut PositionTable::EachSize).unwrap_err().to_string()
    };
    let views = refusal(129, 128);
    assert!(views.contains("height of 129") && views.contains("2 views"), "{views}");
    let grid = refusal(128, 96); // views of 48 pixels
    assert!(grid.contains("16 x 12") && grid.contains("multiples of 8"), "{grid}");
}

#[test]
fn files_of_sam_2_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let sam2 = ModelName::Sam2(seg_models::sam2::Sam2Version::V2_1, seg_models::registry::Sam2Size::Tiny);
    // a file of its image encoder's first and last blocks, as far as a fingerprint looks
    let tensors: std::collections::BTreeMap<String, Tensor> = [
        ("image_encoder.trunk.pos_embed", vec![1, 96, 7, 7]),
        ("image_encoder.trunk.blocks.0.norm1.weight", vec![96]),
        ("image_encoder.trunk.blocks.11.norm1.weight", vec![768]),
        ("sam_mask_decoder.obj_score_token.weight", vec![1, 256]),
        ("no_obj_embed_spatial", vec![1, 64]),
        ("obj_ptr_tpos_proj.weight", vec![64, 256]),
        ("memory_encoder.out_proj.weight", vec![64, 256, 1, 1]),
    ]
    .into_iter()
    .map(|(name, shape)| (name.to_owned(), Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()))
    .collect();
    let path = dir.path().join("sam2.safetensors");
    candle_core::safetensors::save(&tensors.into_iter().collect(), &path).unwrap();
    let error = MgdSam2Predictor::load(&path, &LoadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("expected mgd-sam2") && error.contains("sam2"), "{error}");
    // and the other way round
    let tensors = [(
        "detail_enhance.img_er.linear.weight".to_owned(),
        Tensor::zeros((16, 32, 1, 1), DType::F32, &Device::Cpu).unwrap(),
    )];
    candle_core::safetensors::save(&tensors.into_iter().collect(), &path).unwrap();
    let error = sam2.load(&path, &LoadOptions::default()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("looks like mgd-sam2"), "{error}");
}

#[test]
fn the_trunk_is_frozen_but_for_its_adapters() {
    use seg_checkpoints::Treatment;
    let rules = MgdSam2::parameter_rules();
    let group = |name: &str| match rules.treatment(name) {
        Treatment::Trained(group) => group.name.to_string(),
        other => format!("{other:?}"),
    };
    for (name, expected) in [
        ("image_encoder.trunk.blocks.0.attn.qkv.weight", "Frozen"),
        ("image_encoder.trunk.mpadapter.lightweight_mlp1_0.0.weight", "new"),
        ("image_encoder.neck.convs.0.conv.weight", "pretrained"),
        ("sam_mask_decoder.transformer.norm_final_attn.weight", "pretrained"),
        ("sam_mask_decoder.mask_tokens.weight", "new"),
        ("sam_mask_decoder.new_fusion1.fuse1.weight", "new"),
        ("detail_enhance.out_conv.weight", "new"),
        ("detail_enhance.img_in_conv.1.running_mean", "Statistic"),
        ("no_mask_embed.weight", "new"),
        ("pe_layer.positional_encoding_gaussian_matrix", "Frozen"),
    ] {
        assert_eq!(group(name), expected, "{name}");
    }
}
