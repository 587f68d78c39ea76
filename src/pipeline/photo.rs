//! Photos as models see them, and what the user lays on them.

use std::borrow::Cow;
use std::path::Path;

use seg_data::decode::Orientation;
use seg_data::{DecodeLimits, GrayImage, LoadedImage, RgbImage, decode_image, load_image};
use seg_models::{MaskPrompt, Prompts};

use super::error::Result;

/// What becomes of a photo's colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Colours {
    /// Converted to sRGB.
    #[default]
    Srgb,
    /// As stored.
    Stored,
}

/// A photo, and how the model sees it.
#[derive(Clone, Debug)]
pub struct Photo {
    /// As it was read: upright, in its own colours.
    pub loaded: LoadedImage,
    /// In sRGB, where its colours are others and are converted.
    converted: Option<RgbImage>,
    /// What was done to its colours.
    said: Option<String>,
}

impl Photo {
    /// Reads a file.
    ///
    /// # Errors
    /// Those of [`load_image`].
    pub fn open(path: impl AsRef<Path>, limits: &DecodeLimits, colours: Colours) -> Result<Self> {
        Ok(Self::new(load_image(path, limits)?, colours))
    }

    /// Reads a file's `bytes`; `name` stands in errors.
    ///
    /// # Errors
    /// Those of [`decode_image`].
    pub fn decode(bytes: &[u8], name: &str, limits: &DecodeLimits, colours: Colours) -> Result<Self> {
        Ok(Self::new(decode_image(bytes, name, limits)?, colours))
    }

    /// Of an image that was read before.
    pub fn new(loaded: LoadedImage, colours: Colours) -> Self {
        let Some(profile) = loaded.profile.as_ref().filter(|profile| !profile.is_srgb()) else {
            return Self { loaded, converted: None, said: None };
        };
        let name = profile.name();
        let (converted, said) = match (colours, loaded.to_srgb()) {
            (Colours::Srgb, Some(converted)) => {
                let said =
                    format!("its colours are {name}: the model sees them in sRGB (--colours stored: as they are)");
                (Some(converted), said)
            }
            _ => (None, format!("its colours are {name}, taken as if they were sRGB")),
        };
        Self { loaded, converted, said: Some(said) }
    }

    /// Width and height in pixels, upright.
    pub fn dimensions(&self) -> (u32, u32) {
        self.loaded.dimensions()
    }

    /// As the model sees it.
    pub fn seen(&self) -> &RgbImage {
        self.converted.as_ref().unwrap_or(&self.loaded.image)
    }

    /// The same, without the photo.
    pub fn into_seen(self) -> RgbImage {
        self.converted.unwrap_or(self.loaded.image)
    }

    /// What was done to its colours, if anything.
    pub fn colours_note(&self) -> Option<&str> {
        self.said.as_deref()
    }

    /// What the user should know of how it was read.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.loaded.notes.iter().map(AsRef::as_ref).chain(self.colours_note())
    }

    /// Lays prompts on the photo: points and boxes less than a pixel outside are moved onto it, a mask is turned as the photo was
    /// ([`lay`]); and says what it did.
    ///
    /// # Errors
    /// Prompts that lie outside.
    pub fn place<'p>(&self, prompts: &'p Prompts) -> Result<(Cow<'p, Prompts>, Vec<String>)> {
        let (width, height) = self.dimensions();
        let (mut placed, mut notes) = prompts.clamped(width, height)?;
        if let Some(MaskPrompt::Image(mask)) = &placed.mask
            && let Some((turned, said)) = lay(mask, &self.loaded)
        {
            notes.push(said);
            if let Some(turned) = turned {
                placed.to_mut().mask = Some(MaskPrompt::Image(turned));
            }
        }
        Ok((placed, notes))
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
