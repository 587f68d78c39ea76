//! SAM2-UNeXT, or its ancestor SAM2-UNet, on photos: what the network was trained to find, cut out, without a prompt.
//!
//! ```sh
//! cargo run --release --example sam2_unext                                            # made-up weights
//! cargo run --release --example sam2_unext -- SAM2-UNeXT-20.pth photo.jpg
//! cargo run --release --example sam2_unext -- SAM2-UNet.pth photo.jpg other.jpg
//! ```

mod common;

use std::path::{Path, PathBuf};
use std::time::Instant;

use hrseg::prelude::*;
use hrseg::seg_checkpoints::{Checkpoint, identify};
use hrseg::seg_data::output::{Overwrite, write_png};
use hrseg::seg_data::render;
use hrseg::seg_models::registry::Segmenter;

fn main() -> common::Result {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (weights, photos): (Option<&str>, Vec<PathBuf>) = match args.as_slice() {
        [] => (None, vec![common::photo("dandelion.jpg")]),
        [weights, photos @ ..] => (Some(weights), photos.iter().map(PathBuf::from).collect()),
    };
    let unet = match weights {
        Some(file) => identify(&Checkpoint::open(file)?).is_some_and(|found| found.model() == "sam2-unet"),
        None => false,
    };
    let name = if unet { ModelName::Sam2Unet } else { ModelName::Sam2Unext };
    let Segmenter::PromptFree(model) = common::open(name, weights, 256)? else {
        return Err(format!("{name} takes prompts").into());
    };

    for photo in photos {
        let image = load_image(&photo, &DecodeLimits::default())?.image;
        let start = Instant::now();
        let map = model.predict(&image)?;
        println!("{}: {}x{} in {:.2?}", photo.display(), image.width(), image.height(), start.elapsed());
        let stem = photo.file_stem().unwrap_or(photo.as_os_str());
        let out = common::out(&Path::new(stem).with_extension("cutout.png").to_string_lossy())?;
        write_png(&out, &render::cutout(&image, &map.to_image()?)?, Overwrite::Replace)?;
        println!("look at {}", out.display());
    }
    Ok(())
}
