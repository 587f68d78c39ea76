//! All masks of a photo, without prompts: SAM's automatic masks, and what is told of them.

use seg_data::RgbImage;
use seg_models::automatic::AutomaticMaskRecord;
use seg_models::registry::{ModelKind, ModelName};
use seg_models::{AutomaticMask, AutomaticMaskConfig, AutomaticMaskGenerator, ImageEmbedding};
use serde::{Deserialize, Serialize};

use super::Pipeline;
use super::error::{Error, Result};
use super::labels::MOST;
use super::record::with_files;

/// The official settings for this model; none for models that are not asked by clicks alone.
pub fn defaults(model: ModelName) -> Option<AutomaticMaskConfig> {
    match model {
        ModelName::PiSam(_) => None,
        ModelName::Sam2(..) => Some(AutomaticMaskConfig::sam2()),
        _ if model.kind() == ModelKind::Promptable => Some(AutomaticMaskConfig::sam()),
        _ => None,
    }
}

impl Pipeline {
    /// All masks of `image`, best first. `embedding`: the whole image's, where it is there already. `tell` is told how many clicks of how many are done, and says whether
    /// to go on: none when it did not.
    ///
    /// # Errors
    /// [`Error::NotEverything`]; those of the model.
    pub fn everything(
        &self,
        image: &RgbImage,
        embedding: Option<&ImageEmbedding>,
        settings: &AutomaticMaskConfig,
        tell: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Option<Vec<AutomaticMask>>> {
        let refused = Error::NotEverything { model: self.name() };
        let (Some(_), Some((_, model))) = (defaults(self.name()), self.encoder()) else { return Err(refused) };
        let generator = AutomaticMaskGenerator::new(model.as_ref(), settings.clone())?;
        let found = generator.generate_watched(image, embedding, tell)?;
        Ok(found.map(|mut masks| {
            masks.truncate(MOST);
            masks
        }))
    }
}

/// The JSON of a picture in which everything was looked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EverythingRecord {
    /// The image's name.
    pub image: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// The model's name.
    pub model: String,
    /// How it was looked for, under the official names.
    pub settings: AutomaticMaskConfig,
    /// Best first.
    pub masks: Vec<LabelledRecord>,
}

/// A mask, as the official code writes it, with its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LabelledRecord {
    /// In the label map, from 1.
    pub label: u32,
    /// All else.
    #[serde(flatten)]
    pub mask: AutomaticMaskRecord,
}

impl EverythingRecord {
    /// Of the `masks` of `image`, whose `size` is width and height.
    pub fn new(
        image: String,
        size: (u32, u32),
        model: ModelName,
        settings: &AutomaticMaskConfig,
        masks: &[AutomaticMask],
    ) -> Self {
        let masks = (1..).zip(masks).map(|(label, mask)| LabelledRecord { label, mask: mask.record() }).collect();
        let (settings, model) = (settings.clone(), model.to_string());
        Self { image, width: size.0, height: size.1, model, settings, masks }
    }

    /// One line for a program: the record with the `files` written.
    ///
    /// # Errors
    /// Those of serde.
    pub fn line(&self, files: Vec<String>) -> Result<String> {
        with_files(self, files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_those_of_the_model() {
        assert_eq!(defaults(ModelName::MobileSam), Some(AutomaticMaskConfig::sam()));
        assert_eq!(defaults("sam2.1-tiny".parse().unwrap()), Some(AutomaticMaskConfig::sam2()));
        for name in ["is-net", "sam+isnet", "pi-sam-b", "mpg-sam2"] {
            assert_eq!(defaults(name.parse().unwrap()), None, "{name}");
        }
    }
}
