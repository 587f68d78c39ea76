//! Pictures as clips of one frame.

use std::sync::Arc;

use super::{ClipExample, ClipExamples, Examples, Place};
use crate::Result;

/// Pictures for a system that learns from clips and asks for no sentence.
pub struct Stills(pub Arc<dyn Examples>);

impl ClipExamples for Stills {
    fn len(&self) -> Option<u64> {
        self.0.len()
    }

    fn clip(&self, place: Place) -> Result<ClipExample> {
        let example = self.0.example(place)?;
        let (frames, masks) = (vec![example.image], vec![example.mask]);
        Ok(ClipExample { name: example.name, sentence: String::new(), frames, masks })
    }

    fn digest(&self) -> Result<String> {
        self.0.digest()
    }
}
