//! A clip on the disk, to go on with later.

use std::collections::BTreeMap;
use std::path::Path;

use seg_checkpoints::write_safetensors;

use super::predictor::MpgTracking;
use crate::error::Result;
use crate::sam2::video::stored::{BankFile, put_bank};

/// Prefix of the object's tensors.
const OBJECT: &str = "1";
/// Metadata key of the frame that comes next.
const NEXT: &str = "next";

impl MpgTracking<'_> {
    /// Writes the memory as safetensors, in one step: a reader sees the old file or the new one. The prior is not in it: it is made of the frames anew.
    /// [`saved_notes`] gives the `notes` back.
    pub fn save(&self, path: impl AsRef<Path>, notes: &BTreeMap<String, String>) -> Result<()> {
        let mut tensors = BTreeMap::new();
        put_bank(&mut tensors, OBJECT, self.video().bank());
        let mut metadata = notes.clone();
        metadata.insert(NEXT.into(), self.next_frame().to_string());
        Ok(write_safetensors(path, &tensors, &metadata)?)
    }

    /// Goes on where the file's clip was, which must be of the same frames and the same text as this one.
    ///
    /// # Errors
    /// A file that cannot be read, or that is not of a clip of this length with this model's sizes.
    pub fn restore(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let file = BankFile::open(path.as_ref())?;
        let next = file.metadata().get(NEXT).and_then(|next| next.parse().ok());
        let frames = self.video().frames();
        let Some(next) = next.filter(|next| *next <= frames) else {
            return Err(file.wrong(format!("`{NEXT}` is {next:?}, expected a frame of a clip of {frames}")));
        };
        let video = self.video_mut();
        let mut bank = video.bank().clone();
        bank.clear();
        file.read(OBJECT, &video.model().config().sam2, video.prior().context.device(), &mut bank)?;
        video.resume(next, bank);
        Ok(())
    }
}

/// The notes with which a clip was saved.
///
/// # Errors
/// A file that cannot be read.
pub fn saved_notes(path: impl AsRef<Path>) -> Result<BTreeMap<String, String>> {
    Ok(BankFile::open(path.as_ref())?.metadata().clone())
}
