//! The steps that there are, and what they are told.

use serde::{Deserialize, Serialize};

use crate::error::{DataError, Result};

/// How a size is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// Pillow's `NEAREST`.
    PillowNearest,
    /// torch's `nearest`: the pixel at which the upper left corner of the new one lies.
    TorchNearest,
    /// Pillow's `BILINEAR`, which antialiases: 8 bits in, 8 bits out.
    PillowBilinear,
    /// Pillow's `BICUBIC`, likewise.
    PillowBicubic,
    /// `torch.nn.functional.interpolate`, bilinear without antialiasing, in 32-bit floats.
    TorchBilinear,
    /// The same, then cut to whole levels as a cast to bytes does.
    TorchBilinearCut,
}

/// One step. Chances and ranges are drawn evenly; whole numbers include both ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// Left becomes right.
    FlipHorizontal {
        /// How often, 0 to 1.
        chance: f64,
    },
    /// Top becomes bottom.
    FlipVertical {
        /// How often, 0 to 1.
        chance: f64,
    },
    /// Turned by 0, 90, 180 or 270 degrees, each as often.
    QuarterTurns,
    /// From the middle, up to so many pixels less: width and height drawn for themselves, at least one pixel less (MGD-SAM2, where it comes from other camouflage code).
    TrimBorder {
        /// Most pixels that each side loses in all; the least is 1.
        most: u32,
    },
    /// A part of this size from anywhere; where the picture is smaller, as much as there is.
    Crop {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// A random part of the picture that has so much of its area and the picture's proportions.
    Zoom {
        /// Least and most of the area, in 0..1.
        area: [f64; 2],
    },
    /// What lies around the object: the mask's box with a share of its longer side on each side, or the whole picture where that is half of it anyway (as
    /// `sam+isnet` and `dis-sam-small` look at a photo). Nothing is cut where the mask is empty.
    Surroundings {
        /// Share of the box's longer side that is added on each side.
        padding: f64,
        /// Each edge of the box is first moved, by up to this share of the box's side outwards or half of that inwards: a user's box is not exact.
        #[serde(default)]
        jitter: f64,
    },
    /// Turned about the middle by a whole number of degrees, black where nothing is; the picture bicubic, the mask nearest, as Pillow's `rotate`.
    Rotate {
        /// How often, 0 to 1.
        chance: f64,
        /// Least and most degrees, to the left.
        degrees: [i32; 2],
    },
    /// Turned and sheared about the middle, as torchvision's `RandomAffine` on Pillow images: the picture bilinear, the mask nearest.
    Affine {
        /// Most degrees to either side.
        degrees: f64,
        /// Most degrees of shear along the rows to either side.
        shear: f64,
        /// Colour where nothing is.
        fill: [u8; 3],
    },
    /// Pillow's `ImageEnhance`, each by a random factor of which 1 changes nothing; those left out are not touched.
    Enhance {
        /// Factor of the brightness.
        #[serde(default)]
        brightness: Option<[f64; 2]>,
        /// Factor of the contrast.
        #[serde(default)]
        contrast: Option<[f64; 2]>,
        /// Factor of the saturation.
        #[serde(default)]
        colour: Option<[f64; 2]>,
        /// Factor of the sharpness.
        #[serde(default)]
        sharpness: Option<[f64; 2]>,
        /// Factors are whole tenths.
        #[serde(default)]
        tenths: bool,
        /// In a random order (torchvision's `ColorJitter`), else as they stand here.
        #[serde(default)]
        shuffled: bool,
        /// Every frame of a clip has factors of its own.
        #[serde(default)]
        each_frame: bool,
    },
    /// Brightness, contrast, saturation, hue and the channels' order, each changed half of the time; every frame of a clip for itself (MPG-SAM 2, from ReferFormer's code).
    Distort {
        /// Most levels that are added or taken away.
        brightness: f64,
        /// Least and most factor.
        contrast: [f64; 2],
        /// Least and most factor.
        saturation: [f64; 2],
        /// Most degrees to either side.
        hue: f64,
    },
    /// Without colours.
    Grey {
        /// How often, 0 to 1.
        chance: f64,
    },
    /// To a size, whatever the proportions.
    Resize {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// How the picture is sampled.
        image: Sampling,
        /// How the mask is sampled.
        mask: Sampling,
    },
    /// So that the longer side has this length, the other one rounded (SAM).
    LongestSide {
        /// Pixels.
        side: u32,
        /// How the picture is sampled.
        image: Sampling,
        /// How the mask is sampled.
        mask: Sampling,
    },
    /// Scaled so that it would fit into a square times a random factor, a random part of that square cut out, and the square filled up at the right and at the bottom
    /// (Pi-SAM; bilinear in floats without antialiasing).
    LargeScaleJitter {
        /// Side of the square.
        side: u32,
        /// Least and most factor.
        scale: [f64; 2],
        /// Level of the picture where nothing is; the mask's is 0.
        fill: u8,
    },
}

