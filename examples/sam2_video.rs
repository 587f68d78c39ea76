//! SAM 2 on a folder of frames: a click on the first one, the object's mask on all of them.
//!
//! ```sh
//! cargo run --release --example sam2_video -- sam2.1_hiera_tiny.pt bear/ 420 230
//! ```

use std::error::Error;

use hrseg::prelude::*;
use hrseg::seg_checkpoints::{Checkpoint, identify};
use hrseg::seg_data::output::{Overwrite, create_folder, write_png};
use hrseg::seg_data::{Frames, render};
use hrseg::seg_models::sam2::video::{Direction, SessionOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [weights, video, x, y] = args.as_slice() else {
        return Err("usage: sam2_video WEIGHTS FOLDER|GIF|VIDEO X Y".into());
    };
    let (x, y): (f32, f32) = (x.parse()?, y.parse()?);

    // which of SAM 2's sizes the file is, it says itself
    let identity = identify(&Checkpoint::open(weights)?).ok_or("the file looks like no known model")?;
    let name: ModelName = identity.model().parse()?;
    let (predictor, _) = name.open_video(weights.as_ref(), &LoadOptions::default())?;

    let frames = Frames::open(video, &DecodeLimits::default(), None)?;
    let mut session = predictor.session(SessionOptions { num_frames: Some(frames.len()), ..SessionOptions::default() });
    create_folder("sam2_video")?;
    for index in 0..frames.len() {
        let image = frames.load(index)?;
        let frame = predictor.encode(&image)?;
        if index == 0 {
            session.prompt(index, &frame, 1, &Prompts::point(x, y))?;
        }
        let tracked = session.track(index, &frame, Direction::Forward)?;
        for mask in &tracked.masks {
            println!("frame {index}: object {}, score {:.2}", mask.object, mask.object_score);
            let cutout = render::cutout(&image, &mask.to_image()?)?;
            write_png(format!("sam2_video/{index:05}.png"), &cutout, Overwrite::Replace)?;
        }
    }
    println!("look at the folder sam2_video");
    Ok(())
}
