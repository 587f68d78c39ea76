//! What models are made of: as published, or as a file of our own training says of itself.

use detail_refine::IsNetConfig;
use seg_checkpoints::Checkpoint;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ModelName;
use crate::error::{Error, Result};
use crate::mgd_sam2::MgdSam2Config;
use crate::mpg_sam2::MpgSam2Config;
use crate::pi_sam::PiSamConfig;
use crate::sam::{SamConfig, SamEncoderConfig};
use crate::sam2::Sam2Config;
use crate::sam2::video::Sam2VideoConfig;
use crate::sam2_unet::Sam2UnetConfig;
use crate::sam2_unext::Sam2UnextConfig;

/// A system and its sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "system", content = "sizes", rename_all = "kebab-case")]
pub enum Architecture {
    /// SAM, MobileSAM.
    Sam(Box<SamConfig>),
    /// SAM 2 with its memory.
    Sam2(Box<Sam2VideoConfig>),
    /// Pi-SAM.
    PiSam(Box<PiSamConfig>),
    /// IS-Net.
    IsNet(DichotomousSizes),
    /// The second stage of DIS-SAM.
    DisSam(DichotomousSizes),
    /// SAM2-UNet.
    Sam2Unet(Box<Sam2UnetConfig>),
    /// SAM2-UNeXT.
    Sam2Unext(Box<Sam2UnextConfig>),
    /// MGD-SAM2.
    MgdSam2(Box<MgdSam2Config>),
    /// MPG-SAM 2.
    MpgSam2(Box<MpgSam2Config>),
}

/// An IS-Net and the side of its square input in pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DichotomousSizes {
    /// The network.
    pub net: IsNetConfig,
    /// The side of its input.
    pub image_size: usize,
}

/// Sides of inputs that a file may ask for, in pixels.
const SIDES: std::ops::RangeInclusive<usize> = 32..=4096;
/// The most that a whole number of a file's sizes may be; a few keys may say more.
const MOST: u64 = 1 << 16;
/// The most bytes that sizes take in a file.
const MOST_BYTES: usize = 1 << 16;
/// Keys that may say 0.
const MAY_BE_ZERO: [&str; 13] = [
    "global_att_blocks",
    "global_attn_indexes",
    "fpn_top_down_levels",
    "scalp",
    "register_tokens",
    "rgb_embed_seed",
    "num_multimask_outputs",
    "multimask_min_pt_num",
    "multimask_max_pt_num",
    "fill_hole_area",
    "max_obj_ptrs_in_encoder",
    "mask_halvings",
    "fuser_layers",
];

impl Architecture {
    /// The key of a file's metadata.
    pub const KEY: &str = "hrseg_model"; // others have `model`

    /// As the metadata of a file has it.
    ///
    /// # Errors
    /// None that is known of.
    pub fn to_text(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// What the file says that it is; `None` where it says nothing, as files of others.
    ///
    /// # Errors
    /// [`Error::Said`] where no model can be made of that.
    pub fn of(file: &Checkpoint) -> Result<Option<Self>> {
        let Some(text) = file.metadata().get(Self::KEY) else { return Ok(None) };
        Self::parse(text).map(Some).map_err(|problem| Error::Said { path: file.path().to_path_buf(), problem })
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        if text.len() > MOST_BYTES {
            return Err(format!("{} bytes of sizes, expected at most {MOST_BYTES}", text.len()));
        }
        let value: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        sensible("model", &value)?;
        let made: Self = serde_json::from_value(value).map_err(|e| e.to_string())?;
        let side = made.image_size();
        if !SIDES.contains(&side) {
            return Err(format!("image_size is {side}, expected {} to {}", SIDES.start(), SIDES.end()));
        }
        made.trunk_and_text().map_err(|e| e.to_string())?;
        Ok(made)
    }

    /// What the parts themselves can say about their sizes before a weight is asked for.
    fn trunk_and_text(&self) -> candle_core::Result<()> {
        match self {
            Self::Sam2(video) => video.sam2.image_encoder.trunk.validate(),
            Self::Sam2Unet(sizes) => sizes.trunk.validate(),
            Self::Sam2Unext(sizes) => sizes.trunk.validate().and_then(|()| sizes.dino.validate()),
            Self::MgdSam2(sizes) => sizes.image_encoder.trunk.validate(),
            Self::MpgSam2(sizes) => sizes.sam2.sam2.image_encoder.trunk.validate().and_then(|()| sizes.validate()),
            Self::Sam(_) | Self::PiSam(_) | Self::IsNet(_) | Self::DisSam(_) => Ok(()),
        }
    }

    /// The system's name.
    pub fn system(&self) -> &'static str {
        match self {
            Self::Sam(_) => "sam",
            Self::Sam2(_) => "sam2",
            Self::PiSam(_) => "pi-sam",
            Self::IsNet(_) => "is-net",
            Self::DisSam(_) => "dis-sam",
            Self::Sam2Unet(_) => "sam2-unet",
            Self::Sam2Unext(_) => "sam2-unext",
            Self::MgdSam2(_) => "mgd-sam2",
            Self::MpgSam2(_) => "mpg-sam2",
        }
    }

