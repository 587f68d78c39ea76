//! One image after another in the same memory.

use std::path::Path;

use image::RgbImage;

use super::{DecodeLimits, LoadedImage, finish, open};
use crate::error::Result;

/// Memory that is kept from one file to the next.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub file: Vec<u8>,
    /// A JPEG without its oddities.
    pub rewritten: Vec<u8>,
    pub pixels: Vec<u8>,
}

impl Room {
    /// `n` bytes of any value.
    pub fn pixels(&mut self, n: usize) -> Vec<u8> {
        let mut pixels = std::mem::take(&mut self.pixels);
        if pixels.capacity() < n {
            return vec![0; n];
        }
        pixels.resize(n, 0);
        pixels
    }
}

/// [`load_image`](super::load_image) for many files, one loader a thread: it keeps the memory for the file, and that of a
/// picture that was [given back](Self::give_back), where the system would hand out every page anew.
///
/// ```no_run
/// # fn main() -> seg_data::Result<()> {
/// let mut loader = seg_data::ImageLoader::new(seg_data::DecodeLimits::default());
/// for path in ["a.jpg", "b.jpg"] {
///     let loaded = loader.load(path)?;
///     println!("{:?}", loaded.dimensions());
///     loader.give_back(loaded.image);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct ImageLoader {
    limits: DecodeLimits,
    room: Room,
}

impl ImageLoader {
    /// Nothing is kept yet.
    pub fn new(limits: DecodeLimits) -> Self {
        Self { limits, room: Room::default() }
    }

    /// Reads and decodes an image file.
    ///
    /// # Errors
    /// As [`load_image`](super::load_image).
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<LoadedImage> {
        let (format, decoded) = open(path.as_ref(), &self.limits, &mut self.room)?;
        Ok(finish(format, decoded))
    }

    /// Takes back a picture that is no longer needed: the next JPEG that is not larger is decoded in its memory.
    pub fn give_back(&mut self, image: RgbImage) {
        let pixels = image.into_raw();
        if pixels.capacity() > self.room.pixels.capacity() {
            self.room.pixels = pixels;
        }
    }
}
