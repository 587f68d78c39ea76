//! MobileSAM on an image: the weights fetched if they are not here, a box, the object cut out.
//!
//! ```sh
//! cargo run --release --example mobile_sam -- tests/data/photos/rocket.jpg 305 120 340 412
//! ```

use std::error::Error;

use hrseg::prelude::*;
use hrseg::seg_checkpoints::{FetchOptions, resolve};
use hrseg::seg_data::output::{Overwrite, write_png};
use hrseg::seg_data::{mask, render};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [photo, corners @ ..] = args.as_slice() else {
        return Err("usage: mobile_sam PHOTO LEFT TOP RIGHT BOTTOM".into());
    };
    let corners: Vec<f32> = corners.iter().map(|v| v.parse()).collect::<Result<_, _>>()?;
    let corners: [f32; 4] = corners.try_into().map_err(|_| "expected four corners: LEFT TOP RIGHT BOTTOM")?;

    let name = ModelName::MobileSam;
    let weights = resolve(name.as_str(), None, &FetchOptions::from_env()?)?;
    let (model, _) = name.load(&weights.path, &LoadOptions::default())?;

    let image = load_image(photo, &DecodeLimits::default())?.image;
    let prediction = EmbeddedImage::new(model.as_ref(), &image)?.predict(&Prompts::bbox(corners))?;
    let best = prediction.best();
    println!("predicted IoU {:.3}", prediction.iou_predictions[best]);

    let mask = mask::from_logits(&prediction.mask(best)?, image.width(), image.height(), 0.0)?;
    write_png("mobile_sam.cutout.png", &render::cutout(&image, &mask)?, Overwrite::Replace)?;
    println!("look at mobile_sam.cutout.png");
    Ok(())
}
