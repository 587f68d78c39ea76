//! Decodes every image of a folder, files in parallel, and prints how many there were and how long it took; with `--digests`
//! for each file a digest of its pixels, or why it is refused; with `--alone` without memory kept from file to file.
//!
//! `cargo run --release -p seg-data --example decode_folder -- FOLDER [--digests] [--alone]`

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use seg_data::{DecodeLimits, ImageLoader, load_image};

fn main() -> std::io::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut flag = |name: &str| {
        let before = arguments.len();
        arguments.retain(|argument| argument != name);
        arguments.len() < before
    };
    let (digests, alone) = (flag("--digests"), flag("--alone"));
    let folder = arguments.pop().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/decode").into());
    let files: Vec<_> = std::fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    let counted = rayon::broadcast(|_| {
        let (mut read, mut pixels) = (0usize, 0u64);
        let limits = DecodeLimits::default();
        let mut loader = ImageLoader::new(limits.clone());
        while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let loaded = if alone { load_image(path, &limits) } else { loader.load(path) };
            if digests {
                let what = match &loaded {
                    Ok(loaded) => fnv(loaded.image.as_raw()),
                    Err(error) => format!("refused: {error}"),
                };
                println!("{}|{what}", path.file_name().unwrap_or_default().display());
            }
            match loaded {
                Ok(loaded) => {
                    read += 1;
                    pixels += u64::from(loaded.image.width()) * u64::from(loaded.image.height());
                    loader.give_back(loaded.image);
                }
                Err(error) if !digests => eprintln!("{error}"),
                Err(_) => {}
            }
        }
        (read, pixels)
    });
    let ms = start.elapsed().as_secs_f64() * 1e3;
    let (read, pixels) = counted.iter().fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    println!("{read} of {} files, {:.2} megapixels in {ms:.1} ms", files.len(), pixels as f64 / 1e6);
    Ok(())
}

/// FNV-1a, 64 bits, in hexadecimal.
fn fnv(data: &[u8]) -> String {
    let hash = data.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}
