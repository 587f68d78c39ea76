//! candle-transformers' SAM, MobileSAM and DINOv2 beside ours: the same made-up weights, the same input, the same numbers.
//!
//! Where candle 0.11.1 differs from the official code, and therefore from ours:
//!
//! - **GELU.** It calls `Tensor::gelu`, the tanh approximation; the official code has the exact one, with the error
//!   function. They differ by up to 4.7e-4 at every activation, in TinyViT and in the decoder's upscaling. With
//!   weights that make all of GELU's inputs large, both are a ReLU, and everything else can be compared tightly. In
//!   SAM's own ViT it has the exact one.
//! - **Points** come as fractions of the resized image, not of the original; at 1024x1024 that is the same thing.
//! - **Masks** are enlarged by nearest neighbour in place of bilinear interpolation, and not to the original size: the
//!   low-resolution logits are compared.
//! - **Attention biases** are gathered from the weights when the model is built: as the official model after `eval()`.
//!
//! - **DINOv2's norms** add 1e-5 to the variance in the models without registers, the official ones 1e-6.
//!
//! Normalisation, padding, the half-pixel offset of prompts and the padding point are as in the official code.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::dinov2::DinoVisionTransformer as CandleDino;
use candle_transformers::models::dinov2reg4::DinoVisionTransformer as CandleDinoReg;
use candle_transformers::models::segment_anything::sam::Sam as CandleSam;
use hrseg::hr_decoders::{PointPrompts, label};
use hrseg::seg_data::tensor::{ValueRange, to_tensor};
use hrseg::seg_data::{DecodeLimits, RgbImage, load_image};
use hrseg::seg_golden::GeneratedWeights;
use hrseg::seg_golden::Pattern;
use hrseg::seg_golden::fill::fill_tensor;
use hrseg::seg_layers::Unobserved;
use hrseg::seg_models::sam::{ResizeLongestSide, Sam, SamConfig, SamEncoderConfig};
use hrseg::vit_encoder::{DinoV2, DinoV2Config, SamVitConfig};

/// Both models on the same weights: MobileSAM, or a SAM with a narrow ViT.
struct Pair {
    ours: Sam,
    candle: CandleSam,
}

impl Pair {
    fn new(weights: &GeneratedWeights) -> Self {
        let vb = || -> VarBuilder<'static> { weights.var_builder(DType::F32, &Device::Cpu) };
        let ours = Sam::new(&SamConfig::mobile_sam(), vb()).expect("ours");
        Self { ours, candle: CandleSam::new_tiny(vb()).expect("candle's") }
    }

    fn with_vit(weights: &GeneratedWeights) -> Self {
        let vb = || -> VarBuilder<'static> { weights.var_builder(DType::F32, &Device::Cpu) };
        let (embed_dim, depth, num_heads, global) = (128, 3, 2, vec![1]);
        let candle = CandleSam::new(embed_dim, depth, num_heads, &global, vb()).expect("candle's");
        let vit = SamVitConfig { embed_dim, depth, num_heads, global_attn_indexes: global, ..SamVitConfig::vit_b() };
        let config = SamConfig { image_encoder: SamEncoderConfig::Vit(vit), ..SamConfig::vit_b() };
        Self { ours: Sam::new(&config, vb()).expect("ours"), candle }
    }

    /// Embeddings `[1, 256, 64, 64]` of a photo that both resize alike: ours, candle's.
    fn embeddings(&self) -> [Tensor; 2] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos/coffee.jpg");
        let photo: RgbImage = load_image(path, &DecodeLimits::default()).unwrap().image;
        let frame = ResizeLongestSide::new(photo.dimensions(), 1024).unwrap();
        let ours = self.ours.encode_image(frame.preprocess(&photo, &Device::Cpu).unwrap()).unwrap();
        let resized = to_tensor(&frame.resize(&photo).unwrap(), ValueRange::Byte, &Device::Cpu).unwrap();
        let candle = self.candle.embeddings(&resized).unwrap();
        [ours, candle]
    }

    /// Logits `[3, 256, 256]` and predicted IoUs `[3]` of two clicks on `embeddings`: ours, candle's.
    fn masks(&self, embeddings: &Tensor) -> [(Tensor, Tensor); 2] {
        let points = [(311.5f32, 420.25f32, label::POSITIVE), (800.0, 96.0, label::NEGATIVE)];
        let ours = PointPrompts::single(&points, &Device::Cpu).unwrap();
        let ours = self.ours.prompt_encoder().forward(Some(&ours), None, None).unwrap();
        let ours = self.ours.decode(embeddings, &ours, true).unwrap();
        let shares = points.map(|(x, y, l)| (f64::from(x) / 1024., f64::from(y) / 1024., l == label::POSITIVE));
        let candle = self.candle.forward_for_embeddings(embeddings, 1024, 1024, &shares, true).unwrap();
        [(ours.masks, ours.iou_predictions), candle].map(|(m, i)| (m.squeeze(0).unwrap(), i.squeeze(0).unwrap()))
    }
}

