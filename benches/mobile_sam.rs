//! Image encoders at 1024x1024: MobileSAM's against candle-transformers', and SAM 2 tiny's.
//!
//! `cargo bench --bench mobile_sam`

use std::hint::black_box;

use candle_core::{DType, Device, Tensor};
use candle_transformers::models::segment_anything::sam::Sam as CandleSam;
use criterion::{Criterion, criterion_group, criterion_main};
use hrseg::seg_golden::{GeneratedWeights, Pattern};
use hrseg::seg_models::sam::{Sam, SamConfig};
use hrseg::seg_models::sam2::{Sam2Config, Sam2ImageModel, Sam2Version};

const SIZE: usize = 1024;

/// A normalised image `[3, 1024, 1024]`.
fn image() -> Tensor {
    Pattern::new("bench").image(SIZE, SIZE, &Device::Cpu).and_then(|t| t.reshape((3, SIZE, SIZE))).expect("an image")
}

fn mobile_sam(criterion: &mut Criterion) {
    let weights = GeneratedWeights::new("");
    let vb = || weights.var_builder(DType::F32, &Device::Cpu);
    let image = image();
    let mut group = criterion.benchmark_group("mobile_sam_encoder_1024");
    group.sample_size(10);
    {
        let ours = Sam::new(&SamConfig::mobile_sam(), vb()).expect("ours");
        let batch = image.unsqueeze(0).expect("a batch of one");
        group.bench_function("hrseg", |b| b.iter(|| ours.encode_image(black_box(batch.clone())).expect("embeddings")));
    }
    let candle = CandleSam::new_tiny(vb()).expect("candle's");
    // candle's includes the normalisation, which is a thousandth of it
    group.bench_function("candle-transformers", |b| {
        b.iter(|| candle.embeddings(black_box(&image)).expect("embeddings"));
    });
    group.finish();
}

fn sam2_tiny(criterion: &mut Criterion) {
    let vb = GeneratedWeights::new("").var_builder(DType::F32, &Device::Cpu);
    let model = Sam2ImageModel::new(&Sam2Config::tiny(Sam2Version::V2_1), vb).expect("SAM 2");
    let batch = image().unsqueeze(0).expect("a batch of one");
    let mut group = criterion.benchmark_group("sam2_tiny_encoder_1024");
    group.sample_size(10);
    group.bench_function("hrseg", |b| b.iter(|| model.encode_image(black_box(batch.clone())).expect("features")));
    group.finish();
}

criterion_group!(benches, mobile_sam, sam2_tiny);
criterion_main!(benches);