impl Step {
    /// Whether levels are no whole numbers behind it.
    pub(super) fn gives_floats(&self) -> bool {
        match self {
            Self::Resize { image, mask, .. } | Self::LongestSide { image, mask, .. } => {
                [image, mask].contains(&&Sampling::TorchBilinear)
            }
            Self::LargeScaleJitter { .. } => true,
            _ => false,
        }
    }

    /// Different results of the step on one picture; `None`: as good as endless.
    pub(super) fn outcomes(&self) -> Option<u64> {
        let sometimes = |chance: f64| if chance > 0. && chance < 1. { 2 } else { 1 };
        match self {
            Self::FlipHorizontal { chance } | Self::FlipVertical { chance } | Self::Grey { chance } => {
                Some(sometimes(*chance))
            }
            Self::QuarterTurns => Some(4),
            Self::Resize { .. } | Self::LongestSide { .. } => Some(1),
            Self::Rotate { chance, .. } if *chance <= 0. => Some(1),
            Self::Surroundings { jitter, .. } if *jitter == 0. => Some(1),
            Self::TrimBorder { .. }
            | Self::Crop { .. }
            | Self::Zoom { .. }
            | Self::Surroundings { .. }
            | Self::Rotate { .. }
            | Self::Affine { .. }
            | Self::Enhance { .. }
            | Self::Distort { .. }
            | Self::LargeScaleJitter { .. } => None,
        }
    }

    /// Its name in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FlipHorizontal { .. } => "flip-horizontal",
            Self::FlipVertical { .. } => "flip-vertical",
            Self::QuarterTurns => "quarter-turns",
            Self::TrimBorder { .. } => "trim-border",
            Self::Crop { .. } => "crop",
            Self::Zoom { .. } => "zoom",
            Self::Surroundings { .. } => "surroundings",
            Self::Rotate { .. } => "rotate",
            Self::Affine { .. } => "affine",
            Self::Enhance { .. } => "enhance",
            Self::Grey { .. } => "grey",
            Self::Distort { .. } => "distort",
            Self::Resize { .. } => "resize",
            Self::LongestSide { .. } => "longest-side",
            Self::LargeScaleJitter { .. } => "large-scale-jitter",
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let wrong = |expected: &str| {
            Err(DataError::Plan { what: "a transform", found: format!("{self:?}"), expected: expected.to_owned() })
        };
        let part = |v: f64| (0. ..=1.).contains(&v);
        let range = |[low, high]: [f64; 2], from: f64, to: f64| from <= low && low <= high && high <= to;
        const MOST: u32 = 16_384;
        let side = |v: u32| (1..=MOST).contains(&v);
        match self {
            Self::FlipHorizontal { chance } | Self::FlipVertical { chance } | Self::Grey { chance }
                if !part(*chance) =>
            {
                wrong("a chance from 0 to 1")
            }
            Self::Rotate { chance, degrees: [low, high] } if !part(*chance) || low > high => {
                wrong("a chance from 0 to 1, and the least degrees before the most")
            }
            Self::TrimBorder { most: 0 } => wrong("at least 1 pixel"),
            Self::Zoom { area } if !range(*area, 1e-3, 1.) => {
                wrong("parts of the area from 0.001 to 1, the least first")
            }
            Self::Surroundings { padding, jitter } if !(0. ..=10.).contains(padding) || !part(*jitter) => {
                wrong("padding from 0 to 10, jitter from 0 to 1")
            }
            Self::Affine { degrees, shear, .. } if !(0. ..=180.).contains(degrees) || !(0. ..80.).contains(shear) => {
                wrong("degrees from 0 to 180, shear from 0 to below 80")
            }
            Self::Enhance { brightness, contrast, colour, sharpness, .. } => {
                let mut all = [brightness, contrast, colour, sharpness].into_iter().flatten();
                if all.all(|factors| range(*factors, 0., 100.)) {
                    Ok(())
                } else {
                    wrong("factors from 0 to 100, the least first")
                }
            }
            Self::Distort { brightness, contrast, saturation, hue }
                if !(0. ..=255.).contains(brightness)
                    || !(0. ..=180.).contains(hue)
                    || !range(*contrast, 0., 100.)
                    || !range(*saturation, 0., 100.) =>
            {
                wrong("brightness from 0 to 255, hue from 0 to 180, factors from 0 to 100, the least first")
            }
            Self::Crop { width, height } | Self::Resize { width, height, .. } if !side(*width) || !side(*height) => {
                wrong("sides from 1 to 16384 pixels")
            }
            Self::LongestSide { side: s, .. } if !side(*s) => wrong("a side from 1 to 16384 pixels"),
            Self::LargeScaleJitter { side: s, scale, .. } if !side(*s) || !range(*scale, 0.01, 16.) => {
                wrong("a side from 1 to 16384 pixels, factors from 0.01 to 16, the least first")
            }
            _ => Ok(()),
        }
    }
}
