//! The frames of a video: a folder of images, an animation, or a video file through `ffmpeg`.
//!
//! | given | how |
//! | --- | --- |
//! | a folder | its images in the order of the numbers in their names (`2.jpg` before `10.jpg`), decoded when asked for |
//! | GIF, APNG, animated WebP | unpacked once into a temporary folder, transparency dropped |
//! | anything else | the program `ffmpeg`, if it is installed, unpacks it into a temporary folder: the longest stream, no cover |
//!
//! Frames are numbered by their place, from 0. The memory that this takes does not depend on the number of frames.

mod animation;
mod apng;
mod ffmpeg;
mod order;

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use image::{ImageFormat, RgbImage};
use tempfile::TempDir;

use crate::decode::{DecodeLimits, LoadedImage, is_lfs_pointer, load_image};
use crate::error::{DataError, Result};
use crate::inputs;

/// A video's frames, in order.
#[derive(Debug)]
pub struct Frames {
    files: Vec<PathBuf>,
    limits: DecodeLimits,
    notes: Vec<String>,
    damage: Option<DataError>,
    /// Deleted with this.
    _unpacked: Option<TempDir>,
}

impl Frames {
    /// Finds the frames of `path`, or unpacks them below `scratch` (by default the system's temporary folder).
    ///
    /// # Errors
    /// A path that is not there, a folder without images, a single image, a video without `ffmpeg` to read it, a file that
    /// not a single frame can be had of. Damage further on is told by [`Self::damage`].
    pub fn open(path: impl AsRef<Path>, limits: &DecodeLimits, scratch: Option<&Path>) -> Result<Self> {
        Self::open_up_to(path, limits, scratch, usize::MAX)
    }

    /// [`Self::open`] of at most so many frames: not one more is unpacked.
    ///
    /// # Errors
    /// As there, and [`DataError::TooLarge`] for more of them.
    pub fn open_up_to(
        path: impl AsRef<Path>,
        limits: &DecodeLimits,
        scratch: Option<&Path>,
        most: usize,
    ) -> Result<Self> {
        let path = path.as_ref();
        let name = path.display().to_string();
        if path.is_dir() {
            return Self::of_folder(path, limits).and_then(|frames| frames.checked(&name, most));
        }
        let mut file = File::open(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => DataError::InputNotFound { input: name.clone() },
            _ => DataError::io(path, "open it", e),
        })?;
        let mut head = Vec::with_capacity(32);
        Read::by_ref(&mut file).take(32).read_to_end(&mut head).map_err(|e| DataError::io(path, "read it", e))?;
        drop(file);
        if head.is_empty() {
            return Err(DataError::EmptyFile { name });
        }
        if is_lfs_pointer(&head) {
            return Err(DataError::LfsPointer { name });
        }
        let folder = scratch.map_or_else(TempDir::new, TempDir::new_in);
        let folder = folder
            .map_err(|e| DataError::io(scratch.unwrap_or(Path::new("the temporary folder")), "write into it", e))?;
        let still = |format| DataError::SingleImage { name: name.clone(), format };
        let mut told = Vec::new();
        let damage = match image::guess_format(&head) {
            Ok(format @ (ImageFormat::Gif | ImageFormat::Png | ImageFormat::WebP)) => {
                match animation::unpack(path, format, limits, folder.path(), most)? {
                    animation::Unpacked::Still(format) => return Err(still(format)),
                    animation::Unpacked::Frames(damage) => damage,
                }
            }
            Ok(ImageFormat::Jpeg) => return Err(still("JPEG")),
            Ok(ImageFormat::Bmp) => return Err(still("BMP")),
            Ok(ImageFormat::Pnm) => return Err(still("PNM")),
            Ok(ImageFormat::Tiff) => return Err(still("TIFF; pages of a stack are wanted as files of a folder")),
            _ => {
                let unpacked = ffmpeg::unpack(path, folder.path(), most)?;
                told = unpacked.notes;
                unpacked.damage
            }
        };
        let mut frames = match (Self::of_folder(folder.path(), limits), damage) {
            (Ok(frames), damage) => Self { damage, ..frames },
            (Err(_), Some(damage)) => return Err(damage),
            (Err(error), None) => return Err(error),
        };
        frames.notes.extend(told);
        frames._unpacked = Some(folder);
        frames.checked(&name, most)
    }

    fn checked(self, name: &str, most: usize) -> Result<Self> {
        if self.len() > most { Err(too_many(name, most)) } else { Ok(self) }
    }

    fn of_folder(path: &Path, limits: &DecodeLimits) -> Result<Self> {
        let (mut files, left_out) = inputs::expand_counting(&[path])?;
        inputs::sort_naturally(&mut files);
        inputs::check_stems(&files)?;
        let notes = left_out.note().into_iter().chain(order::gaps(&files)).collect();
        Ok(Self { files, limits: limits.clone(), notes, damage: None, _unpacked: None })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Never: a video has a frame.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The frame's name without its ending, under which its results are written; `None` beyond the last.
    pub fn name(&self, index: usize) -> Option<OsString> {
        self.files.get(index).map(|file| inputs::stem(file))
    }

    /// The pixels of a frame.
    ///
    /// # Errors
    /// As [`Self::photo`].
    pub fn load(&self, index: usize) -> Result<RgbImage> {
        Ok(self.photo(index)?.image)
    }

    /// A frame with all that its file says of it.
    ///
    /// # Errors
    /// As [`load_image`]; [`DataError::Size`] beyond the last frame.
    pub fn photo(&self, index: usize) -> Result<LoadedImage> {
        let file = self.files.get(index).ok_or_else(|| {
            DataError::size("the frame's number", index.to_string(), format!("less than {}", self.files.len()))
        })?;
        load_image(file, &self.limits)
    }

    /// What the caller may want to tell the user, such as numbers missing in the frames' names.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Why frames are missing at the end: the file broke off, or the rest of it could not be decoded.
    pub fn damage(&self) -> Option<&DataError> {
        self.damage.as_ref()
    }
}

/// The error of a video of more frames than are allowed.
fn too_many(name: &str, most: usize) -> DataError {
    let what = "the video's number of frames";
    DataError::TooLarge {
        name: name.to_owned(),
        what,
        value: format!("more than {most}"),
        limit: format!("{most} (--max-frames)"),
    }
}

/// The name of an unpacked frame.
fn frame_name(index: usize) -> String {
    format!("{index:05}.png")
}
