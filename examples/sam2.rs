//! SAM 2 on an image: one encoding, then a click, and a refinement of what the click gave.
//!
//! ```sh
//! cargo run --release --example sam2                                                  # made-up weights
//! cargo run --release --example sam2 -- sam2_hiera_tiny.pt photo.jpg 500 375
//! ```

mod common;

use std::time::Instant;

use hrseg::prelude::*;
use hrseg::seg_checkpoints::{Checkpoint, identify};
use hrseg::seg_data::output::{Overwrite, write_png};
use hrseg::seg_data::{mask, render};
use hrseg::seg_models::registry::Sam2Size;
use hrseg::seg_models::sam2::Sam2Version;

fn main() -> common::Result {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (weights, photo, x, y) = match args.as_slice() {
        [] => (None, common::photo("coffee.jpg"), 300., 200.),
        [weights, photo, x, y] => (Some(weights.as_str()), photo.into(), x.parse()?, y.parse()?),
        _ => return Err("usage: sam2 [WEIGHTS PHOTO X Y]".into()),
    };
    let name = match weights {
        None => ModelName::Sam2(Sam2Version::V2_1, Sam2Size::Tiny),
        // which of SAM 2's sizes the file is, it says itself
        Some(file) => {
            let identity = identify(&Checkpoint::open(file)?).ok_or("the file looks like no known model")?;
            identity.model().parse()?
        }
    };
    let model = common::open(name, weights, name.image_size())?.promptable(name)?;

    let image = load_image(photo, &DecodeLimits::default())?.image;
    let start = Instant::now();
    let embedded = EmbeddedImage::new(model.as_ref(), &image)?;
    println!("encoded {}x{} in {:.2?}", image.width(), image.height(), start.elapsed());

    // three candidates for one click: part, object, whole
    let start = Instant::now();
    let click = Prompts::point(x, y).with_multimask();
    let candidates = embedded.predict(&click)?;
    println!("decoded in {:.2?}: predicted IoU {:?}", start.elapsed(), candidates.iou_predictions);

    // the best one goes back in as a mask prompt, and comes out as one, usually cleaner, mask
    let refined =
        embedded.predict(&Prompts { mask: Some(candidates.refine(candidates.best())?), multimask: false, ..click })?;
    println!("refined: predicted IoU {:?}", refined.iou_predictions);

    let mask = mask::from_logits(&refined.mask(refined.best())?, image.width(), image.height(), 0.0)?;
    let prompts = render::Prompts { points: vec![(x, y, true)], boxes: Vec::new() };
    let overlay = render::overlay(&image, &mask, &prompts, &render::OverlayStyle::default())?;
    let path = common::out("sam2.overlay.png")?;
    write_png(&path, &overlay, Overwrite::Replace)?;
    println!("look at {}", path.display());
    Ok(())
}
