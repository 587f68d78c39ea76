//! Times Pi-SAM's decoder at 1024 on made-up features, without and with three clicks, for comparison with other programs: `benches/peers/pi_sam.py` drives it.
//!
//! `time_pi_sam RUNS` prints one line of JSON: seconds of each run (`plain_s`, `clicks_s`; a first one is not timed), processor seconds, peak memory in bytes.

use candle_core::{DType, Device, Result, Tensor};
use detail_refine::Clicks;
use hr_decoders::PromptEmbeddings;
use seg_golden::{GeneratedWeights, inputs};
use seg_layers::Unobserved;
use seg_models::pi_sam::{PiSamConfig, PiSamFeatures, PiSamMaskDecoder};
use std::time::Instant;

fn noise(name: &str, dims: &[usize]) -> Result<Tensor> {
    inputs::noise(name, dims, "", 2., &Device::Cpu)
}

/// A number of kilobytes in `/proc/self/status`, in bytes; 0 where there is none.
fn status(key: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.split_whitespace().find_map(|word| word.parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn main() -> Result<()> {
    let runs: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(5);
    let cfg = PiSamConfig::vit_b();
    let decoder = PiSamMaskDecoder::new(&cfg, GeneratedWeights::new("").var_builder(DType::F32, &Device::Cpu))?;
    let features = PiSamFeatures {
        image_embeddings: noise("embeddings", &[1, 256, 64, 64])?,
        vit_features: noise("vit", &[1, 64, 64, cfg.decoder.vit_dim])?,
        rgb_embedding: noise("rgb", &[1, 8, 1024, 1024])?,
    };
    let pe = noise("pe", &[1, 256, 64, 64])?;
    let prompts = PromptEmbeddings {
        sparse_prompt_embeddings: noise("sparse", &[1, 2, 256])?,
        dense_prompt_embeddings: noise("dense", &[1, 256, 64, 64])?,
    };
    let clicks = Clicks::single(&[(0.31, 0.42, true), (0.655, 0.2, true), (0.5, 0.871, false)], &Device::Cpu)?;
    let time = |clicks: Option<&Clicks>| -> Result<Vec<f64>> {
        let mut seconds = Vec::with_capacity(runs);
        for run in 0..=runs {
            let start = Instant::now();
            decoder.forward(&features, &pe, &prompts, clicks, &mut Unobserved)?;
            if run > 0 {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
        Ok(seconds)
    };
    let (plain, clicked) = (time(None)?, time(Some(&clicks))?);
    println!("{{\"plain_s\": {plain:?}, \"clicks_s\": {clicked:?}, \"peak\": {}}}", status("VmHWM:"));
    Ok(())
}
