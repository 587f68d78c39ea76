//! Pi-SAM on an image: the object in a box, then corrected by clicking on what is wrong, click by click.
//!
//! ```sh
//! cargo run --release --example pi_sam                                                # made-up weights
//! cargo run --release --example pi_sam -- b sam_vit_b_01ec64.pth pi_sam_b.pth photo.jpg 120 80 900 700 310,420:1 655,200:0
//! ```
//!
//! The first file is SAM's own, the second the decoder as the authors of Pi-SAM saved it. A click is `x,y:1` where the object is missing and
//! `x,y:0` where something else was taken for it.

mod common;

use std::time::Instant;

use hrseg::prelude::*;
use hrseg::seg_data::output::{Overwrite, write_png};
use hrseg::seg_data::{mask, render};
use hrseg::seg_models::pi_sam::{PiSamEncoder, PiSamFiles, PiSamMaskDecoder, PiSamPredictor, PiSamSize, load};

fn click(text: &str) -> Option<Point> {
    let (place, label) = text.split_once(':')?;
    let (x, y) = place.split_once(',')?;
    Some(Point { x: x.parse().ok()?, y: y.parse().ok()?, positive: label == "1" })
}

/// The smallest size on made-up weights, for inputs of 256 pixels.
fn made_up() -> common::Result<PiSamPredictor> {
    let options = LoadOptions::default();
    let vb = common::made_up(ModelName::PiSam(PiSamSize::B)).var_builder(options.dtype, &options.device);
    let config = PiSamSize::B.config().with_image_size(256);
    let (encoder, decoder) = (PiSamEncoder::new(&config, vb.clone())?, PiSamMaskDecoder::new(&config, vb)?);
    Ok(PiSamPredictor::new(encoder, decoder, options.dtype, &options.device)?)
}

fn main() -> common::Result {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let sample = ["300,160:1".to_owned(), "470,120:0".to_owned()];
    let (model, photo, corners, clicks) = match args.as_slice() {
        [] => (made_up()?, common::photo("coffee.jpg"), [90., 45., 460., 380.], sample.as_slice()),
        [size, sam, decoder, photo, left, top, right, bottom, clicks @ ..] => {
            let size = match size.as_str() {
                "b" => PiSamSize::B,
                "l" => PiSamSize::L,
                "h" => PiSamSize::H,
                other => return Err(format!("size {other}, expected b, l or h").into()),
            };
            let (model, reports) = load(&size.config(), &PiSamFiles::two(sam, decoder), &LoadOptions::default())?;
            reports.iter().for_each(|report| println!("{report}"));
            (model, photo.into(), [left.parse()?, top.parse()?, right.parse()?, bottom.parse()?], clicks)
        }
        _ => return Err("usage: pi_sam [b|l|h SAM DECODER PHOTO LEFT TOP RIGHT BOTTOM [X,Y:LABEL]…]".into()),
    };

    let image = load_image(photo, &DecodeLimits::default())?.image;
    let start = Instant::now();
    let embedding = model.embed(&image)?;
    println!("encoded {}x{} in {:.2?}", image.width(), image.height(), start.elapsed());

    // the box is decoded once; every click goes on from there, with all clicks before it
    let mut correction = model.correct(&embedding, corners)?;
    let mut prediction = correction.mask()?;
    for text in clicks {
        let start = Instant::now();
        prediction = correction.click(click(text).ok_or_else(|| format!("click {text}, expected x,y:1 or x,y:0"))?)?;
        println!("corrected at {text} in {:.2?}", start.elapsed());
    }

    let mask = mask::from_logits(&prediction.mask(0)?, image.width(), image.height(), 0.0)?;
    let path = common::out("pi_sam.cutout.png")?;
    write_png(&path, &render::cutout(&image, &mask)?, Overwrite::Replace)?;
    println!("look at {}", path.display());
    Ok(())
}
