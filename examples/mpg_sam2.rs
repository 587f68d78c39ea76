//! MPG-SAM 2 on a folder of frames: what a sentence names, cut out of all of them.
//!
//! ```sh
//! cargo run --release --example mpg_sam2 -- mpg-sam2/ bear/ "the bear walking on the rocks"
//! ```

use std::error::Error;

use hrseg::prelude::*;
use hrseg::seg_data::output::{Overwrite, create_folder, write_png};
use hrseg::seg_data::{Frames, render};
use hrseg::seg_models::mpg_sam2;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [weights, video, text] = args.as_slice() else {
        return Err("usage: mpg_sam2 WEIGHTS FOLDER|GIF|VIDEO TEXT".into());
    };

    // a saved folder, or a file with the sentencepiece model beside it; the sizes are in the weights
    let (predictor, _) = mpg_sam2::load(weights.as_ref(), None, &LoadOptions::default())?;

    let frames = Frames::open(video, &DecodeLimits::default(), None)?;
    let mut clip = predictor.clip(text)?;
    for index in 0..frames.len() {
        clip.look(&frames.load(index)?)?; // what each frame is asked for depends on all of them
    }
    let mut tracking = clip.track()?;
    create_folder("mpg_sam2")?;
    for index in 0..frames.len() {
        let image = frames.load(index)?;
        let mask = tracking.segment(&image)?;
        println!("frame {index}: score {:.2}", mask.object_score);
        let cutout = render::cutout(&image, &mask.to_image()?)?;
        write_png(format!("mpg_sam2/{index:05}.png"), &cutout, Overwrite::Replace)?;
    }
    println!("look at the folder mpg_sam2");
    Ok(())
}