    /// Side of the square input, in pixels.
    pub fn image_size(&self) -> usize {
        match self {
            Self::Sam(sizes) => sizes.image_size,
            Self::Sam2(sizes) => sizes.sam2.image_size,
            Self::PiSam(sizes) => sizes.image_size,
            Self::IsNet(sizes) | Self::DisSam(sizes) => sizes.image_size,
            Self::Sam2Unet(sizes) => sizes.image_size,
            Self::Sam2Unext(sizes) => sizes.image_size,
            Self::MgdSam2(sizes) => sizes.image_size,
            Self::MpgSam2(sizes) => sizes.sam2.sam2.image_size,
        }
    }

    /// Whether the model `name` is of this system.
    pub(super) fn is_of(&self, name: ModelName) -> bool {
        match self {
            Self::Sam(_) => matches!(name, ModelName::MobileSam | ModelName::Sam(_)),
            Self::Sam2(_) => matches!(name, ModelName::Sam2(..)),
            Self::PiSam(_) => matches!(name, ModelName::PiSam(_)),
            Self::IsNet(_) => matches!(name, ModelName::IsNet | ModelName::SamIsNet),
            Self::DisSam(_) => matches!(name, ModelName::DisSam | ModelName::DisSamSmall),
            Self::Sam2Unet(_) => name == ModelName::Sam2Unet,
            Self::Sam2Unext(_) => name == ModelName::Sam2Unext,
            Self::MgdSam2(_) => name == ModelName::MgdSam2,
            Self::MpgSam2(_) => matches!(name, ModelName::MpgSam2(_)),
        }
    }

    /// Whether the encoder is MobileSAM's, whose file has a classifier, too.
    pub(super) fn is_mobile(&self) -> bool {
        matches!(self, Self::Sam(sizes) if matches!(sizes.image_encoder, SamEncoderConfig::TinyVit(_)))
    }
}

impl ModelName {
    /// What the model is made of as published, for a square input of `image_size` pixels.
    pub fn architecture(self, image_size: usize) -> Architecture {
        let sam = |sizes: SamConfig| Architecture::Sam(Box::new(sizes.with_image_size(image_size)));
        match self {
            Self::MobileSam => sam(SamConfig::mobile_sam()),
            Self::Sam(size) => sam(size.config()),
            Self::Sam2(version, size) => {
                let sam2 = Sam2Config { image_size, ..size.config(version) };
                Architecture::Sam2(Box::new(Sam2VideoConfig::new(sam2)))
            }
            Self::PiSam(size) => Architecture::PiSam(Box::new(size.config().with_image_size(image_size))),
            Self::IsNet | Self::SamIsNet => {
                Architecture::IsNet(DichotomousSizes { net: IsNetConfig::is_net(), image_size })
            }
            Self::DisSam | Self::DisSamSmall => {
                Architecture::DisSam(DichotomousSizes { net: IsNetConfig::dis_sam(), image_size })
            }
            Self::Sam2Unet => {
                Architecture::Sam2Unet(Box::new(Sam2UnetConfig { image_size, ..Sam2UnetConfig::large() }))
            }
            Self::Sam2Unext => {
                Architecture::Sam2Unext(Box::new(Sam2UnextConfig { image_size, ..Sam2UnextConfig::large() }))
            }
            Self::MgdSam2 => {
                Architecture::MgdSam2(Box::new(MgdSam2Config { image_size, ..MgdSam2Config::base_plus() }))
            }
            Self::MpgSam2(size) => {
                let mut sizes = size.config();
                sizes.sam2.sam2.image_size = image_size;
                Architecture::MpgSam2(Box::new(sizes))
            }
        }
    }

