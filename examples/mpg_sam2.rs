//! MPG-SAM 2 on a folder of frames: what a sentence names, cut out of all of them.
//!
//! ```sh
//! cargo run --release --example mpg_sam2                                              # made-up weights
//! cargo run --release --example mpg_sam2 -- mpg-sam2/ bear/ "the bear walking on the rocks"
//! ```

mod common;

use std::path::Path;

use hrseg::beit3_encoder::Tokenizer;
use hrseg::prelude::*;
use hrseg::seg_data::output::{Overwrite, create_folder, write_png};
use hrseg::seg_data::{Frames, render};
use hrseg::seg_models::mpg_sam2::{self, MpgSam2, MpgSam2Config, MpgSam2Predictor};
use hrseg::seg_models::registry::MpgSam2Size;

/// The small model on made-up weights, with a tokenizer of few words.
fn made_up() -> common::Result<MpgSam2Predictor> {
    let options = LoadOptions::default();
    let vb = common::made_up(ModelName::MpgSam2(MpgSam2Size::Tiny)).var_builder(options.dtype, &options.device);
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/mpg-sam2/mpg_spm_toy.spm");
    let mut config = MpgSam2Config::tiny();
    config.sam2.sam2.image_size = 512;
    let model = MpgSam2::new(&config, vb)?;
    Ok(MpgSam2Predictor::new(model, Tokenizer::open(tokenizer)?, options.dtype, &options.device))
}

fn main() -> common::Result {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (predictor, video, text) = match args.as_slice() {
        [] => (made_up()?, common::frames(2)?, "the cup on the left"),
        // a saved folder, or a file with the tokenizer beside it; the sizes are in the weights
        [weights, video, text] => {
            let (predictor, report) = mpg_sam2::load(weights.as_ref(), None, &LoadOptions::default())?;
            println!("{report}");
            (predictor, video.into(), text.as_str())
        }
        _ => return Err("usage: mpg_sam2 [WEIGHTS FOLDER|GIF|VIDEO TEXT]".into()),
    };

    let frames = Frames::open(video, &DecodeLimits::default(), None)?;
    let mut clip = predictor.clip(text)?;
    for index in 0..frames.len() {
        clip.look(&frames.load(index)?)?; // what each frame is asked for depends on all of them
    }
    let mut tracking = clip.track()?;
    let folder = common::out("mpg_sam2")?;
    create_folder(&folder)?;
    for index in 0..frames.len() {
        let image = frames.load(index)?;
        let mask = tracking.segment(&image)?;
        println!("frame {index}: score {:.2}", mask.object_score);
        let cutout = render::cutout(&image, &mask.to_image()?)?;
        write_png(folder.join(format!("{index:05}.png")), &cutout, Overwrite::Replace)?;
    }
    println!("look at the folder {}", folder.display());
    Ok(())
}
