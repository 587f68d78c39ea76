//! Our operations against candle's own, at the shapes of the models. `cargo bench -p seg-ops -- linear` runs one group.
//!
//! The Cargo profile and the thread count (`RAYON_NUM_THREADS`) are the user's; sizes are those of a 1024 × 1024 image.

#![allow(missing_docs)]

#[path = "ops/attention.rs"]
mod attention;
#[path = "ops/conv.rs"]
mod conv;
#[path = "ops/linear.rs"]
mod linear;
#[path = "ops/norm.rs"]
mod norm;
#[path = "ops/spatial.rs"]
mod spatial;

use candle_core::{Device, Result, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use std::time::Duration;

/// The same numbers in every run.
fn tensor(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|i| ((i * 7919 % 1009) as f32 - 504.) / 504.).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor of this shape")
}

/// One group: ours and what candle has for it.
fn compare(c: &mut Criterion, name: &str, ours: impl Fn() -> Result<Tensor>, candle: impl Fn() -> Result<Tensor>) {
    let mut group = c.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.bench_function("ours", |b| b.iter(|| ours().expect("our operation")));
    group.bench_function("candle", |b| b.iter(|| candle().expect("candle's")));
    group.finish();
}

criterion_group!(benches, linear::bench, norm::bench, attention::bench, conv::bench, spatial::bench);
criterion_main!(benches);
