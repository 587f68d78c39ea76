//! Several sources as one.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{ClipExample, ClipExamples, Example, Examples, Place};
use crate::error::{DataError, Result};

/// Sources one after the other, as papers train on several data sets at once.
///
/// Each source sees the place with a number of its own; to another source the same number is another seed's, so that they do not change alike.
pub struct Joined<S: ?Sized = dyn Examples> {
    sources: Vec<(u64, Arc<S>)>,
    len: u64,
}

impl Joined {
    /// Joins sources of pictures that end.
    ///
    /// # Errors
    /// No source, or one that never ends.
    pub fn new(sources: Vec<Arc<dyn Examples>>) -> Result<Self> {
        Self::of(sources, |source| source.len())
    }
}

impl Joined<dyn ClipExamples> {
    /// Joins sources of clips that end.
    ///
    /// # Errors
    /// No source, or one that never ends.
    pub fn clips(sources: Vec<Arc<dyn ClipExamples>>) -> Result<Self> {
        Self::of(sources, |source| source.len())
    }
}

impl<S: ?Sized> Joined<S> {
    fn of(sources: Vec<Arc<S>>, len_of: impl Fn(&S) -> Option<u64>) -> Result<Self> {
        let wrong = |found: String, expected: &str| DataError::Plan {
            what: "what is to be joined",
            found,
            expected: expected.into(),
        };
        let (mut numbered, mut len) = (Vec::with_capacity(sources.len()), 0);
        for source in sources {
            let n =
                len_of(&source).ok_or_else(|| wrong("a source that never ends".into(), "sources that have an end"))?;
            numbered.push((len, source));
            len += n;
        }
        if numbered.is_empty() {
            Err(wrong("nothing".into(), "at least one source"))
        } else {
            Ok(Self { sources: numbered, len })
        }
    }

    /// The source that has the example at a place, and its place there.
    fn at(&self, place: Place) -> Result<(&S, Place)> {
        let i = self.sources.partition_point(|(first, _)| *first <= place.index).saturating_sub(1);
        match self.sources.get(i).filter(|_| place.index < self.len) {
            Some((first, source)) => {
                let seed = place.seed.wrapping_add((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                Ok((source.as_ref(), Place { seed, index: place.index - first, ..place }))
            }
            None => {
                let expected = format!("less than {}, the number of examples", self.len);
                Err(DataError::size("an example's number", place.index.to_string(), expected))
            }
        }
    }

    fn digest_of(&self, digest: impl Fn(&S) -> Result<String>) -> Result<String> {
        let mut all = Sha256::new();
        for (_, source) in &self.sources {
            all.update(digest(source)?);
            all.update("\n");
        }
        Ok(hex::encode(all.finalize()))
    }
}

impl Examples for Joined {
    fn len(&self) -> Option<u64> {
        Some(self.len)
    }

    fn example(&self, place: Place) -> Result<Example> {
        let (source, place) = self.at(place)?;
        source.example(place)
    }

    fn digest(&self) -> Result<String> {
        self.digest_of(|source| source.digest())
    }
}

impl ClipExamples for Joined<dyn ClipExamples> {
    fn len(&self) -> Option<u64> {
        Some(self.len)
    }

    fn clip(&self, place: Place) -> Result<ClipExample> {
        let (source, place) = self.at(place)?;
        source.clip(place)
    }

    fn digest(&self) -> Result<String> {
        self.digest_of(|source| source.digest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GrayImage, RgbImage};

    struct Made(Option<u64>);

    impl Examples for Made {
        fn len(&self) -> Option<u64> {
            self.0
        }

        fn example(&self, place: Place) -> Result<Example> {
            let name = format!("{} of {}", place.index, self.0.unwrap_or(0));
            Ok(Example { name, image: RgbImage::new(1, 1), mask: GrayImage::new(1, 1), prompt: None })
        }

        fn digest(&self) -> Result<String> {
            Ok(format!("{:?}", self.0))
        }
    }

    #[test]
    fn every_source_has_its_numbers() {
        let join =
            |lens: &[Option<u64>]| Joined::new(lens.iter().map(|n| Arc::new(Made(*n)) as Arc<dyn Examples>).collect());
        let joined = join(&[Some(2), Some(0), Some(3)]).unwrap();
        let name = |index| joined.example(Place { seed: 1, epoch: 0, index }).map(|example| example.name);
        assert_eq!(joined.len(), Some(5));
        let names: Vec<String> = (0..5).map(|i| name(i).unwrap()).collect();
        assert_eq!(names, ["0 of 2", "1 of 2", "0 of 3", "1 of 3", "2 of 3"]);
        assert!(name(5).unwrap_err().to_string().contains("less than 5"));
        assert_ne!(joined.digest().unwrap(), join(&[Some(2), Some(3)]).unwrap().digest().unwrap());
        assert!(join(&[Some(1), None]).is_err() && join(&[]).is_err());
    }
}
