//! Everything in an image: a grid of clicks, every mask that is good and not there already, painted and as JSON.
//!
//! ```sh
//! cargo run --release --example sam                                                   # a cup of coffee, a coarse grid
//! cargo run --release --example sam -- photo.jpg
//! cargo run --release --example sam -- photo.jpg sam2.1-tiny '{"points_per_side": 16, "crop_n_layers": 1}'
//! ```

mod common;

use std::path::PathBuf;

use hrseg::prelude::*;
use hrseg::seg_data::output::{Overwrite, write, write_png};
use hrseg::seg_data::{mask, render};
use hrseg::seg_models::{AutomaticMaskConfig, AutomaticMaskGenerator};

fn main() -> common::Result {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (photo, name, settings) = match args.as_slice() {
        [] => (common::photo("coffee.jpg"), "mobile-sam", "{\"points_per_side\": 8}"),
        [photo] => (PathBuf::from(photo), "mobile-sam", "{}"),
        [photo, name] => (photo.into(), name.as_str(), "{}"),
        [photo, name, settings] => (photo.into(), name.as_str(), settings.as_str()),
        _ => return Err("usage: sam [PHOTO [MODEL [SETTINGS]]], settings such as {\"points_per_side\": 16}".into()),
    };
    let cfg: AutomaticMaskConfig = serde_json::from_str(settings)?;
    let name: ModelName = name.parse()?;
    let model = common::fetched(name)?.promptable(name)?;

    let image = load_image(photo, &DecodeLimits::default())?.image;
    let (width, height) = image.dimensions();
    let masks = AutomaticMaskGenerator::new(model.as_ref(), cfg)?.generate(&image)?;
    println!("{} masks", masks.len());

    let records: Vec<_> = masks.iter().map(|mask| mask.record()).collect();
    let listed = common::out("sam.json")?;
    write(&listed, &serde_json::to_vec_pretty(&records)?, Overwrite::Replace)?;

    // large ones first, so that the small ones lie on top
    let mut order: Vec<_> = masks.iter().collect();
    order.sort_by_key(|mask| std::cmp::Reverse(mask.area));
    let mut painted = image;
    for (i, found) in order.into_iter().enumerate() {
        let hue = |shift: f32| (127.5 + 127.5 * (i as f32 * 2.4 + shift).sin()) as u8;
        let style = render::OverlayStyle { tint: [hue(0.0), hue(2.1), hue(4.2)], dim: 0.0, ..Default::default() };
        let mask = mask::from_binary(&found.rle.decode(), width, height)?;
        painted = render::overlay(&painted, &mask, &render::Prompts::default(), &style)?;
    }
    let path = common::out("sam.masks.png")?;
    write_png(&path, &painted, Overwrite::Replace)?;
    println!("look at {} and {}", path.display(), listed.display());
    Ok(())
}
