//! Our operations against candle's own, at the shapes of `ops/shapes.txt`. A name is `model: group: what`: `cargo bench -p seg-ops -- is-net`
//! runs one model, `-- "conv dense"` one group, `-- ours` leaves candle out.
//!
//! `cargo bench -p seg-ops -- --test` runs everything once on small maps, and compares our numbers with candle's. Where candle has no such
//! operation, the name says what it lacks. The thread count (`RAYON_NUM_THREADS`) is the user's. `Gelem/s` are GFLOP/s.

#![allow(missing_docs)]

#[path = "ops/candle.rs"]
mod candle;
#[path = "ops/ours.rs"]
mod ours;
#[path = "ops/runs.rs"]
mod runs;
#[path = "ops/shapes.rs"]
mod shapes;
#[path = "ops/spec.rs"]
mod spec;

use candle_core::{DType, Result, Tensor};
use criterion::{Bencher, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use runs::{Run, prepare};
use spec::Spec;
use std::time::Duration;

fn ours(spec: &Spec) -> Run {
    ours::forward(spec).and_then(|f| prepare(spec, f)).expect("our operation")
}

/// Tensors are made where a name is asked for only, and once.
fn time(b: &mut Bencher<'_>, run: &mut Option<Run>, make: impl FnOnce() -> Run) {
    let run = run.get_or_insert_with(make);
    b.iter(|| run().expect("the operation runs"));
}

fn difference(a: &Tensor, b: &Tensor) -> Result<(f32, f32)> {
    let greatest = |t: Tensor| t.abs()?.flatten_all()?.max(0)?.to_dtype(DType::F32)?.to_scalar::<f32>();
    Ok((greatest((a - b)?)?, greatest(b.clone())?))
}

/// Both give the same numbers: all of them, and all gradients.
fn check(name: &str, ours: &Run, candle: &Run) {
    let (ours, candle) = (ours().expect("our operation"), candle().expect("candle's operation"));
    for (i, (a, b)) in ours.iter().zip(&candle).enumerate() {
        let (off, greatest) = difference(a, b).expect("tensors of one shape");
        assert!(off <= 1e-4 * greatest.max(1.), "{name}: result {i} is off by {off} of {greatest}");
    }
}

fn bench(c: &mut Criterion) {
    let dry = std::env::args().any(|a| a == "--test");
    for (name, mut spec) in shapes::all() {
        if dry {
            shapes::shrink(&mut spec);
        }
        let mut group = c.benchmark_group(&name);
        group.sample_size(10).sampling_mode(SamplingMode::Flat).warm_up_time(Duration::from_millis(200));
        group.measurement_time(Duration::from_millis(500));
        if let Some(flops) = spec.flops() {
            group.throughput(Throughput::Elements(flops as u64));
        }
        let mut run = None;
        match candle::forward(&spec) {
            Err(lack) => {
                group.bench_function(format!("ours (candle has {lack})"), |b| time(b, &mut run, || ours(&spec)));
            }
            Ok(forward) => {
                group.bench_function("ours", |b| time(b, &mut run, || ours(&spec)));
                let (mut run, mut forward) = (None, Some(forward));
                // it may take seconds
                group.warm_up_time(Duration::from_millis(1));
                group.bench_function("candle", |b| {
                    time(b, &mut run, || {
                        let forward = forward.take().expect("made once");
                        let run = prepare(&spec, forward).expect("candle's operation");
                        if dry {
                            check(&name, &ours(&spec), &run);
                        }
                        run
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
