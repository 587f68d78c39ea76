//! MGD-SAM2 on a photo: the salient object, down to its thin parts, without any prompt.
//!
//! ```sh
//! cargo run --release --example mgd_sam2 -- mgd_sam2.pth photo.jpg [tta]
//! ```
//!
//! `tta` averages over mirrored and scaled copies, as the authors do for their tables.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use hrseg::prelude::*;
use hrseg::seg_data::output::{Overwrite, write_png};
use hrseg::seg_data::render;
use hrseg::seg_models::PromptFreeSegmenter;
use hrseg::seg_models::mgd_sam2::{MgdSam2Predictor, TestTimeAugmentation, ViewOrder};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [weights, photo, rest @ ..] = args.as_slice() else {
        return Err("usage: mgd_sam2 WEIGHTS PHOTO [tta]".into());
    };
    let (model, report) = MgdSam2Predictor::load(Path::new(weights), &LoadOptions::default())?;
    println!("{report}");
    let model = match rest {
        [] => model.with_view_order(ViewOrder::Sequential), // less memory, the same mask
        [word] if word == "tta" => model.with_augmentation(TestTimeAugmentation::official()),
        [other, ..] => return Err(format!("{other}, expected tta or nothing").into()),
    };

    let image = load_image(photo, &DecodeLimits::default())?.image;
    let start = Instant::now();
    let probability = model.predict(&image)?;
    println!("{}x{} in {:.2?}", image.width(), image.height(), start.elapsed());

    let matte = probability.to_image()?;
    write_png("mgd_sam2.mask.png", &matte, Overwrite::Replace)?;
    write_png("mgd_sam2.cutout.png", &render::cutout(&image, &matte)?, Overwrite::Replace)?;
    println!("look at mgd_sam2.cutout.png");
    Ok(())
}
