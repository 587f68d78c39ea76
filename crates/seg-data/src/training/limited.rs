//! Of a source that never ends, so many examples, again and again.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Example, Examples, Place};
use crate::error::{DataError, Result};

/// The first examples of a source, the same in every pass.
pub struct Limited {
    source: Arc<dyn Examples>,
    count: u64,
}

impl Limited {
    /// Of a source that never ends, `count` examples.
    ///
    /// # Errors
    /// No example at all, or a source that ends: it has its own number.
    pub fn new(source: Arc<dyn Examples>, count: u64) -> Result<Self> {
        let refuse = |found: String, expected: &str| {
            Err(DataError::Plan { what: "the number of examples to keep to", found, expected: expected.into() })
        };
        match source.len() {
            _ if count == 0 => refuse("0".into(), "at least 1"),
            Some(len) => refuse(count.to_string(), &format!("none: the data has {len} examples, and no more")),
            None => Ok(Self { source, count }),
        }
    }
}

impl Examples for Limited {
    fn len(&self) -> Option<u64> {
        Some(self.count)
    }

    fn example(&self, place: Place) -> Result<Example> {
        // what is made on the fly would be another one in every pass
        self.source.example(Place { epoch: 0, ..place })
    }

    fn digest(&self) -> Result<String> {
        let mut hash = Sha256::new();
        hash.update(format!("the first {} of {}", self.count, self.source.digest()?));
        Ok(hex::encode(hash.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::procedural::{Procedural, Spec};

    #[test]
    fn every_pass_is_the_same() {
        let source = |length| {
            let spec = Spec::parse("size = 32\n[kinds]\ndisc = 1", "spec.toml").unwrap();
            Arc::new(Procedural::new(spec, length).unwrap())
        };
        let limited = Limited::new(source(None), 3).unwrap();
        let at = |epoch| limited.example(Place { seed: 1, epoch, index: 2 }).unwrap();
        assert_eq!(limited.len(), Some(3));
        assert_eq!(at(0), at(5));
        assert_ne!(limited.digest().unwrap(), Limited::new(source(None), 4).unwrap().digest().unwrap());
        assert!(Limited::new(source(None), 0).is_err());
        let message = Limited::new(source(Some(7)), 3).map(drop).unwrap_err().to_string();
        assert!(message.contains('7'), "{message}");
    }
}
