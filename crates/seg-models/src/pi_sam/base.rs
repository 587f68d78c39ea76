//! What Pi-SAM takes from SAM's own file.

use std::path::Path;

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::VarBuilder;
use seg_checkpoints::Checkpoint;

use crate::base_files::{self, BaseFiles};
use crate::error::Result;

/// Beginnings of the decoder's names that are SAM's own: in SAM's file they stand below `mask_decoder`.
const SAMS_OWN: [&str; 4] = ["transformer.", "iou_token.", "mask_tokens.", "output_upscaling."];
const TOKENS: &str = "mask_tokens.weight";
const ENCODERS: [&str; 2] = ["image_encoder.", "prompt_encoder."];

/// Where SAM's file has the weight that Pi-SAM's decoder calls `name`, if it is SAM's own.
fn in_sam(name: &str) -> Option<String> {
    SAMS_OWN.iter().any(|part| name.starts_with(part)).then(|| format!("mask_decoder.{name}"))
}

/// Weights that a training of Pi-SAM starts from: SAM's or MobileSAM's file, under the names that Pi-SAM has for them in one state dict.
#[derive(Clone)]
pub struct PiSamBase {
    sam: Checkpoint,
    token_of_sam: bool,
}

impl PiSamBase {
    /// # Errors
    /// A file that cannot be read.
    pub fn open(sam: &Path) -> Result<Self> {
        Ok(Self { sam: Checkpoint::open(sam)?, token_of_sam: false })
    }

    /// The new token and what makes a mask of it (`hf_token`, `hf_mlp`) begin as those of SAM's own single mask, in place of the authors' random ones: SAM's
    /// transformer knows such a token already.
    #[must_use]
    pub fn with_token_of_sam(self) -> Self {
        Self { token_of_sam: true, ..self }
    }

    /// A builder at the root of Pi-SAM's state dict: encoders and SAM's own part of the decoder from the file, everything else from `rest`.
    pub fn var_builder(&self, rest: VarBuilder<'static>, dtype: DType, device: &Device) -> VarBuilder<'static> {
        base_files::var_builder(self.clone(), rest, dtype, device)
    }
}

impl BaseFiles for PiSamBase {
    fn find(&self, name: &str) -> Option<(&Checkpoint, String)> {
        let begun = |name: &str| match name {
            "hf_token.weight" => Some(format!("mask_decoder.{TOKENS}")),
            _ => name.strip_prefix("hf_mlp.").map(|rest| format!("mask_decoder.output_hypernetworks_mlps.0.{rest}")),
        };
        let key = match ENCODERS.iter().any(|part| name.starts_with(part)) {
            true => name.to_owned(),
            false => in_sam(name).or_else(|| begun(name).filter(|_| self.token_of_sam))?,
        };
        Some((&self.sam, key))
    }

    fn fitted(&self, key: &str, tensor: Tensor, shape: &Shape) -> candle_core::Result<Tensor> {
        // of SAM's four tokens the first is that of the single mask
        let one = key.ends_with(TOKENS) && shape.dims().first() == Some(&1) && tensor.rank() == 2;
        if one { tensor.narrow(0, 0, 1) } else { Ok(tensor) }
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
