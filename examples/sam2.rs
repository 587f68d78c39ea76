//! SAM 2 on an image: one encoding, then a click, and a refinement of what the click gave.
//!
//! ```sh
//! cargo run --release --example sam2 -- sam2_hiera_tiny.pt photo.jpg 500 375
//! ```

use std::error::Error;
use std::time::Instant;

use hrseg::prelude::*;
use hrseg::seg_checkpoints::{Checkpoint, identify};
use hrseg::seg_data::output::{Overwrite, write_png};
use hrseg::seg_data::{mask, render};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [weights, photo, x, y] = args.as_slice() else {
        return Err("usage: sam2 WEIGHTS PHOTO X Y".into());
    };
    let (x, y): (f32, f32) = (x.parse()?, y.parse()?);

    // which of SAM 2's sizes the file is, it says itself
    let checkpoint = Checkpoint::open(weights)?;
    let identity = identify(&checkpoint).ok_or("the file looks like no known model")?;
    let name: ModelName = identity.model().parse()?;
    let (model, report) = name.load(weights.as_ref(), &LoadOptions::default())?;
    println!("{report}");

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
    write_png("sam2.overlay.png", &overlay, Overwrite::Replace)?;
    println!("look at sam2.overlay.png");
    Ok(())
}
