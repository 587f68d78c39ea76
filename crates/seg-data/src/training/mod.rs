//! What a training sees: examples of an image and its mask, from folders or made on the fly.
//!
//! Whatever is random in an example (which one comes next, how it is cut and turned, where a click goes) is a function of a [`Place`], so that a training
//! can begin anywhere and sees what it would have seen.

mod dice;
pub mod folders;
mod joined;
mod limited;
pub mod loader;
pub mod procedural;
pub mod referring;
mod source;
mod stills;
pub mod transform;

pub use dice::Dice;
pub use folders::PairedFolder;
pub use joined::Joined;
pub use limited::Limited;
pub use loader::{Ahead, Batch, Loader, Plan, Position, Rest};
pub use referring::{ClipExample, ClipExamples};
pub use source::Source;
pub use stills::Stills;
pub use transform::{Prepared, PreparedClip, Transforms};

use crate::{GrayImage, Result, RgbImage};

/// Where a training is: everything random follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The run's seed.
    pub seed: u64,
    /// Passes over the data that are done.
    pub epoch: u64,
    /// Number of the example within the pass, in the order of the source, not of the training.
    pub index: u64,
}

/// One picture and what a model should make of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// What to call it in messages: a file's stem, `procedural 12`.
    pub name: String,
    /// The picture, as a viewer shows it.
    pub image: RgbImage,
    /// Of the picture's size; 255 inside, 0 outside, levels between where the truth has them.
    pub mask: GrayImage,
    /// What a user would give to get this mask; `None` where the source has nothing of its own (a box can be taken from the mask).
    pub prompt: Option<ExamplePrompt>,
}

/// A prompt in pixels of the picture, by which a promptable model is told what is meant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExamplePrompt {
    /// `[x0, y0, x1, y1]`, the far edges included.
    pub bounds: Option<[f32; 4]>,
    /// Clicks: x, y, and whether on the object.
    pub clicks: Vec<(f32, f32, bool)>,
    /// A coarse mask of the picture's size, 0 or 255, as a promptable model's first guess is.
    pub coarse: Option<GrayImage>,
}

/// Where examples come from.
pub trait Examples: Send + Sync {
    /// How many there are in a pass; `None` where they never end.
    fn len(&self) -> Option<u64>;

    /// Whether there are none at all.
    fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The example at a place: always the same for the same place.
    ///
    /// # Errors
    /// Files that cannot be read, and masks that say nothing; the message names the file.
    fn example(&self, place: Place) -> Result<Example>;

    /// A digest of what the examples are made from (names, sizes and contents of files, or a specification), in hexadecimal; a run notes it, and a resumed run compares it.
    ///
    /// # Errors
    /// Files that cannot be read.
    fn digest(&self) -> Result<String>;
}
