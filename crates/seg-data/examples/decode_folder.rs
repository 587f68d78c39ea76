//! Decodes every image of a folder, files in parallel, and prints how many there were and how long it took.
//!
//! `cargo run --release -p seg-data --example decode_folder -- FOLDER`

use std::time::Instant;

use rayon::prelude::*;
use seg_data::{DecodeLimits, load_image};

fn main() -> std::io::Result<()> {
    let folder =
        std::env::args().nth(1).unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/decode").into());
    let files: Vec<_> = std::fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    let start = Instant::now();
    let pixels: Vec<u64> = files
        .par_iter()
        .filter_map(|path| {
            let loaded = load_image(path, &DecodeLimits::default()).map_err(|e| eprintln!("{e}")).ok()?;
            Some(u64::from(loaded.image.width()) * u64::from(loaded.image.height()))
        })
        .collect();
    let (megapixels, ms) = (pixels.iter().sum::<u64>() as f64 / 1e6, start.elapsed().as_secs_f64() * 1e3);
    println!("{} of {} files, {megapixels:.2} megapixels in {ms:.1} ms", pixels.len(), files.len());
    Ok(())
}
