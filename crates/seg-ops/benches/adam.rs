//! A step of AdamW in one pass against candle's own, of ten million weights in one tensor and in a thousand. `-- --test` runs it once on few.

#![allow(missing_docs)]

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use seg_ops::{AdamStep, adam_step};

const STEP: AdamStep = AdamStep {
    lr: 1e-6,
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    weight_decay: 0.01,
    decoupled: true,
    step: 1,
    grad_scale: 1.,
};

/// `count` weights and gradients of `numbers` each.
fn weights(count: usize, numbers: usize) -> Result<Vec<(Var, Tensor)>> {
    let values = |from: usize| -> Vec<f32> { (0..numbers).map(|i| ((i + from) % 1009) as f32 / 504. - 1.).collect() };
    let pair = |i: usize| {
        let weight = Var::from_vec(values(i), numbers, &Device::Cpu)?;
        Ok((weight, Tensor::from_vec(values(7 * i + 1), numbers, &Device::Cpu)?))
    };
    (0..count).map(pair).collect()
}

fn bench(c: &mut Criterion) {
    let all = if std::env::args().any(|a| a == "--test") { 10_000 } else { 10_000_000 };
    for count in [1, 1000] {
        let mut group = c.benchmark_group(format!("adam_step of {all} in {count}"));
        group.sample_size(10).throughput(Throughput::Elements(all as u64));
        let pairs = weights(count, all / count).expect("weights");
        let moments: Vec<_> =
            pairs.iter().map(|(w, _)| Ok((w.zeros_like()?, w.zeros_like()?))).collect::<Result<_>>().expect("moments");
        group.bench_function("ours", |b| {
            b.iter(|| {
                for ((weight, grad), (first, second)) in pairs.iter().zip(&moments) {
                    adam_step(weight, grad, first, second, &STEP).expect("our step");
                }
            });
        });
        let vars: Vec<Var> = pairs.iter().map(|(var, _)| var.clone()).collect();
        // the gradients of this sum are those
        let mut sum = Tensor::zeros((), DType::F32, &Device::Cpu).expect("a zero");
        for (weight, grad) in &pairs {
            sum = (sum + (weight.as_tensor() * grad).and_then(|p| p.sum_all()).expect("a product")).expect("a sum");
        }
        let grads = sum.backward().expect("gradients");
        let params = ParamsAdamW { lr: STEP.lr, weight_decay: STEP.weight_decay, ..ParamsAdamW::default() };
        let mut candles = AdamW::new(vars, params).expect("candle's AdamW");
        group.bench_function("candle", |b| b.iter(|| candles.step(&grads).expect("candle's step")));
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
