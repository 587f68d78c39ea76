//! Decodes every image of a folder, files in parallel, and prints how many there were and how long it took; with `--digests`
//! for each file a digest of its pixels, or why it is refused.
//!
//! `cargo run --release -p seg-data --example decode_folder -- FOLDER [--digests]`

use std::time::Instant;

use rayon::prelude::*;
use seg_data::{DecodeLimits, load_image};

fn main() -> std::io::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let digests = arguments.iter().any(|argument| argument == "--digests");
    arguments.retain(|argument| argument != "--digests");
    let folder = arguments.pop().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/decode").into());
    let files: Vec<_> = std::fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    let start = Instant::now();
    let pixels: Vec<u64> = files
        .par_iter()
        .filter_map(|path| {
            let loaded = load_image(path, &DecodeLimits::default());
            if digests {
                let what = match &loaded {
                    Ok(loaded) => fnv(loaded.image.as_raw()),
                    Err(error) => format!("refused: {error}"),
                };
                println!("{}|{what}", path.file_name().unwrap_or_default().display());
            }
            let loaded = loaded.map_err(|error| (!digests).then(|| eprintln!("{error}"))).ok()?;
            Some(u64::from(loaded.image.width()) * u64::from(loaded.image.height()))
        })
        .collect();
    let (megapixels, ms) = (pixels.iter().sum::<u64>() as f64 / 1e6, start.elapsed().as_secs_f64() * 1e3);
    println!("{} of {} files, {megapixels:.2} megapixels in {ms:.1} ms", pixels.len(), files.len());
    Ok(())
}

/// FNV-1a, 64 bits, in hexadecimal.
fn fnv(data: &[u8]) -> String {
    let hash = data.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}
