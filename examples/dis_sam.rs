//! Two stages on an image: a promptable model finds the object, IS-Net cuts it out to its thin parts.
//!
//! With a checkpoint of DIS-SAM's second stage (five input channels) this is DIS-SAM; without one the original IS-Net stands in
//! for it (`sam+isnet`). What is missing is fetched.
//!
//! ```sh
//! cargo run --release --example dis_sam                                                       # a lattice tower
//! cargo run --release --example dis_sam -- photo.jpg 305 120 340 412
//! cargo run --release --example dis_sam -- photo.jpg 500 375                                  # one click
//! DIS_SAM_WEIGHTS=dis_sam.pth cargo run --release --example dis_sam -- photo.jpg 10 20 300 200
//! ```

mod common;

use hrseg::prelude::*;
use hrseg::seg_data::output::{Overwrite, write_png};
use hrseg::seg_data::render;
use hrseg::seg_models::registry::Segmenter;

fn main() -> common::Result {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (photo, numbers) = match args.as_slice() {
        [] => (common::photo("rocket.jpg"), vec![185., 160., 240., 420.]),
        [photo, numbers @ ..] => (photo.into(), numbers.iter().map(|v| v.parse()).collect::<Result<Vec<f32>, _>>()?),
    };
    let prompts = match numbers[..] {
        [x, y] => Prompts::point(x, y),
        [x0, y0, x1, y1] => Prompts::bbox([x0, y0, x1, y1]),
        _ => return Err("usage: dis_sam [PHOTO X Y | PHOTO LEFT TOP RIGHT BOTTOM]".into()),
    };

    let sam = common::fetched(ModelName::MobileSam)?.promptable(ModelName::MobileSam)?;
    let second = match std::env::var("DIS_SAM_WEIGHTS") {
        Ok(file) => common::open(ModelName::DisSam, Some(&file), ModelName::DisSam.image_size())?,
        Err(_) => common::fetched(ModelName::SamIsNet)?,
    };
    let Segmenter::TwoStage(two_stage) = second else { return Err("expected a second stage".into()) };

    let image = load_image(photo, &DecodeLimits::default())?.image;
    let refined = two_stage.predict(sam.as_ref(), &image, &prompts)?;
    let agreement = 100. * refined.agreement();
    println!("found at {:?}; coarse and exact mask agree by {agreement:.0} % (IoU)", refined.coarse.bbox);

    let (coarse, exact) = (common::out("dis_sam.coarse.png")?, common::out("dis_sam.refined.png")?);
    write_png(&coarse, &render::cutout(&image, &refined.coarse.mask)?, Overwrite::Replace)?;
    write_png(&exact, &render::cutout(&image, &refined.probability.to_image()?)?, Overwrite::Replace)?;
    println!("look at {} and {}", coarse.display(), exact.display());
    Ok(())
}
