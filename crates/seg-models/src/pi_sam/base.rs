//! What Pi-SAM takes from SAM's own file.

use std::path::Path;

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use seg_checkpoints::Checkpoint;

use crate::base_files::{self, BaseFiles};
use crate::error::Result;

/// Beginnings of the decoder's names that are SAM's own: in SAM's file they stand below `mask_decoder`.
const SAMS_OWN: [&str; 4] = ["transformer.", "iou_token.", "mask_tokens.", "output_upscaling."];
const ENCODERS: [&str; 2] = ["image_encoder.", "prompt_encoder."];

/// Where SAM's file has the weight that Pi-SAM's decoder calls `name`, if it is SAM's own.
fn in_sam(name: &str) -> Option<String> {
    SAMS_OWN.iter().any(|part| name.starts_with(part)).then(|| format!("mask_decoder.{name}"))
}

/// Weights that a training of Pi-SAM starts from: SAM's or MobileSAM's file, under the names that Pi-SAM has for them in one state dict.
#[derive(Clone)]
pub struct PiSamBase(Checkpoint);

impl PiSamBase {
    /// # Errors
    /// A file that cannot be read.
    pub fn open(sam: &Path) -> Result<Self> {
        Ok(Self(Checkpoint::open(sam)?))
    }

    /// A builder at the root of Pi-SAM's state dict: encoders and SAM's own part of the decoder from the file, everything else from `rest`.
    pub fn var_builder(&self, rest: VarBuilder<'static>, dtype: DType, device: &Device) -> VarBuilder<'static> {
        base_files::var_builder(self.clone(), rest, dtype, device)
    }
}

impl BaseFiles for PiSamBase {
    fn find(&self, name: &str) -> Option<(&Checkpoint, String)> {
        let key = match ENCODERS.iter().any(|part| name.starts_with(part)) {
            true => name.to_owned(),
            false => in_sam(name)?,
        };
        Some((&self.0, key))
    }
}

/// A decoder that was saved without what it has from SAM, beside SAM's file.
pub(super) struct Difference {
    pub sam: Checkpoint,
    pub decoder: Checkpoint,
}

impl Difference {
    /// A builder at the root of the decoder's state dict, of which `rest` is the decoder's own file.
    pub fn var_builder(self, rest: VarBuilder<'static>, dtype: DType, device: &Device) -> VarBuilder<'static> {
        base_files::var_builder(self, rest, dtype, device)
    }
}

impl BaseFiles for Difference {
    fn find(&self, name: &str) -> Option<(&Checkpoint, String)> {
        let key = in_sam(name).filter(|_| self.decoder.get(name).is_none())?;
        Some((&self.sam, key))
    }
}
