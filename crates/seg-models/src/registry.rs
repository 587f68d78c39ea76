//! Models by name: which there are, and how each is loaded from a checkpoint.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use seg_checkpoints::{Checkpoint, LoadPolicy, LoadReport, load_strict};

use crate::error::{Error, Result};
use crate::promptable::{MaskCleanup, PromptableSegmenter};
use crate::sam::{Sam, SamConfig, SamPredictor};
use crate::sam2::{Sam2Config, Sam2ImageModel, Sam2ImagePredictor, Sam2Version};

/// The models that answer to clicks, boxes and masks. Their names are those of the weights manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ModelName {
    /// `mobile-sam`: small and quick, complete weights within reach of a package mirror.
    #[default]
    MobileSam,
    /// `sam2-tiny` … `sam2.1-large`.
    Sam2(Sam2Version, Sam2Size),
}

/// SAM 2's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sam2Size {
    /// 39 million parameters.
    Tiny,
    /// 46 million parameters.
    Small,
    /// 81 million parameters.
    BasePlus,
    /// 224 million parameters.
    Large,
}

impl ModelName {
    /// Every model.
    pub const ALL: [Self; 9] = {
        use Sam2Size::{BasePlus, Large, Small, Tiny};
        use Sam2Version::{V2_0, V2_1};
        [
            Self::MobileSam,
            Self::Sam2(V2_0, Tiny),
            Self::Sam2(V2_0, Small),
            Self::Sam2(V2_0, BasePlus),
            Self::Sam2(V2_0, Large),
            Self::Sam2(V2_1, Tiny),
            Self::Sam2(V2_1, Small),
            Self::Sam2(V2_1, BasePlus),
            Self::Sam2(V2_1, Large),
        ]
    };

    /// The name on the command line and in the manifest.
    pub fn as_str(self) -> &'static str {
        use Sam2Size::{BasePlus, Large, Small, Tiny};
        use Sam2Version::{V2_0, V2_1};
        match self {
            Self::MobileSam => "mobile-sam",
            Self::Sam2(V2_0, Tiny) => "sam2-tiny",
            Self::Sam2(V2_0, Small) => "sam2-small",
            Self::Sam2(V2_0, BasePlus) => "sam2-base-plus",
            Self::Sam2(V2_0, Large) => "sam2-large",
            Self::Sam2(V2_1, Tiny) => "sam2.1-tiny",
            Self::Sam2(V2_1, Small) => "sam2.1-small",
            Self::Sam2(V2_1, BasePlus) => "sam2.1-base-plus",
            Self::Sam2(V2_1, Large) => "sam2.1-large",
        }
    }

    /// Builds the model on weights from anywhere, for a square input of `image_size` pixels (1024 in all official
    /// checkpoints). `vb` is at the root of the official state dict.
    pub fn build(
        self,
        image_size: usize,
        cleanup: MaskCleanup,
        vb: VarBuilder,
    ) -> candle_core::Result<Box<dyn PromptableSegmenter>> {
        let (dtype, device) = (vb.dtype(), vb.device().clone());
        match self {
            Self::MobileSam => {
                let cfg = SamConfig::mobile_sam().with_image_size(image_size);
                Ok(Box::new(SamPredictor::new(Sam::new(&cfg, vb)?, cleanup, dtype, &device)))
            }
            Self::Sam2(version, size) => {
                let cfg = Sam2Config { image_size, ..size.config(version) };
                Ok(Box::new(Sam2ImagePredictor::new(Sam2ImageModel::new(&cfg, vb)?, cleanup, dtype, &device)))
            }
        }
    }

    /// What a checkpoint may have or lack.
    fn policy(self) -> LoadPolicy {
        let policy = LoadPolicy::strict().expect(self.as_str());
        match self {
            Self::MobileSam => policy.unused(Sam::MOBILE_SAM_UNUSED),
            Self::Sam2(..) => policy.unused(Sam2ImageModel::VIDEO_PREFIXES).optional([Sam2ImageModel::OPTIONAL_PREFIX]),
        }
    }

    /// Parts of the official checkpoint that this file has nothing of, and that only video needs.
    fn absent_video_parts(self, checkpoint: &Checkpoint) -> Vec<&'static str> {
        let Self::Sam2(version, _) = self else { return Vec::new() };
        let of_2_1 = ["no_obj_embed_spatial", "obj_ptr_tpos_proj."];
        Sam2ImageModel::VIDEO_PREFIXES
            .into_iter()
            .filter(|part| version == Sam2Version::V2_1 || !of_2_1.contains(part))
            .filter(|part| !checkpoint.keys().any(|key| key.starts_with(part)))
            .map(|part| part.trim_end_matches('.'))
            .collect()
    }

    /// Loads the model from a checkpoint, strictly; the report says what the file has too much or too little of.
    ///
    /// # Errors
    /// A file that cannot be read, or that is not of this model: the message says which one it looks like.
    pub fn load(self, path: &Path, options: &LoadOptions) -> Result<(Box<dyn PromptableSegmenter>, LoadReport)> {
        let checkpoint = Checkpoint::open(path)?;
        let build = |vb: VarBuilder<'static>| self.build(1024, options.cleanup, vb);
        let (model, mut report) = load_strict(&checkpoint, options.dtype, &options.device, &self.policy(), build)?;
        let absent = self.absent_video_parts(&checkpoint);
        if !absent.is_empty() {
            report.notes.push(format!("good for images, not for video: the file has no {}", absent.join(", ")));
        }
        Ok((model, report))
    }
}

impl Sam2Size {
    fn config(self, version: Sam2Version) -> Sam2Config {
        match self {
            Self::Tiny => Sam2Config::tiny(version),
            Self::Small => Sam2Config::small(version),
            Self::BasePlus => Sam2Config::base_plus(version),
            Self::Large => Sam2Config::large(version),
        }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ModelName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|model| model.as_str() == name)
            .ok_or_else(|| Error::UnknownModel { name: name.to_owned(), known: Self::ALL.map(Self::as_str).to_vec() })
    }
}

/// Where and in which number type a model computes.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Type of weights and activations.
    pub dtype: DType,
    /// CPU or GPU.
    pub device: Device,
    /// Holes filled and specks removed from every mask; none by default.
    pub cleanup: MaskCleanup,
}

impl Default for LoadOptions {
    /// 32-bit floats on the CPU.
    fn default() -> Self {
        Self { dtype: DType::F32, device: Device::Cpu, cleanup: MaskCleanup::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for model in ModelName::ALL {
            assert_eq!(model.as_str().parse::<ModelName>().unwrap(), model);
        }
        let message = "sam3".parse::<ModelName>().unwrap_err().to_string();
        assert!(message.contains("`sam3`") && message.contains("sam2.1-large"), "{message}");
    }
}
