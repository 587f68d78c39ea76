//! A long video takes no more memory than a short one.
#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device};
use common::picture;
use hiera_encoder::HieraConfig;
use seg_golden::GeneratedWeights;
use seg_models::Prompts;
use seg_models::sam2::video::{Direction, Sam2VideoConfig, Sam2VideoModel, Sam2VideoPredictor, SessionOptions};
use seg_models::sam2::{Sam2Config, Sam2Version};

/// The most memory that the process has had, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The trunk is narrow, to be quick; the memory, and with it all that is kept, is of full size.
#[test]
#[cfg(target_os = "linux")]
#[ignore = "minutes: 600 frames at 512 pixels"]
fn six_hundred_frames() {
    let trunk =
        HieraConfig { embed_dim: 8, stages: vec![1, 1, 1, 1], global_att_blocks: vec![], ..HieraConfig::tiny() };
    let sam2 = Sam2Config { image_size: 512, ..Sam2Config::new(Sam2Version::V2_1, trunk) };
    let vb = GeneratedWeights::new("p1").var_builder(DType::F32, &Device::Cpu);
    let model = Sam2VideoModel::new(&Sam2VideoConfig::new(sam2), vb).unwrap();
    let predictor = Sam2VideoPredictor::new(model, DType::F32, &Device::Cpu);
    let mut session = predictor.session(SessionOptions::default());
    let mut at_60 = 0;
    for t in 0..600 {
        let frame = predictor.encode(&picture(512, 512, t)).unwrap();
        if t == 0 {
            session.prompt(0, &frame, 1, &Prompts::point(200., 250.)).unwrap();
        }
        session.track(t as usize, &frame, Direction::Forward).unwrap();
        if t == 60 {
            at_60 = peak_kib();
        }
    }
    let at_600 = peak_kib();
    println!("peak: {} MiB at frame 60, {} MiB at frame 600", at_60 / 1024, at_600 / 1024);
    assert!(at_600 as f64 <= 1.1 * at_60 as f64, "{at_60} KiB, then {at_600} KiB");
}
