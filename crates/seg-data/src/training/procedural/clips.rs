//! Procedural clips as a training reads them.

use super::{Procedural, Split};
use crate::Result;
use crate::training::{ClipExample, ClipExamples, Examples, Place};

/// Clips of a specification, each with a sentence.
#[derive(Clone, Debug)]
pub struct ProceduralClips {
    made: Procedural,
    split: Split,
}

impl ProceduralClips {
    /// Clips of which the pairs of colour and shape are those of `split`; as many a pass as `made` has pictures. `frames` is how many a clip has, where it is
    /// not what the specification says.
    ///
    /// # Errors
    /// A number of frames that no clip may have.
    pub fn new(mut made: Procedural, split: Split, frames: Option<usize>) -> Result<Self> {
        if let Some(frames) = frames {
            let of_clip = &mut made.spec.clip.frames;
            (of_clip.low, of_clip.high) = (frames as f64, frames as f64);
            made.spec.check(&made.name)?;
        }
        Ok(Self { made, split })
    }
}

impl ClipExamples for ProceduralClips {
    fn len(&self) -> Option<u64> {
        self.made.length
    }

    fn clip(&self, place: Place) -> Result<ClipExample> {
        let mut clip = self.made.clip(place, self.split)?;
        for level in clip.masks.iter_mut().flat_map(|mask| mask.iter_mut()) {
            *level = if *level >= 128 { 255 } else { 0 };
        }
        let name = format!("procedural clip {}", place.index);
        Ok(ClipExample { name, sentence: clip.sentence, frames: clip.frames, masks: clip.masks })
    }

    fn digest(&self) -> Result<String> {
        let text = format!("clips, version 1\n{:?}\n{}", self.split, Examples::digest(&self.made)?);
        Ok(hex::encode(<sha2::Sha256 as sha2::Digest>::digest(text)))
    }
}
