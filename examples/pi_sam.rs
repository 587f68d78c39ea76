//! Pi-SAM on an image: the object in a box, then corrected by clicking on what is wrong, click by click.
//!
//! ```sh
//! cargo run --release --example pi_sam -- b sam_vit_b_01ec64.pth pi_sam_b.pth photo.jpg 120 80 900 700 310,420:1 655,200:0
//! ```
//!
//! The first file is SAM's own, the second the decoder as the authors of Pi-SAM saved it. A click is `x,y:1` where the object is missing and
//! `x,y:0` where something else was taken for it.

use std::error::Error;
use std::time::Instant;

use hrseg::prelude::*;
use hrseg::seg_data::output::{Overwrite, write_png};
use hrseg::seg_data::{mask, render};
use hrseg::seg_models::pi_sam::{PiSamFiles, PiSamSize, load};

fn click(text: &str) -> Option<Point> {
    let (place, label) = text.split_once(':')?;
    let (x, y) = place.split_once(',')?;
    Some(Point { x: x.parse().ok()?, y: y.parse().ok()?, positive: label == "1" })
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [size, sam, decoder, photo, left, top, right, bottom, clicks @ ..] = args.as_slice() else {
        return Err("usage: pi_sam b|l|h SAM DECODER PHOTO LEFT TOP RIGHT BOTTOM [X,Y:LABEL]…".into());
    };
    let config = match size.as_str() {
        "b" => PiSamSize::B,
        "l" => PiSamSize::L,
        "h" => PiSamSize::H,
        other => return Err(format!("size {other}, expected b, l or h").into()),
    }
    .config();
    let corners = [left.parse()?, top.parse()?, right.parse()?, bottom.parse()?];

    let (model, reports) = load(&config, &PiSamFiles::two(sam, decoder), &LoadOptions::default())?;
    reports.iter().for_each(|report| println!("{report}"));

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
    write_png("pi_sam.cutout.png", &render::cutout(&image, &mask)?, Overwrite::Replace)?;
    println!("look at pi_sam.cutout.png");
    Ok(())
}
