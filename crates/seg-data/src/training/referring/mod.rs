//! Data sets in which a sentence tells what is meant: Ref-YouTube-VOS, Ref-DAVIS17, MeViS (videos), RefCOCO, RefCOCO+, RefCOCOg (pictures).

mod clips;
mod images;
mod segments;
mod videos;

pub use clips::ClipFrames;
pub use images::{Reference, ReferringImages, Sentence};
pub use segments::Segmentation;
pub use videos::ReferringVideos;

use super::Place;
use crate::error::Result;
use crate::{GrayImage, RgbImage};

/// ClipFrames in their order, a sentence, and where what it means is. A picture is a clip of one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipExample {
    /// What to call it in messages.
    pub name: String,
    /// What is meant, as the data set has it.
    pub sentence: String,
    /// The frames as a viewer shows them.
    pub frames: Vec<RgbImage>,
    /// Of each frame: 255 inside, 0 outside; 0 everywhere where nothing of it is seen.
    pub masks: Vec<GrayImage>,
}

impl ClipExample {
    /// Of each frame, whether anything of what is meant is seen.
    pub fn seen(&self) -> Vec<bool> {
        self.masks.iter().map(|mask| mask.as_raw().iter().any(|v| *v > 0)).collect()
    }
}

/// Where clips come from.
pub trait ClipExamples: Send + Sync {
    /// How many there are in a pass; `None` where they never end.
    fn len(&self) -> Option<u64>;

    /// Whether there are none at all.
    fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The clip at a place: always the same for the same place.
    ///
    /// # Errors
    /// Files that cannot be read, masks of another size than their frames; the message names the file.
    fn clip(&self, place: Place) -> Result<ClipExample>;

    /// A digest of the sentences, of what the masks are made from, and of names and lengths of the frames' files, in hexadecimal.
    ///
    /// # Errors
    /// Files that cannot be read.
    fn digest(&self) -> Result<String>;
}

/// The sentence for a mirrored picture: `left` and `right` change places, wherever they stand, as MPG-SAM 2's code has it.
pub fn mirrored(sentence: &str) -> String {
    let mut out = String::with_capacity(sentence.len());
    let mut rest = sentence;
    while let Some(next) = rest.chars().next() {
        let (word, other) = if rest.starts_with("left") {
            ("left", "right")
        } else if rest.starts_with("right") {
            ("right", "left")
        } else {
            let (letter, _) = rest.split_at(next.len_utf8());
            (letter, letter)
        };
        out.push_str(other);
        rest = &rest[word.len()..];
    }
    out
}

/// Lower case, blanks at either end and between words made one: what the training makes of a sentence.
pub fn plain_sentence(sentence: &str) -> String {
    sentence.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A JSON file, read as what is expected of it.
fn read_json<T: serde::de::DeserializeOwned>(path: &std::path::Path) -> Result<T> {
    use crate::error::DataError;
    let file = std::fs::File::open(path).map_err(|e| DataError::io(path, "open it", e))?;
    serde_json::from_reader(std::io::BufReader::new(file))
        .map_err(|e| DataError::Annotations { path: path.to_owned(), reason: crate::error::one_line(&e.to_string()) })
}

#[cfg(test)]
mod tests;
