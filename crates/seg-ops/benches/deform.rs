//! Deformable convolution, which candle has not: against the same put together from candle's operations.

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
    let x = tensor(&[1, 256, 256, 32]);
    for kernel in [3, 7] {
        let taps = kernel * kernel;
        let p = DeformConv2dParams { padding: kernel / 2, layout: Layout::Nhwc, ..DeformConv2dParams::default() };
        let offset = tensor(&[1, 256, 256, 2 * taps]);
        let mask = tensor(&[1, 256, 256, taps]);
        let weight = tensor(&[32, 32, kernel, kernel]);
        compare(
            c,
            &format!("deform_conv2d {kernel}x{kernel} 32x256x256"),
            || deform_conv2d(&x, &offset, Some(&mask), &weight, None, &p),
            || composed::deform_conv2d(&x, &offset, Some(&mask), &weight, None, &p),
        );
    }
    let logits = tensor(&[4, 1, 1024, 1024]);
    let points = tensor(&[4, 12544, 1, 2]);
    compare(
        c,
        "grid_sample 12544 points of 1x1024x1024",
        || grid_sample(&logits, &points, Layout::Nchw),
        || composed::grid_sample(&logits, &points, Layout::Nchw),
    );
}

criterion_group!(benches, bench);
criterion_main!(benches);
