//! What a picture, its mask and its prompt go through before a step: as data, so that a recipe can say it.
//!
//! All three go through the same; everything random comes from a [`Place`]. Normalisation is the model's.

mod apply;
mod clip;
mod distort;
mod enhance;
mod follow;
mod presets;
mod rotate;
mod sampling;
mod step;
mod torch;

use serde::{Deserialize, Serialize};

pub use clip::PreparedClip;
pub use presets::{PRESETS, preset};
pub use step::{Sampling, Step};

use super::{Example, ExamplePrompt, Place};
use crate::error::{DataError, Result};

/// Steps in their order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Transforms {
    /// What is done, the first first.
    pub steps: Vec<Step>,
}

/// Levels 0 to 255, plane by plane.
#[derive(Clone, Debug, PartialEq)]
pub struct Planes {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Red, green and blue, or one plane alone, `height × width` each, row by row; whole numbers but after a step that samples in floats.
    pub levels: Vec<f32>,
}

/// An example as a model takes it, but for the normalisation.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// The example's name.
    pub name: String,
    /// Three planes.
    pub image: Planes,
    /// One plane: 255 inside, 0 outside.
    pub mask: Planes,
    /// The prompt, where the example had one: clicks that fell off are left out, the bounds cut to the picture.
    pub prompt: Option<ExamplePrompt>,
    /// Whether left and right changed places, by which a sentence must go.
    pub mirrored: bool,
}

impl Prepared {
    /// Bytes of its levels.
    pub fn bytes(&self) -> u64 {
        let coarse = self.prompt.as_ref().and_then(|p| p.coarse.as_ref()).map_or(0, |c| c.as_raw().len());
        (4 * (self.image.levels.len() + self.mask.levels.len()) + coarse) as u64
    }
}

impl Transforms {
    /// The same for square inputs of this side: sizes of [`Step::Resize`], [`Step::LongestSide`] and [`Step::LargeScaleJitter`] are replaced, others stay.
    #[must_use]
    pub fn with_side(mut self, new: u32) -> Self {
        for step in &mut self.steps {
            match step {
                Step::Resize { width, height, .. } => (*width, *height) = (new, new),
                Step::LongestSide { side, .. } | Step::LargeScaleJitter { side, .. } => *side = new,
                _ => {}
            }
        }
        self
    }

    /// How many different things can become of one picture: what would have to be kept to know them all.
    ///
    /// # Errors
    /// The first step that has no end of them.
    pub fn outcomes(&self) -> std::result::Result<u64, &Step> {
        self.steps.iter().try_fold(1u64, |all, step| Ok(all.saturating_mul(step.outcomes().ok_or(step)?)))
    }

    /// Refuses steps that cannot be done, before any example is read.
    ///
    /// # Errors
    /// [`DataError::Plan`] with the step and its value.
    pub fn check(&self) -> Result<()> {
        let mut floats = false;
        for step in &self.steps {
            if floats {
                let found = format!("behind one that samples in floats: {step:?}");
                return Err(DataError::Plan { what: "a transform", found, expected: "that one to be the last".into() });
            }
            step.check()?;
            floats = step.gives_floats();
        }
        Ok(())
    }

    /// Does the steps.
    ///
    /// # Errors
    /// Those of [`Transforms::check`]; a mask or coarse mask that has not the picture's size.
    pub fn apply(&self, example: Example, place: Place) -> Result<Prepared> {
        self.apply_to_frame(example, place, 0)
    }

    /// [`Transforms::apply`] to a frame of the clip at a place: all frames go through the same, but for colours that change from frame to frame.
    ///
    /// # Errors
    /// As there.
    pub fn apply_to_frame(&self, example: Example, place: Place, frame: u64) -> Result<Prepared> {
        self.check()?;
        apply::apply(&self.steps, example, place, frame)
    }
}

#[cfg(test)]
mod tests;