    /// What the file is made of: what it says itself, or what is published under this name, at the size that it says it has learnt at.
    /// The flag: whether the file said it.
    ///
    /// # Errors
    /// [`Error::Said`], and [`Error::OtherBase`] for a file of another system.
    pub(super) fn made_of(self, file: &Checkpoint) -> Result<(Architecture, bool)> {
        match Architecture::of(file)? {
            Some(made) if made.is_of(self) => Ok((made, true)),
            Some(made) => {
                let found = format!("what a training of {} has written", made.system());
                Err(Error::OtherBase { path: file.path().to_path_buf(), found, expected: self.as_str() })
            }
            None => {
                let said = file.metadata().get("image_size").and_then(|side| side.parse::<usize>().ok());
                let side = said.filter(|side| SIDES.contains(side)).unwrap_or_else(|| self.image_size());
                Ok((self.architecture(side), false))
            }
        }
    }

    /// What there is to say of a model that is not the published one.
    pub(super) fn size_notes(self, made: &Architecture) -> Option<String> {
        let (side, published) = (made.image_size(), self.image_size());
        let sizes = match *made == self.architecture(side) {
            true => String::new(),
            false => format!(", with sizes that are its training's and not those of the published {self}"),
        };
        (side != published || !sizes.is_empty())
            .then(|| format!("trained at {side} x {side} pixels, and used at that{sizes}"))
    }
}

/// Refuses numbers that no model has.
fn sensible(key: &str, value: &Value) -> std::result::Result<(), String> {
    match value {
        Value::Number(number) => {
            let most = match key {
                "rgb_embed_seed" => u64::MAX,
                "vocab_size" => MOST << 4,
                "depth" | "depths" | "stages" | "num_layers" | "fuser_layers" | "Pooled" => 256,
                _ => MOST,
            };
            match number.as_u64() {
                Some(0) if !MAY_BE_ZERO.contains(&key) => Err(format!("{key} is 0, expected at least 1")),
                Some(number) if number > most => Err(format!("{key} is {number}, expected at most {most}")),
                _ => Ok(()),
            }
        }
        Value::Array(all) if all.len() > 64 => Err(format!("{key} has {} numbers, expected at most 64", all.len())),
        Value::Array(all) => all.iter().try_for_each(|one| sensible(key, one)),
        Value::Object(all) => all.iter().try_for_each(|(key, one)| sensible(key, one)),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for name in ModelName::ALL {
            let made = name.architecture(640);
            assert!(made.is_of(name) && made.image_size() == 640, "{name}");
            let text = made.to_text().unwrap();
            assert!(text.starts_with(&format!("{{\"system\":\"{}\"", made.system())), "{text}");
            assert_eq!(Architecture::parse(&text).unwrap(), made, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_is_told() {
        let text = ModelName::Sam2Unet.architecture(128).to_text().unwrap();
        for (from, to, expected) in [
            ("\"image_size\":128", "\"image_size\":16", "image_size is 16"),
            ("\"image_size\":128", "\"image_size\":99999", "expected at most 65536"),
            ("\"embed_dim\":144", "\"embed_dim\":0", "embed_dim is 0"),
            ("\"stages\":[2,6,36,4]", "\"stages\":[2,6,36,999]", "stages is 999"),
            ("\"stages\":[2,6,36,4]", "\"stages\":[2,6,36]", "stages"),
            ("sam2-unet", "sam2-unit", "unknown variant"),
            ("\"channels\":64", "\"chanels\":64", "chanels"),
        ] {
            assert!(text.contains(from), "{text}");
            let problem = Architecture::parse(&text.replace(from, to)).unwrap_err();
            assert!(problem.contains(expected), "{to}: {problem}");
        }
        assert!(Architecture::parse(&" ".repeat(MOST_BYTES + 1)).unwrap_err().contains("bytes"));
    }
}
