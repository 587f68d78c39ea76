//! Pictures made on the fly, without end, with exact masks.
//!
//! Objects are outlines whose area in each pixel is computed exactly; that coverage is both what the object is laid over the background with and its mask. Blur, noise and
//! compression come afterwards and do not change the mask. Everything in a picture follows from its [`Place`].
//!
//! ```
//! use seg_data::training::procedural::{Procedural, Spec};
//! use seg_data::training::{Examples, Place};
//!
//! # fn main() -> seg_data::Result<()> {
//! let spec = Spec::parse("size = 96\n[kinds]\nnet = 1\nhair = 2", "spec.toml")?;
//! let pictures = Procedural::new(spec, Some(1000))?;
//! let first = pictures.example(Place { seed: 42, epoch: 0, index: 0 })?;
//! assert_eq!(first.image.dimensions(), first.mask.dimensions());
//! # Ok(())
//! # }
//! ```

mod background;
mod blur;
mod check;
mod clip;
mod clips;
mod clutter;
mod colours;
mod fill;
mod finish;
mod kinds;
mod look;
mod noise;
mod path;
mod photos;
mod prompt;
mod scene;
mod sentence;
mod spec;
#[cfg(test)]
mod tests;

use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Dice, Example, Examples, Place};
use crate::{DataError, Result};
pub use background::Ground;
pub use clip::{Clip, Split};
pub use clips::ProceduralClips;
pub use colours::Colour;
pub use kinds::Kind;
use photos::Photos;
pub use scene::{Scene, SceneObject};
pub use sentence::{ClipObject, Motion, Shape, held_out, words};
pub use spec::{ClipSpec, PromptSpec, Span, Spec, Task};

/// Counted with the specification in a run's digest: other pictures from the same specification get another number.
const VERSION: &str = "procedural pictures, version 1";

/// Pictures of a specification.
#[derive(Clone, Debug)]
pub struct Procedural {
    spec: Spec,
    /// What messages call the specification.
    name: String,
    length: Option<u64>,
    photos: Photos,
    cutouts: Photos,
}

impl Procedural {
    /// `length` pictures a pass, or without end. Names of photos are read here, photos when they are needed.
    ///
    /// # Errors
    /// As [`Spec::check`]; folders that cannot be read or have no images.
    pub fn new(spec: Spec, length: Option<u64>) -> Result<Self> {
        let name = "procedural".to_owned();
        spec.check(&name)?;
        let photos = Photos::read(spec.background_photos.as_deref(), spec.size.high)?;
        let cutouts = Photos::read(spec.cutouts.as_deref(), spec.size.high)?;
        Ok(Self { spec, name, length, photos, cutouts })
    }

    /// By one of [`Spec::NAMES`], or a TOML file, in which folders are looked for beside it; without an argument [`Spec::default`].
    ///
    /// # Errors
    /// As [`Self::new`] and [`Spec::parse`]; files that cannot be read.
    pub fn open(spec: Option<&str>, length: Option<u64>) -> Result<Self> {
        let Some(argument) = spec else { return Self::new(Spec::default(), length) };
        let path = Path::new(argument);
        let mut spec = match Spec::named(argument) {
            Some(spec) if !path.is_file() => spec,
            _ => {
                let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
                    std::io::ErrorKind::NotFound => DataError::Spec {
                        name: "procedural".into(),
                        key: argument.into(),
                        found: "no file".into(),
                        expected: format!("a TOML file, or one of {}", Spec::NAMES.join(", ")).into(),
                    },
                    _ => DataError::io(path, "read it", e),
                })?;
                Spec::parse(&text, argument)?
            }
        };
        let beside = path.parent().unwrap_or(Path::new(""));
        for folder in [&mut spec.background_photos, &mut spec.cutouts].into_iter().flatten() {
            *folder = beside.join(&folder);
        }
        Self::new(spec, length).map(|made| Self { name: argument.to_owned(), ..made })
    }

    /// What the pictures are made of.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    fn name(place: Place) -> String {
        format!("procedural {}", place.index)
    }
}

impl Examples for Procedural {
    fn len(&self) -> Option<u64> {
        self.length
    }

    fn example(&self, place: Place) -> Result<Example> {
        let mut scene = self.scene(place)?;
        let prompt = match self.spec.task {
            Task::Salient => None,
            Task::Prompted => {
                Some(prompt::prompt(&scene, &self.spec.prompt, &mut Dice::new(place, "procedural prompt"))?)
            }
        };
        let mask = scene.objects.swap_remove(scene.meant).mask;
        Ok(Example { name: Self::name(place), image: scene.image, mask, prompt })
    }

    fn digest(&self) -> Result<String> {
        let mut hash = Sha256::new();
        hash.update(VERSION);
        // its folders by their contents, not by where they lie
        let spec = Spec { background_photos: None, cutouts: None, ..self.spec.clone() };
        hash.update(toml::to_string(&spec).map_err(|e| DataError::Encode {
            what: format!("the specification {}", self.name),
            reason: e.to_string(),
        })?);
        hash.update(format!("{:?}", self.length));
        self.photos.digest(&mut hash)?;
        hash.update("cut-outs");
        self.cutouts.digest(&mut hash)?;
        Ok(hex::encode(hash.finalize()))
    }
}
