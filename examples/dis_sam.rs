//! Two stages on an image: a promptable model finds the object, IS-Net cuts it out to its thin parts.
//!
//! With a checkpoint of DIS-SAM's second stage (five input channels) this is DIS-SAM; without one the original IS-Net stands in
//! for it (`sam+isnet`). What is missing is fetched.
//!
//! ```sh
//! cargo run --release --example dis_sam -- tests/data/photos/rocket.jpg 305 120 340 412
//! cargo run --release --example dis_sam -- photo.jpg 500 375                                  # one click
//! DIS_SAM_WEIGHTS=dis_sam.pth cargo run --release --example dis_sam -- photo.jpg 10 20 300 200
//! ```

use std::error::Error;
use std::path::Path;

use hrseg::prelude::*;
use hrseg::seg_checkpoints::{FetchOptions, resolve};
use hrseg::seg_data::output::{Overwrite, write_png};
use hrseg::seg_data::render;
use hrseg::seg_models::dis_sam::{DisSamRefiner, Surroundings, TwoStage};
use hrseg::seg_models::is_net::IsNetPredictor;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [photo, numbers @ ..] = args.as_slice() else {
        return Err("usage: dis_sam PHOTO X Y | PHOTO LEFT TOP RIGHT BOTTOM".into());
    };
    let numbers: Vec<f32> = numbers.iter().map(|v| v.parse()).collect::<Result<_, _>>()?;
    let prompts = match numbers[..] {
        [x, y] => Prompts::point(x, y),
        [x0, y0, x1, y1] => Prompts::bbox([x0, y0, x1, y1]),
        _ => return Err("expected a point (two numbers) or a box (four)".into()),
    };

    let (fetching, loading) = (FetchOptions::from_env()?, LoadOptions::default());
    let (sam, _) = ModelName::MobileSam.load(&resolve("mobile-sam", None, &fetching)?.path, &loading)?;
    let two_stage = match std::env::var_os("DIS_SAM_WEIGHTS") {
        Some(file) => TwoStage::dis_sam(DisSamRefiner::load(Path::new(&file), &loading)?.0),
        None => {
            let weights = resolve("is-net", None, &fetching)?.path;
            TwoStage::sam_is_net(IsNetPredictor::load(&weights, &loading)?.0, Surroundings::default())
        }
    };

    let image = load_image(photo, &DecodeLimits::default())?.image;
    let refined = two_stage.predict(sam.as_ref(), &image, &prompts)?;
    println!(
        "found at {:?}; coarse and exact mask agree by {:.0} % (IoU)",
        refined.coarse.bbox,
        100. * refined.agreement()
    );

    write_png("dis_sam.coarse.png", &render::cutout(&image, &refined.coarse.mask)?, Overwrite::Replace)?;
    write_png("dis_sam.refined.png", &render::cutout(&image, &refined.probability.to_image()?)?, Overwrite::Replace)?;
    println!("look at dis_sam.coarse.png and dis_sam.refined.png");
    Ok(())
}
