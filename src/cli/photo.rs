//! How photos are read.

use clap::Args;

use super::common::with_unit;
use crate::pipeline::Colours;

/// How photos are read.
#[derive(Args, Clone, Debug)]
pub struct PhotoArgs {
    /// Photos with a colour profile (Display P3, Adobe RGB ...): convert what the model sees to sRGB, or take the numbers as they
    /// are stored, as the official code does; cut-outs keep the photo's colours and profile in either case
    #[arg(long, value_enum, default_value_t = Colours::Srgb, value_name = "HOW")]
    pub colours: Colours,
}

/// A number of pixels: plain, or in thousands or millions (`150M`).
///
/// # Errors
/// In words.
pub fn parse_pixels(text: &str) -> Result<u64, String> {
    let pixels = with_unit(text, [('M', 1_000_000), ('K', 1000)]);
    pixels.ok_or_else(|| format!("{text:?}: expected a number of pixels, such as 150M or 150000000"))
}
