//! Metrics on a drawn pair of 1024x1024 and one of 2048x3072 pixels: whole metrics as an evaluation runs them, and the operations that they are made
//! of. `cargo bench -p seg-metrics -- hce` runs one, `-- --test` all once on a small pair; the thread count (`RAYON_NUM_THREADS`) is the user's.

#![allow(missing_docs, clippy::unwrap_used)]

#[path = "metrics/drawing.rs"]
mod drawing;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use seg_metrics::bits::BitMask;
use seg_metrics::borders::{Regions, follow};
use seg_metrics::boundary::{DILATION_RATIO, boundary_iou, gray_boundary_curve, mean_boundary_accuracy};
use seg_metrics::distance::nearest_features;
use seg_metrics::hce::{HceRule, hce};
use seg_metrics::msiou::{EdgePyramid, msiou, msiou_curve};
use seg_metrics::protocol::MsiouRule;
use seg_metrics::thin::thin;
use seg_metrics::video::boundary_f;
use seg_metrics::{Evaluator, Metric, Plane, Protocol};

/// Width and height of the pairs.
fn sizes() -> Vec<(usize, usize)> {
    if std::env::args().any(|a| a == "--test") { vec![(160, 128)] } else { vec![(1024, 1024), (3072, 2048)] }
}

/// Every metric, and the set that papers report, through the evaluator.
fn metrics(c: &mut Criterion) {
    let mut group = c.benchmark_group("metric");
    group.measurement_time(Duration::from_secs(3)).sample_size(20);
    for (width, height) in sizes() {
        let (pred, gt) = drawing::pair(width, height);
        let plane = |pixels| Plane::new(pixels, width, height).unwrap();
        let (pred, gt) = (plane(&pred), plane(&gt));
        group.throughput(Throughput::Elements((width * height) as u64));
        let sets = Metric::ALL.map(|metric| (metric.name(), vec![metric]));
        for (name, metrics) in sets.into_iter().chain([("standard set", Metric::STANDARD.to_vec())]) {
            // the first protocol that has it
            let evaluator = [Protocol::default(), Protocol::birefnet(), Protocol::mgd_sam2(), Protocol::mvanet()]
                .map(|protocol| Evaluator::new(protocol, &metrics))
                .into_iter()
                .find(|evaluator| !evaluator.metrics().is_empty())
                .unwrap_or_else(|| panic!("no protocol has {name}"));
            group.bench_function(BenchmarkId::new(name, format!("{width}x{height}")), |b| {
                b.iter(|| evaluator.measure(black_box(pred), black_box(gt)).unwrap());
            });
        }
    }
}

/// The operations below.
fn operations(c: &mut Criterion) {
    let mut group = c.benchmark_group("operation");
    group.measurement_time(Duration::from_secs(3)).sample_size(20);
    for (width, height) in sizes() {
        let (pred, gt) = drawing::pair(width, height);
        let plane = |pixels| Plane::new(pixels, width, height).unwrap();
        let (pred, gt) = (plane(&pred), plane(&gt));
        let (p, g) = (BitMask::above(pred, 128), BitMask::above(gt, 128));
        let levels: [u8; 256] = std::array::from_fn(|level| level as u8);
        let pyramid = EdgePyramid::new(&g);
        group.throughput(Throughput::Elements((width * height) as u64));
        let mut bench = |name: &str, f: &mut dyn FnMut() -> f64| {
            group.bench_function(BenchmarkId::new(name, format!("{width}x{height}")), |b| b.iter(&mut *f));
        };
        bench("pack", &mut || BitMask::above(black_box(pred), 128).row(0)[0] as f64);
        bench("erode by the cross", &mut || g.erode_cross().row(0)[0] as f64);
        bench("erode by a square of 121", &mut || g.erode_square(60).row(0)[0] as f64);
        bench("dilate by a disc of 31", &mut || {
            g.dilate_spans(&(0..=15).map(|dy: usize| (225 - dy * dy).isqrt()).collect::<Vec<_>>()).row(0)[0] as f64
        });
        bench("thin", &mut || thin(&g).row(0)[0] as f64);
        bench("regions and borders", &mut || {
            let (regions, mut pixels) = (Regions::new(&g), 0);
            regions.borders().iter().for_each(|&border| follow(&g, border, |_, _| pixels += 1));
            pixels as f64
        });
        bench("nearest features", &mut || {
            let mut out = vec![0u32; width * height];
            nearest_features(
                gt.data(),
                width,
                |&v| v > 128,
                &mut out,
                |_, features, row| {
                    features.visit(0..width, |span, nearest| row[span].fill(nearest.index(width) as u32));
                },
            );
            f64::from(out[0])
        });
        bench("hce", &mut || hce(&p, &g, &HceRule::default()).total() as f64);
        bench("boundary iou", &mut || boundary_iou(&p, &g, DILATION_RATIO).iou());
        bench("biou curve", &mut || gray_boundary_curve(pred, &levels, &g)[128]);
        bench("mean boundary accuracy", &mut || mean_boundary_accuracy(&p, &g));
        bench("multi-scale iou", &mut || msiou(&p, &pyramid, MsiouRule::Exact));
        bench("multi-scale iou curve", &mut || msiou_curve(pred, &levels, &pyramid, MsiouRule::Exact)[128]);
        bench("davis f", &mut || boundary_f(&p, &g));
    }
}

criterion_group!(benches, metrics, operations);
criterion_main!(benches);
