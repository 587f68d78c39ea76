//! Clips and their sentences.

use super::{Prepared, Transforms};
use crate::RgbImage;
use crate::error::Result;
use crate::training::referring::{mirrored, plain_sentence};
use crate::training::{ClipExample, Example, Place};

/// A clip as a model takes it, but for the normalisation.
#[derive(Clone, Debug, PartialEq)]
pub struct PreparedClip {
    /// The example's name.
    pub name: String,
    /// What is meant, in lower case and with single blanks; where the frames are mirrored, left and right have changed places in it.
    pub sentence: String,
    /// The frames with their masks.
    pub frames: Vec<Prepared>,
    /// The frames as they were before: what MPG-SAM 2's BEiT-3 sees, in its training too.
    pub before: Vec<RgbImage>,
}

impl Transforms {
    /// Does the steps to all frames alike, but for colours that change from frame to frame, and to the sentence what they ask of it.
    ///
    /// # Errors
    /// As [`Transforms::apply`].
    pub fn apply_to_clip(&self, clip: ClipExample, place: Place) -> Result<PreparedClip> {
        let ClipExample { name, sentence, frames, masks } = clip;
        let before = frames.clone();
        let prepared = frames.into_iter().zip(masks).zip(0..).map(|((image, mask), frame)| {
            let example = Example { name: format!("{name}, frame {frame}"), image, mask, prompt: None };
            self.apply_to_frame(example, place, frame)
        });
        let frames = prepared.collect::<Result<Vec<_>>>()?;
        let sentence = plain_sentence(&sentence);
        let sentence = if frames.iter().any(|frame| frame.mirrored) { mirrored(&sentence) } else { sentence };
        Ok(PreparedClip { name, sentence, frames, before })
    }
}
