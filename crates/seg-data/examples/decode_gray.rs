//! Decodes images as evaluation reads them and prints the seconds that it took: what the metrics have to be measured against.
//! `cargo run --release -p seg-data --example decode_gray -- DIR...`; the thread count (`RAYON_NUM_THREADS`) is the user's. Without a folder: four
//! drawn masks.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use rayon::prelude::*;
use seg_data::inputs::expand;
use seg_data::output::{Overwrite, write_png};
use seg_data::{DecodeLimits, GrayImage, MaskReader, MaskRole, load_levels};

fn main() -> Result<(), Box<dyn Error>> {
    let mut folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let drawn = tempfile::tempdir()?;
    if folders.is_empty() {
        for i in 0..4 {
            let ring = GrayImage::from_fn(1024, 768, |x, y| {
                let r = (x as f32 - 512.).hypot(y as f32 - 384.);
                image::Luma([((r * (0.02 + 0.01 * i as f32)).sin() * 127.5 + 127.5) as u8])
            });
            write_png(drawn.path().join(format!("{i}.png")), &ring, Overwrite::Refuse)?;
        }
        folders.push(drawn.path().to_path_buf());
    }
    let files = expand(&folders)?;
    let limits = DecodeLimits::default();
    let start = Instant::now();
    let pixels = files
        .par_iter()
        .map(|file| {
            load_levels(file, MaskRole::Truth, MaskReader::Meaning, &limits).map(|read| read.levels.as_raw().len())
        })
        .try_reduce(|| 0, |a, b| Ok(a + b))?;
    println!("{{\"files\": {}, \"pixels\": {pixels}, \"seconds\": {}}}", files.len(), start.elapsed().as_secs_f64());
    Ok(())
}
