//! SAM2-UNeXT, or its ancestor SAM2-UNet, on photos: what the network was trained to find, cut out, without a prompt.
//!
//! ```sh
//! cargo run --release --example sam2_unext -- SAM2-UNeXT-20.pth photo.jpg
//! cargo run --release --example sam2_unext -- SAM2-UNet.pth photo.jpg other.jpg
//! ```

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use hrseg::prelude::*;
use hrseg::seg_checkpoints::{Checkpoint, identify};
use hrseg::seg_data::output::{Overwrite, write_png};
use hrseg::seg_data::render;
use hrseg::seg_models::registry::Segmenter;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [weights, photos @ ..] = args.as_slice() else {
        return Err("usage: sam2_unext WEIGHTS PHOTO…".into());
    };
    let unet = identify(&Checkpoint::open(weights)?).is_some_and(|found| found.model() == "sam2-unet");
    let name = if unet { ModelName::Sam2Unet } else { ModelName::Sam2Unext };
    let (model, reports) = name.open(Path::new(weights), None, &LoadOptions::default())?;
    reports.iter().for_each(|report| println!("{report}"));
    let Segmenter::PromptFree(model) = model else {
        return Err(format!("{name} takes prompts").into());
    };

    for photo in photos {
        let image = load_image(photo, &DecodeLimits::default())?.image;
        let start = Instant::now();
        let map = model.predict(&image)?;
        println!("{photo}: {}x{} in {:.2?}", image.width(), image.height(), start.elapsed());
        let out = Path::new(photo).with_extension("cutout.png");
        write_png(&out, &render::cutout(&image, &map.to_image()?)?, Overwrite::Replace)?;
        println!("look at {}", out.display());
    }
    Ok(())
}
