//! Seconds and peak memory of SAM's image encoders on weights that are made up: time does not depend on them.
//!
//! ```sh
//! cargo run --release -p vit-encoder --example time_encoder -- vit_b 1024 5
//! ```
//!
//! Prints a line of JSON: `{"runs_s": […], "peak_rss_bytes": …}`. The first run is not counted. Without arguments: `vit_t 512 3`.

use std::error::Error;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use seg_golden::{GeneratedWeights, Pattern};
use vit_encoder::{ImageEncoderViT, SamVitConfig, TinyVit, TinyVitConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (model, size, runs): (&str, usize, usize) = match args.as_slice() {
        [] => ("vit_t", 512, 3),
        [model, size, runs] => (model, size.parse()?, runs.parse()?),
        _ => return Err("usage: time_encoder [vit_b|vit_l|vit_h|vit_t SIZE RUNS]".into()),
    };
    let vb = GeneratedWeights::new("").var_builder(DType::F32, &Device::Cpu);
    let vit = |cfg| ImageEncoderViT::new(&cfg, vb.clone());
    let encode: Box<dyn Fn(&_) -> _> = match model {
        "vit_t" => {
            let encoder = TinyVit::new(&TinyVitConfig::mobile_sam(), vb.clone())?;
            Box::new(move |image: &Tensor| encoder.forward(image.clone()))
        }
        name => {
            let encoder = match name {
                "vit_b" => vit(SamVitConfig::vit_b())?,
                "vit_l" => vit(SamVitConfig::vit_l())?,
                "vit_h" => vit(SamVitConfig::vit_h())?,
                other => return Err(format!("{other}, expected vit_b, vit_l, vit_h or vit_t").into()),
            };
            Box::new(move |image| encoder.forward(image))
        }
    };
    let image = Pattern::new("input.image").sam_image(size, size, &Device::Cpu)?;
    let mut seconds = Vec::with_capacity(runs);
    for run in 0..=runs {
        let start = Instant::now();
        encode(&image)?;
        if run > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    println!(r#"{{"runs_s": {seconds:?}, "peak_rss_bytes": {}}}"#, peak_rss_bytes().unwrap_or(0));
    Ok(())
}

/// Linux says how much memory a process has held at most.
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
