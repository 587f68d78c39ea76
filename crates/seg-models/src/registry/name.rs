//! The names of models.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::pi_sam::PiSamSize;
use crate::sam2::{Sam2Config, Sam2Version};
use crate::sam2_unet::Sam2UnetConfig;

/// The models by name. Their names are those of the weights manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ModelName {
    /// `mobile-sam`: small and quick, complete weights within reach of a package mirror.
    #[default]
    MobileSam,
    /// `sam-vit-b`, `sam-vit-l`, `sam-vit-h`.
    Sam(SamSize),
    /// `sam2-tiny` … `sam2.1-large`.
    Sam2(Sam2Version, Sam2Size),
    /// `pi-sam-b`, `pi-sam-l`, `pi-sam-h`, and on MobileSAM's encoder `pi-sam-mobile`: the mask of a box at high resolution, corrected by clicks.
    PiSam(PiSamSize),
    /// `is-net`: the salient object, without prompts.
    IsNet,
    /// `dis-sam`: a promptable model's mask made exact by a network trained for it.
    DisSam,
    /// `dis-sam-small`: the same, learnt here on two cores from IS-Net's weights, at 512 pixels; the first stage is MobileSAM.
    DisSamSmall,
    /// `sam+isnet`: the same with the original IS-Net, of which weights are within reach.
    SamIsNet,
    /// `sam2-unet`: the salient object, by SAM 2's trunk.
    Sam2Unet,
    /// `sam2-unext`: the salient object, by SAM 2's trunk and DINOv2.
    Sam2Unext,
    /// `mgd-sam2`: the salient object at high resolution, without prompts.
    MgdSam2,
    /// `mpg-sam2`, `mpg-sam2-tiny`: the object of a sentence through a video.
    MpgSam2(MpgSam2Size),
}

/// How a model is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelKind {
    /// With clicks, boxes or masks.
    Promptable,
    /// Without prompts.
    PromptFree,
    /// With the prompts of another, promptable model, or with a mask, which it makes exact.
    TwoStage,
    /// With a sentence about a video.
    Referring,
}

/// SAM's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SamSize {
    /// 94 million parameters.
    B,
    /// 312 million parameters.
    L,
    /// 641 million parameters.
    H,
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

impl Sam2Size {
    pub(super) fn config(self, version: Sam2Version) -> Sam2Config {
        match self {
            Self::Tiny => Sam2Config::tiny(version),
            Self::Small => Sam2Config::small(version),
            Self::BasePlus => Sam2Config::base_plus(version),
            Self::Large => Sam2Config::large(version),
        }
    }
}

/// MPG-SAM 2's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MpgSam2Size {
    /// 274 million parameters: Hiera-T and BEiT-3 base.
    Tiny,
    /// 919 million parameters: Hiera-L and BEiT-3 large.
    Large,
}

use Sam2Size::{BasePlus, Large, Small, Tiny};
use Sam2Version::{V2_0, V2_1};

