//! Image encoders at 1024x1024: MobileSAM's against candle-transformers', and SAM 2 tiny's.
//!
//! `cargo bench --bench mobile_sam`; `-- --test` runs each once, ours on small maps (candle's knows 1024 alone).

use std::hint::black_box;

use candle_core::{DType, Device, Tensor};
use candle_transformers::models::segment_anything::sam::Sam as CandleSam;
use criterion::{Criterion, criterion_group, criterion_main};
use hrseg::seg_golden::{GeneratedWeights, Pattern};
use hrseg::seg_models::sam::{Sam, SamConfig};
use hrseg::seg_models::sam2::{Sam2Config, Sam2ImageModel, Sam2Version};

/// Side of our inputs.
fn size() -> usize {
    if std::env::args().any(|a| a == "--test") { 256 } else { 1024 }
}

/// A normalised image `[3, size, size]`.
fn image(size: usize) -> Tensor {
    Pattern::new("bench").image(size, size, &Device::Cpu).and_then(|t| t.reshape((3, size, size))).expect("an image")
}

fn mobile_sam(criterion: &mut Criterion) {
    let weights = GeneratedWeights::new("");
    let vb = || weights.var_builder(DType::F32, &Device::Cpu);
    let size = size();
    let image = image(size);
    let mut group = criterion.benchmark_group(format!("mobile_sam_encoder_{size}"));
    group.sample_size(10);
    {
        let ours = Sam::new(&SamConfig::mobile_sam().with_image_size(size), vb()).expect("ours");
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
    let size = size();
    let cfg = Sam2Config { image_size: size, ..Sam2Config::tiny(Sam2Version::V2_1) };
    let model = Sam2ImageModel::new(&cfg, vb).expect("SAM 2");
    let batch = image(size).unsqueeze(0).expect("a batch of one");
    let mut group = criterion.benchmark_group(format!("sam2_tiny_encoder_{size}"));
    group.sample_size(10);
    group.bench_function("hrseg", |b| b.iter(|| model.encode_image(black_box(batch.clone())).expect("features")));
    group.finish();
}

criterion_group!(benches, mobile_sam, sam2_tiny);
criterion_main!(benches);
