//! The transforms of each paper's training, from its code.

use super::{Sampling, Step, Transforms};
use crate::error::{DataError, Result};

/// The names of [`preset`]: each for learning and, with `-eval` behind it, for looking at what was learnt.
pub const PRESETS: [&str; 19] = [
    "sam2-unext",
    "sam2-unext-eval",
    "sam2-unet",
    "sam2-unet-eval",
    "mgd-sam2",
    "mgd-sam2-eval",
    "pi-sam",
    "pi-sam-eval",
    "is-net",
    "is-net-eval",
    "dis-sam",
    "dis-sam-eval",
    "sam",
    "sam-eval",
    "sam2",
    "sam2-eval",
    "mpg-sam2",
    "mpg-sam2-images",
    "mpg-sam2-eval",
];

/// What a system's authors do to a picture.
///
/// # Errors
/// A name that is not in [`PRESETS`].
pub fn preset(name: &str) -> Result<Transforms> {
    use Sampling::{PillowBicubic, PillowBilinear, PillowNearest, TorchBilinear, TorchBilinearCut, TorchNearest};
    let flips =
        |horizontal, vertical| [Step::FlipHorizontal { chance: horizontal }, Step::FlipVertical { chance: vertical }];
    let square = |side, image, mask| Step::Resize { width: side, height: side, image, mask };
    let (system, learning) = name.strip_suffix("-eval").map_or((name, true), |system| (system, false));
    let steps = match (system, learning) {
        // `dataset.py`: torchvision's transforms on Pillow images, the label bicubic and not made binary; both flips
        ("sam2-unext", true) => [&[square(1024, PillowBilinear, PillowBicubic)][..], &flips(0.5, 0.5)].concat(),
        ("sam2-unext", false) => vec![square(1024, PillowBilinear, PillowBicubic)],
        // the same at 352
        ("sam2-unet", true) => [&[square(352, PillowBilinear, PillowBicubic)][..], &flips(0.5, 0.5)].concat(),
        ("sam2-unet", false) => vec![square(352, PillowBilinear, PillowBicubic)],
        // `dataset.py`: flip, border, rotation in a fifth of all cases, colours in tenths, then to size
        ("mgd-sam2", true) => vec![
            Step::FlipHorizontal { chance: 0.5 },
            Step::TrimBorder { most: 30 },
            Step::Rotate { chance: 0.2, degrees: [-15, 14] },
            Step::Enhance {
                brightness: Some([0.5, 1.5]),
                contrast: Some([0.5, 1.5]),
                colour: Some([0., 2.]),
                sharpness: Some([0., 3.]),
                tenths: true,
                shuffled: false,
                each_frame: false,
            },
            square(1024, PillowBilinear, PillowNearest),
        ],
        ("mgd-sam2", false) => vec![square(1024, PillowBilinear, PillowNearest)],
        // `dataset/`: floats throughout
        ("pi-sam", true) => vec![
            Step::FlipHorizontal { chance: 0.5 },
            Step::LargeScaleJitter { side: 1024, scale: [0.8, 1.6], fill: 128 },
        ],
        ("pi-sam", false) => vec![square(1024, TorchBilinear, TorchBilinear)],
        // `data_loader_cache.py`: floats, then a cast to bytes
        ("is-net", true) => {
            vec![square(1024, TorchBilinearCut, TorchBilinearCut), Step::FlipHorizontal { chance: 0.5 }]
        }
        // `data_loader.py`: a quarter each of none, one, the other and both flips
        ("dis-sam", true) => [&[square(1024, TorchBilinearCut, TorchBilinearCut)][..], &flips(0.5, 0.5)].concat(),
        ("is-net" | "dis-sam", false) => vec![square(1024, TorchBilinearCut, TorchBilinearCut)],
        // SAM's `ResizeLongestSide`, which its fine-tunings share; the model fills the square
        ("sam", true) => vec![
            Step::FlipHorizontal { chance: 0.5 },
            Step::LongestSide { side: 1024, image: PillowBilinear, mask: PillowNearest },
        ],
        ("sam", false) => vec![Step::LongestSide { side: 1024, image: PillowBilinear, mask: PillowNearest }],
        // the fine-tuning on MOSE: flip, affine, square, colours, a twentieth grey, colours of each frame
        ("sam2", true) => vec![
            Step::FlipHorizontal { chance: 0.5 },
            Step::Affine { degrees: 25., shear: 20., fill: [123, 116, 103] },
            square(1024, PillowBilinear, PillowNearest),
            jitter(0.1, 0.03, 0.03, false),
            Step::Grey { chance: 0.05 },
            jitter(0.1, 0.05, 0.05, true),
        ],
        ("sam2", false) => vec![square(1024, PillowBilinear, PillowNearest)],
        // videos; BEiT-3 sees the frame as it was before
        ("mpg-sam2", true) => vec![
            Step::FlipHorizontal { chance: 0.5 },
            Step::Distort { brightness: 32., contrast: [0.5, 1.5], saturation: [0.5, 1.5], hue: 18. },
            square(1024, PillowBilinear, TorchNearest),
        ],
        // RefCOCO
        ("mpg-sam2-images", true) => {
            vec![Step::FlipHorizontal { chance: 0.5 }, square(1024, PillowBilinear, TorchNearest)]
        }
        ("mpg-sam2", false) => vec![square(1024, PillowBilinear, TorchNearest)],
        _ => {
            let known = PRESETS.join(", ");
            return Err(DataError::Plan {
                what: "the preset",
                found: name.to_owned(),
                expected: format!("one of {known}"),
            });
        }
    };
    Ok(Transforms { steps })
}

fn jitter(brightness: f64, contrast: f64, colour: f64, each_frame: bool) -> Step {
    let around = |by: f64| Some([1. - by, 1. + by]);
    Step::Enhance {
        brightness: around(brightness),
        contrast: around(contrast),
        colour: around(colour),
        sharpness: None,
        tenths: false,
        shuffled: true,
        each_frame,
    }
}
