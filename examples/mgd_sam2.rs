//! MGD-SAM2 on a photo: the salient object, down to its thin parts, without any prompt.
//!
//! ```sh
//! cargo run --release --example mgd_sam2                                              # made-up weights
//! cargo run --release --example mgd_sam2 -- mgd_sam2.pth photo.jpg [tta]
//! ```
//!
//! `tta` averages over mirrored and scaled copies, as the authors do for their tables.

mod common;

use std::path::Path;
use std::time::Instant;

use hrseg::prelude::*;
use hrseg::seg_data::output::{Overwrite, write_png};
use hrseg::seg_data::render;
use hrseg::seg_models::PromptFreeSegmenter;
use hrseg::seg_models::mgd_sam2::{MgdSam2, MgdSam2Config, MgdSam2Predictor, TestTimeAugmentation, ViewOrder};

/// Made-up weights, for inputs of 512 pixels.
fn made_up() -> common::Result<MgdSam2Predictor> {
    let options = LoadOptions::default();
    let vb = common::made_up(ModelName::MgdSam2).var_builder(options.dtype, &options.device);
    let model = MgdSam2::new(&MgdSam2Config::base_plus(), vb)?;
    Ok(MgdSam2Predictor::new(model, 512, options.dtype, &options.device))
}

fn main() -> common::Result {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (model, photo, rest) = match args.as_slice() {
        [] => (made_up()?, common::photo("dandelion.jpg"), None),
        [weights, photo, rest @ ..] if rest.len() < 2 => {
            let (model, report) = MgdSam2Predictor::load(Path::new(weights), &LoadOptions::default())?;
            println!("{report}");
            (model, photo.into(), rest.first())
        }
        _ => return Err("usage: mgd_sam2 [WEIGHTS PHOTO [tta]]".into()),
    };
    let model = match rest.map(String::as_str) {
        None => model.with_view_order(ViewOrder::Sequential), // less memory, the same mask
        Some("tta") => model.with_augmentation(TestTimeAugmentation::official()),
        Some(other) => return Err(format!("{other}, expected tta or nothing").into()),
    };

    let image = load_image(photo, &DecodeLimits::default())?.image;
    let start = Instant::now();
    let probability = model.predict(&image)?;
    println!("{}x{} in {:.2?}", image.width(), image.height(), start.elapsed());

    let matte = probability.to_image()?;
    write_png(common::out("mgd_sam2.mask.png")?, &matte, Overwrite::Replace)?;
    let path = common::out("mgd_sam2.cutout.png")?;
    write_png(&path, &render::cutout(&image, &matte)?, Overwrite::Replace)?;
    println!("look at {}", path.display());
    Ok(())
}
