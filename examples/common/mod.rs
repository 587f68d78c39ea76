//! What the examples share: weights that are given, can be had, or are made up; photos and frames; a folder for what they write.
//!
//! Every example runs without arguments. Where a model's published weights are out of reach it then computes on numbers made up from their names:
//! everything runs as it would, but what it cuts out means nothing, and it says so.
#![allow(dead_code)] // each example uses a part

use std::path::{Path, PathBuf};

use hrseg::prelude::*;
use hrseg::seg_checkpoints::{FetchOptions, resolve};
use hrseg::seg_data::output::{Overwrite, create_folder, write_png};
use hrseg::seg_golden::GeneratedWeights;
use hrseg::seg_models::registry::Segmenter;

/// What an example returns.
pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A photo of the test data: `rocket.jpg`, `coffee.jpg` or `dandelion.jpg`.
pub fn photo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos").join(name)
}

/// A place in the folder `out`, which is made if it is not there.
pub fn out(name: &str) -> Result<PathBuf> {
    create_folder("out")?;
    Ok(Path::new("out").join(name))
}

/// Weights made up from their names.
pub fn made_up(name: ModelName) -> GeneratedWeights {
    println!("{name}: no weights given, so they are made up: it runs, but the masks mean nothing");
    GeneratedWeights::new("")
}

/// The model on its file; without one on made-up weights, for inputs of `size` pixels.
pub fn open(name: ModelName, weights: Option<&str>, size: usize) -> Result<Segmenter> {
    let options = LoadOptions::default();
    let Some(weights) = weights else {
        return Ok(name.build(size, &options, made_up(name).var_builder(options.dtype, &options.device))?);
    };
    let (model, reports) = name.open(Path::new(weights), None, &options)?;
    reports.iter().for_each(|report| println!("{report}"));
    Ok(model)
}

/// The model on its published weights, fetched once; where they cannot be had, on made-up ones.
pub fn fetched(name: ModelName) -> Result<Segmenter> {
    match resolve(name.weights(), None, &FetchOptions::from_env()?) {
        Ok(found) => Ok(name.open(&found.path, None, &LoadOptions::default())?.0),
        Err(error) => {
            println!("{error}");
            open(name, None, name.image_size())
        }
    }
}

/// A folder of frames: a window that moves over a photo.
pub fn frames(count: u32) -> Result<PathBuf> {
    let image = load_image(photo("coffee.jpg"), &DecodeLimits::default())?.image;
    let (width, height) = (image.width() * 3 / 4, image.height() * 3 / 4);
    let folder = out("frames")?;
    create_folder(&folder)?;
    for t in 0..count {
        let part = |x, y| *image.get_pixel(x + 8 * t, y + 4 * t);
        let frame = RgbImage::from_fn(width, height, part);
        write_png(folder.join(format!("{t:05}.png")), &frame, Overwrite::Replace)?;
    }
    Ok(folder)
}
