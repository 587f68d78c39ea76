//! How photos are read: their colours, and masks that lie on them.

use clap::{Args, ValueEnum};
use seg_data::decode::Orientation;
use seg_data::{GrayImage, LoadedImage, RgbImage};

/// How photos are read.
#[derive(Args, Clone, Debug)]
pub struct PhotoArgs {
    /// Photos with a colour profile (Display P3, Adobe RGB ...): convert what the model sees to sRGB, or take the numbers as they
    /// are stored, as the official code does; cut-outs keep the photo's colours and profile in either case
    #[arg(long, value_enum, default_value_t = Colours::Srgb, value_name = "HOW")]
    pub colours: Colours,
}

/// What becomes of a photo's colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Colours {
    /// Converted to sRGB.
    Srgb,
    /// As stored.
    Stored,
}

impl Colours {
    /// The photo as the model is to see it, where that is not as it is stored; and what to tell of it.
    pub fn of(self, photo: &LoadedImage) -> (Option<RgbImage>, Option<String>) {
        let Some(profile) = photo.profile.as_ref().filter(|profile| !profile.is_srgb()) else { return (None, None) };
        match (self, photo.to_srgb()) {
            (Self::Srgb, Some(converted)) => {
                let note = format!(
                    "its colours are {}: the model sees them in sRGB (--colours stored: as they are)",
                    profile.name()
                );
                (Some(converted), Some(note))
            }
            _ => (None, Some(format!("its colours are {}, taken as if they were sRGB", profile.name()))),
        }
    }
}

/// A mask on a photo that was turned for its orientation: turned too where it has the size of the photo as it is stored, and in any
/// case a note, for nobody can see from the outside which of the two was meant.
pub fn lay(mask: &GrayImage, photo: &LoadedImage) -> Option<(Option<GrayImage>, String)> {
    if photo.orientation == Orientation::NoTransforms {
        return None;
    }
    let (width, height) = photo.dimensions();
    let asked = photo.orientation.to_exif();
    if let Some(turned) = photo.turn_as_stored(mask) {
        let note = format!(
            "the photo is turned (its orientation is {asked}), and the mask, of {height}x{width} pixels as the photo is stored, with it"
        );
        return Some((Some(turned), note));
    }
    Some((
        None,
        format!("the photo is turned (its orientation is {asked}); the mask is taken to lie on it as it is shown"),
    ))
}

/// A number of pixels: plain, or in thousands or millions (`150M`).
///
/// # Errors
/// In words.
pub fn parse_pixels(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.strip_suffix(['M', 'm']) {
        Some(number) => (number, 1_000_000),
        None => text.strip_suffix(['K', 'k']).map_or((text, 1), |number| (number, 1000)),
    };
    let pixels = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).filter(|n| *n > 0);
    pixels.ok_or_else(|| format!("{text:?}: expected a number of pixels, such as 150M or 150000000"))
}
