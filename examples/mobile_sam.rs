//! MobileSAM on an image: the weights fetched if they are not here, a box, the object cut out.
//!
//! ```sh
//! cargo run --release --example mobile_sam                                            # a rocket
//! cargo run --release --example mobile_sam -- photo.jpg 305 120 340 412
//! ```

mod common;

use hrseg::prelude::*;
use hrseg::seg_data::output::{Overwrite, write_png};
use hrseg::seg_data::{mask, render};

fn main() -> common::Result {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (photo, corners) = match args.as_slice() {
        [] => (common::photo("rocket.jpg"), [305., 120., 340., 412.]),
        [photo, x0, y0, x1, y1] => (photo.into(), [x0.parse()?, y0.parse()?, x1.parse()?, y1.parse()?]),
        _ => return Err("usage: mobile_sam [PHOTO LEFT TOP RIGHT BOTTOM]".into()),
    };
    let model = common::fetched(ModelName::MobileSam)?.promptable(ModelName::MobileSam)?;

    let image = load_image(photo, &DecodeLimits::default())?.image;
    let prediction = EmbeddedImage::new(model.as_ref(), &image)?.predict(&Prompts::bbox(corners))?;
    let best = prediction.best();
    println!("predicted IoU {:.3}", prediction.iou_predictions[best]);

    let mask = mask::from_logits(&prediction.mask(best)?, image.width(), image.height(), 0.0)?;
    let path = common::out("mobile_sam.cutout.png")?;
    write_png(&path, &render::cutout(&image, &mask)?, Overwrite::Replace)?;
    println!("look at {}", path.display());
    Ok(())
}
