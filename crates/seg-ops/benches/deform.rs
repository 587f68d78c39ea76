//! Deformable convolution, which candle has not: against the same put together from candle's operations. `-- --test` runs it once on small maps.

#![allow(missing_docs)]

use candle_core::{Device, Result, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use seg_ops::{DeformConv2dParams, Layout, composed, deform_conv2d, grid_sample};

/// The same numbers in every run.
fn tensor(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|i| ((i * 7919 % 1009) as f32 - 504.) / 504.).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).expect("a tensor of this shape")
}

fn compare(c: &mut Criterion, name: &str, ours: impl Fn() -> Result<Tensor>, composed: impl Fn() -> Result<Tensor>) {
    let mut group = c.benchmark_group(name);
    group.sample_size(10);
    group.bench_function("ours", |b| b.iter(|| ours().expect("our operation")));
    group.bench_function("candle", |b| b.iter(|| composed().expect("candle's")));
    group.finish();
}

fn bench(c: &mut Criterion) {
    let side = if std::env::args().any(|a| a == "--test") { 32 } else { 256 };
    let x = tensor(&[1, side, side, 32]);
    for kernel in [3, 7] {
        let taps = kernel * kernel;
        let p = DeformConv2dParams { padding: kernel / 2, layout: Layout::Nhwc, ..DeformConv2dParams::default() };
        let offset = tensor(&[1, side, side, 2 * taps]);
        let mask = tensor(&[1, side, side, taps]);
        let weight = tensor(&[32, 32, kernel, kernel]);
        compare(
            c,
            &format!("deform_conv2d {kernel}x{kernel} 32x{side}x{side}"),
            || deform_conv2d(&x, &offset, Some(&mask), &weight, None, &p),
            || composed::deform_conv2d(&x, &offset, Some(&mask), &weight, None, &p),
        );
    }
    let (side, count) = (4 * side, 49 * side);
    let logits = tensor(&[4, 1, side, side]);
    let points = tensor(&[4, count, 1, 2]);
    compare(
        c,
        &format!("grid_sample {count} points of 1x{side}x{side}"),
        || grid_sample(&logits, &points, Layout::Nchw),
        || composed::grid_sample(&logits, &points, Layout::Nchw),
    );
}

criterion_group!(benches, bench);
criterion_main!(benches);
