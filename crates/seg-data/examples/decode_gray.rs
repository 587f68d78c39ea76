//! Decodes images as evaluation reads them and prints the seconds that it took: what the metrics have to be measured against.
//! `cargo run --release -p seg-data --example decode_gray -- DIR...`; the thread count (`RAYON_NUM_THREADS`) is the user's.

use std::error::Error;
use std::time::Instant;

use rayon::prelude::*;
use seg_data::inputs::expand;
use seg_data::{DecodeLimits, load_gray};

fn main() -> Result<(), Box<dyn Error>> {
    let folders: Vec<String> = std::env::args().skip(1).collect();
    let files = expand(&folders)?;
    let limits = DecodeLimits::default();
    let start = Instant::now();
    let pixels = files
        .par_iter()
        .map(|file| load_gray(file, &limits).map(|image| image.as_raw().len()))
        .try_reduce(|| 0, |a, b| Ok(a + b))?;
    println!("{{\"files\": {}, \"pixels\": {pixels}, \"seconds\": {}}}", files.len(), start.elapsed().as_secs_f64());
    Ok(())
}
