//! SAM 2.1 tiny on video: encoding a frame, and tracking an object on it with a full memory.
//!
//! `cargo bench --bench sam2_video`; `-- --test` runs it once on small frames.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use hrseg::prelude::*;
use hrseg::seg_golden::{GeneratedWeights, Pattern};
use hrseg::seg_models::sam2::video::{Direction, Sam2VideoConfig, Sam2VideoModel, Sam2VideoPredictor, SessionOptions};
use hrseg::seg_models::sam2::{Sam2Config, Sam2Version};

fn sam2_video(criterion: &mut Criterion) {
    let dry = std::env::args().any(|a| a == "--test");
    let sizes: &[usize] = if dry { &[256] } else { &[512, 1024] };
    for &size in sizes {
        let sam2 = Sam2Config { image_size: size, ..Sam2Config::tiny(Sam2Version::V2_1) };
        let vb = GeneratedWeights::new("p1").var_builder(DType::F32, &Device::Cpu);
        let model = Sam2VideoModel::new(&Sam2VideoConfig::new(sam2), vb).expect("SAM 2");
        let predictor = Sam2VideoPredictor::new(model, DType::F32, &Device::Cpu);
        let side = size as u32;
        let bytes = Pattern::new("bench").image_u8(size, size);
        let image = RgbImage::from_raw(side, side, bytes).expect("an image");

        let mut group = criterion.benchmark_group(format!("sam2_video_tiny_{size}"));
        group.sample_size(10);
        group.bench_function("encode", |b| b.iter(|| predictor.encode(black_box(&image)).expect("a frame")));
        let frame = predictor.encode(&image).expect("a frame");
        let mut session = predictor.session(SessionOptions::default());
        session.prompt(0, &frame, 1, &Prompts::point(side as f32 * 0.4, side as f32 * 0.4)).expect("a mask");
        for t in 0..8 {
            session.track(t, &frame, Direction::Forward).expect("masks");
        }
        let mut next = 8;
        group.bench_function("track", |b| {
            b.iter(|| {
                next += 1;
                session.track(next, &frame, Direction::Forward).expect("masks")
            });
        });
        group.finish();
    }
}

criterion_group!(benches, sam2_video);
criterion_main!(benches);
