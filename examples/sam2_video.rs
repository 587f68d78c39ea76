//! SAM 2 on a folder of frames: a click on the first one, the object's mask on all of them.
//!
//! ```sh
//! cargo run --release --example sam2_video                                            # made-up weights
//! cargo run --release --example sam2_video -- sam2.1_hiera_tiny.pt bear/ 420 230
//! ```

mod common;

use hrseg::prelude::*;
use hrseg::seg_checkpoints::{Checkpoint, identify};
use hrseg::seg_data::output::{Overwrite, create_folder, write_png};
use hrseg::seg_data::{Frames, render};
use hrseg::seg_models::registry::Sam2Size;
use hrseg::seg_models::sam2::video::{Direction, Sam2VideoConfig, Sam2VideoModel, Sam2VideoPredictor, SessionOptions};
use hrseg::seg_models::sam2::{Sam2Config, Sam2Version};

fn main() -> common::Result {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (weights, video, x, y) = match args.as_slice() {
        [] => (None, common::frames(4)?, 225., 150.),
        [weights, video, x, y] => (Some(weights), video.into(), x.parse()?, y.parse()?),
        _ => return Err("usage: sam2_video [WEIGHTS FOLDER|GIF|VIDEO X Y]".into()),
    };
    let options = LoadOptions::default();
    let predictor = match weights {
        // which of SAM 2's sizes the file is, it says itself
        Some(file) => {
            let identity = identify(&Checkpoint::open(file)?).ok_or("the file looks like no known model")?;
            identity.model().parse::<ModelName>()?.open_video(file.as_ref(), &options)?.0
        }
        None => {
            let weights = common::made_up(ModelName::Sam2(Sam2Version::V2_1, Sam2Size::Tiny));
            let sam2 = Sam2Config { image_size: 512, ..Sam2Config::tiny(Sam2Version::V2_1) };
            let vb = weights.var_builder(options.dtype, &options.device);
            let model = Sam2VideoModel::new(&Sam2VideoConfig::new(sam2), vb)?;
            Sam2VideoPredictor::new(model, options.dtype, &options.device)
        }
    };

    let frames = Frames::open(video, &DecodeLimits::default(), None)?;
    let mut session = predictor.session(SessionOptions { num_frames: Some(frames.len()), ..SessionOptions::default() });
    let folder = common::out("sam2_video")?;
    create_folder(&folder)?;
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
            write_png(folder.join(format!("{index:05}.png")), &cutout, Overwrite::Replace)?;
        }
    }
    println!("look at the folder {}", folder.display());
    Ok(())
}
