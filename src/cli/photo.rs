//! How photos are read.

use clap::Args;

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
    let (number, unit) = match text.strip_suffix(['M', 'm']) {
        Some(number) => (number, 1_000_000),
        None => text.strip_suffix(['K', 'k']).map_or((text, 1), |number| (number, 1000)),
    };
    let pixels = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).filter(|n| *n > 0);
    pixels.ok_or_else(|| format!("{text:?}: expected a number of pixels, such as 150M or 150000000"))
}