fn list(t: &Tensor) -> Vec<f64> {
    t.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

/// Largest difference, in standard deviations of candle's values.
#[track_caller]
fn deviation([ours, candle]: [&Tensor; 2]) -> f64 {
    assert_eq!(ours.dims(), candle.dims());
    let (ours, candle) = (list(ours), list(candle));
    assert!(ours.iter().chain(&candle).all(|v| v.is_finite()));
    let mean = candle.iter().sum::<f64>() / candle.len() as f64;
    let variance = candle.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / candle.len() as f64;
    assert!(variance > 0.0, "the reference is constant");
    ours.iter().zip(&candle).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / variance.sqrt()
}

/// How large activations are made.
const LOUD: f32 = 500.0;

/// Weights whose activations before each GELU are large, so that both kinds of GELU are a ReLU. Every convolution takes
/// back what its batch norm adds, the first one excepted, so that the activations stay at this size.
fn loud() -> GeneratedWeights {
    let factors = [
        (".bn.weight", LOUD),
        (".c.weight", 1.0 / LOUD),
        ("seq.0.c.weight", LOUD),
        ("mlp.fc1.weight", LOUD),
        // the decoder's upscaling
        ("output_upscaling.1.weight", LOUD),
        ("output_upscaling.3.weight", LOUD),
    ];
    factors.into_iter().fold(GeneratedWeights::new(""), |weights, (part, factor)| weights.scaled(part, factor))
}

/// Everything but GELU: what is left is rounding and the few activations near zero.
#[test]
fn encoder_where_gelu_does_not_matter() {
    let [ours, candle] = Pair::new(&loud()).embeddings();
    let worst = deviation([&ours, &candle]);
    println!("embeddings, loud weights: {worst:.1e} standard deviations");
    assert!(worst < 1e-4, "{worst}");
}

/// SAM's own encoder, windows with padding and a global block, and the positions of both.
#[test]
fn vit_encoder() {
    let [ours, candle] = Pair::with_vit(&GeneratedWeights::new("")).embeddings();
    let worst = deviation([&ours, &candle]);
    println!("embeddings of a ViT: {worst:.1e} standard deviations");
    assert!(worst < 1e-4, "{worst}");
}

/// The whole encoder: 27 approximated GELUs, one after the other.
#[test]
fn encoder_with_its_approximated_gelu() {
    let [ours, candle] = Pair::new(&GeneratedWeights::new("")).embeddings();
    let worst = deviation([&ours, &candle]);
    println!("embeddings: {worst:.1e} standard deviations");
    assert!(worst < 1e-2, "{worst}");
}

#[test]
fn decoder() {
    let embeddings = fill_tensor("image_embeddings", (1, 256, 64, 64), "peer", &Device::Cpu).unwrap();
    for (weights, bound) in [(loud(), 1e-4), (GeneratedWeights::new(""), 5e-3)] {
        let [(ours, our_ious), (candle, candle_ious)] = Pair::new(&weights).masks(&embeddings);
        let worst = deviation([&ours, &candle]);
        // the IoU head has no GELU before it
        let ious = list(&our_ious).iter().zip(list(&candle_ious)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        println!("masks: {worst:.1e} standard deviations, IoUs: {ious:.1e}");
        assert!(worst < bound, "masks: {worst}");
        assert!(ious < 1e-4, "IoUs: {:?} {:?}", list(&our_ious), list(&candle_ious));
    }
}

/// A narrow DINOv2 whose GELUs are ReLUs, and an image at the size of its position table.
fn dinov2() -> (DinoV2Config, VarBuilder<'static>, Tensor) {
    let cfg = DinoV2Config { embed_dim: 64, depth: 3, num_heads: 2, ..DinoV2Config::vit_s() };
    let weights = GeneratedWeights::new("").scaled("mlp.fc1.weight", LOUD);
    let image = Pattern::new("image").image(518, 518, &Device::Cpu).unwrap();
    (cfg, weights.var_builder(DType::F32, &Device::Cpu), image)
}

#[test]
fn dinov2_blocks() {
    let (cfg, vb, image) = dinov2();
    let candle = CandleDino::new(vb.clone(), cfg.depth, cfg.embed_dim, cfg.num_heads).unwrap();
    let candle = candle.get_intermediate_layers(&image, &[0, 2], true, false, false).unwrap(); // [2, 1, C, 37, 37]
    let ours = DinoV2::new(&DinoV2Config { layer_norm_eps: 1e-5, ..cfg }, vb).unwrap();
    let ours = ours.intermediate_layers(&image, &[0, 2], &mut Unobserved).unwrap();
    for (i, layer) in ours.iter().enumerate() {
        let worst = deviation([&layer.patch_tokens, &candle.get(i).unwrap()]);
        println!("DINOv2, layer {i}: {worst:.1e} standard deviations");
        assert!(worst < 1e-4, "{worst}");
    }
}

/// timm's names, registers, the final norm, and the class token behind it.
#[test]
fn dinov2_with_registers() {
    let (cfg, vb, image) = dinov2();
    let candle = CandleDinoReg::new(vb.clone(), cfg.depth, cfg.embed_dim, cfg.num_heads).unwrap();
    let candle = candle_nn::Module::forward(&candle, &image).unwrap();
    let ours = DinoV2::new(&cfg.with_registers().timm(), vb.clone()).unwrap().forward(&image).unwrap();
    let (weight, bias) = (vb.get((7806, 64), "head.weight").unwrap(), vb.get(7806, "head.bias").unwrap());
    let ours = ours.class_token.matmul(&weight.t().unwrap()).unwrap().broadcast_add(&bias).unwrap();
    let worst = deviation([&ours, &candle]);
    println!("DINOv2 with registers, classes: {worst:.1e} standard deviations");
    assert!(worst < 1e-4, "{worst}");
}