impl ModelName {
    /// Every model.
    pub const ALL: [Self; 25] = [
        Self::MobileSam,
        Self::Sam(SamSize::B),
        Self::Sam(SamSize::L),
        Self::Sam(SamSize::H),
        Self::Sam2(V2_0, Tiny),
        Self::Sam2(V2_0, Small),
        Self::Sam2(V2_0, BasePlus),
        Self::Sam2(V2_0, Large),
        Self::Sam2(V2_1, Tiny),
        Self::Sam2(V2_1, Small),
        Self::Sam2(V2_1, BasePlus),
        Self::Sam2(V2_1, Large),
        Self::PiSam(PiSamSize::B),
        Self::PiSam(PiSamSize::L),
        Self::PiSam(PiSamSize::H),
        Self::PiSam(PiSamSize::Mobile),
        Self::IsNet,
        Self::DisSam,
        Self::DisSamSmall,
        Self::SamIsNet,
        Self::Sam2Unet,
        Self::Sam2Unext,
        Self::MgdSam2,
        Self::MpgSam2(MpgSam2Size::Large),
        Self::MpgSam2(MpgSam2Size::Tiny),
    ];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MobileSam => "mobile-sam",
            Self::Sam(SamSize::B) => "sam-vit-b",
            Self::Sam(SamSize::L) => "sam-vit-l",
            Self::Sam(SamSize::H) => "sam-vit-h",
            Self::Sam2(V2_0, Tiny) => "sam2-tiny",
            Self::Sam2(V2_0, Small) => "sam2-small",
            Self::Sam2(V2_0, BasePlus) => "sam2-base-plus",
            Self::Sam2(V2_0, Large) => "sam2-large",
            Self::Sam2(V2_1, Tiny) => "sam2.1-tiny",
            Self::Sam2(V2_1, Small) => "sam2.1-small",
            Self::Sam2(V2_1, BasePlus) => "sam2.1-base-plus",
            Self::Sam2(V2_1, Large) => "sam2.1-large",
            Self::PiSam(PiSamSize::B) => "pi-sam-b",
            Self::PiSam(PiSamSize::L) => "pi-sam-l",
            Self::PiSam(PiSamSize::H) => "pi-sam-h",
            Self::PiSam(PiSamSize::Mobile) => "pi-sam-mobile",
            Self::IsNet => "is-net",
            Self::DisSam => "dis-sam",
            Self::DisSamSmall => "dis-sam-small",
            Self::SamIsNet => "sam+isnet",
            Self::Sam2Unet => "sam2-unet",
            Self::Sam2Unext => "sam2-unext",
            Self::MgdSam2 => "mgd-sam2",
            Self::MpgSam2(MpgSam2Size::Large) => "mpg-sam2",
            Self::MpgSam2(MpgSam2Size::Tiny) => "mpg-sam2-tiny",
        }
    }

    /// The name of its checkpoint in the weights manifest.
    pub fn weights(self) -> &'static str {
        match self {
            Self::SamIsNet => Self::IsNet.as_str(),
            other => other.as_str(),
        }
    }

    /// The name in the weights manifest of the published checkpoint whose tensors its own has: the same network, learnt elsewhere.
    pub(super) fn network(self) -> &'static str {
        match self {
            Self::DisSamSmall => Self::DisSam.weights(),
            other => other.weights(),
        }
    }

    /// How it is asked.
    pub fn kind(self) -> ModelKind {
        match self {
            Self::MobileSam | Self::Sam(_) | Self::Sam2(..) | Self::PiSam(_) => ModelKind::Promptable,
            Self::IsNet | Self::MgdSam2 | Self::Sam2Unet | Self::Sam2Unext => ModelKind::PromptFree,
            Self::DisSam | Self::DisSamSmall | Self::SamIsNet => ModelKind::TwoStage,
            Self::MpgSam2(_) => ModelKind::Referring,
        }
    }

    /// Side of the square input that its checkpoints are for, in pixels.
    pub fn image_size(self) -> usize {
        match self {
            Self::Sam2Unet => Sam2UnetConfig::IMAGE_SIZE,
            Self::DisSamSmall | Self::PiSam(PiSamSize::Mobile) => 512,
            _ => 1024,
        }
    }

    /// The model whose checkpoint it also needs: Pi-SAM's encoder is SAM's, and a two-stage model's first stage is another model
    /// (DIS-SAM's authors take SAM's ViT-L). Of a two-stage model this is a default.
    pub fn base(self) -> Option<Self> {
        match self {
            Self::PiSam(PiSamSize::B) => Some(Self::Sam(SamSize::B)),
            Self::PiSam(PiSamSize::L) | Self::DisSam => Some(Self::Sam(SamSize::L)),
            Self::PiSam(PiSamSize::H) => Some(Self::Sam(SamSize::H)),
            Self::SamIsNet | Self::DisSamSmall | Self::PiSam(PiSamSize::Mobile) => Some(Self::MobileSam),
            _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for model in ModelName::ALL {
            assert_eq!(model.as_str().parse::<ModelName>().unwrap(), model);
            assert!(seg_checkpoints::find(model.weights()).is_some(), "{model} is not in the manifest");
        }
        let message = "sam3".parse::<ModelName>().unwrap_err().to_string();
        assert!(message.contains("`sam3`") && message.contains("sam2.1-large"), "{message}");
    }
}
