//! Models by name: which there are, and how each is loaded from its checkpoints.

mod name;
mod referring;
mod video;

use std::path::Path;

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use detail_refine::{IsNet, IsNetConfig};
use seg_checkpoints::{Checkpoint, LoadPolicy, LoadReport, ParameterRules, load_strict};

use crate::dense::DensePredictor;
use crate::dis_sam::{DisSamRefiner, Surroundings, TwoStage};
use crate::error::{Error, Result};
use crate::is_net::IsNetPredictor;
use crate::mgd_sam2::{MgdSam2, MgdSam2Config, MgdSam2Predictor, TestTimeAugmentation, ViewOrder};
use crate::mpg_sam2::{MpgSam2, MpgSam2Config};
use crate::pi_sam::{self, PiSamEncoder, PiSamFiles, PiSamMaskDecoder, PiSamPredictor};
use crate::prompt_free::PromptFreeSegmenter;
use crate::promptable::{MaskCleanup, PromptableSegmenter};
use crate::sam::{Sam, SamConfig, SamPredictor};
use crate::sam2::{Sam2ImageModel, Sam2ImagePredictor, Sam2Version};
use crate::sam2_unet::{Sam2Unet, Sam2UnetConfig};
use crate::sam2_unext::{Sam2Unext, Sam2UnextConfig};

pub use name::{ModelKind, ModelName, MpgSam2Size, Sam2Size, SamSize};

/// A model in memory, by how it is asked.
pub enum Segmenter {
    /// With clicks, boxes or masks.
    Promptable(Box<dyn PromptableSegmenter>),
    /// Without prompts.
    PromptFree(Box<dyn PromptFreeSegmenter>),
    /// The second stage alone: the first is a promptable model, or a mask.
    TwoStage(TwoStage),
}

impl Segmenter {
    /// The promptable model that this is.
    ///
    /// # Errors
    /// When it is another kind.
    pub fn promptable(self, name: ModelName) -> Result<Box<dyn PromptableSegmenter>> {
        match self {
            Self::Promptable(model) => Ok(model),
            Self::PromptFree(_) | Self::TwoStage(_) => Err(Error::NotPromptable { model: name.as_str() }),
        }
    }
}

impl ModelName {
    /// Builds the model on weights from anywhere, for a square input of `image_size` pixels ([`ModelName::image_size`] in
    /// official checkpoints). `vb` is at the root of the official state dict; Pi-SAM's two are one.
    ///
    /// Of the options type and device do not count: they are the builder's.
    pub fn build(self, image_size: usize, options: &LoadOptions, vb: VarBuilder) -> candle_core::Result<Segmenter> {
        let cleanup = options.cleanup;
        let (dtype, device) = (vb.dtype(), vb.device().clone());
        let is_net = |cfg: IsNetConfig, vb| IsNet::new(&cfg, vb);
        Ok(match self {
            Self::MobileSam => Segmenter::Promptable(sam(SamConfig::mobile_sam(), image_size, cleanup, vb)?),
            Self::Sam(size) => Segmenter::Promptable(sam(size.config(), image_size, cleanup, vb)?),
            Self::Sam2(version, size) => {
                let cfg = crate::sam2::Sam2Config { image_size, ..size.config(version) };
                let model = Sam2ImageModel::new(&cfg, vb)?;
                Segmenter::Promptable(Box::new(Sam2ImagePredictor::new(model, cleanup, dtype, &device)))
            }
            Self::PiSam(size) => {
                let cfg = size.config().with_image_size(image_size);
                let (encoder, decoder) = (PiSamEncoder::new(&cfg, vb.clone())?, PiSamMaskDecoder::new(&cfg, vb)?);
                let model = PiSamPredictor::new(encoder, decoder, dtype, &device).map_err(candle_core::Error::wrap)?;
                Segmenter::Promptable(Box::new(model))
            }
            Self::IsNet => {
                let net = is_net(IsNetConfig::is_net(), vb)?;
                Segmenter::PromptFree(Box::new(IsNetPredictor::new(net, image_size, dtype, &device)))
            }
            Self::DisSam => {
                let net = is_net(IsNetConfig::dis_sam(), vb)?;
                Segmenter::TwoStage(TwoStage::dis_sam(DisSamRefiner::new(net, image_size, dtype, &device)))
            }
            Self::SamIsNet => {
                let net = is_net(IsNetConfig::is_net(), vb)?;
                let net = IsNetPredictor::new(net, image_size, dtype, &device);
                Segmenter::TwoStage(TwoStage::sam_is_net(net, Surroundings::default()))
            }
            Self::Sam2Unet => {
                let net = Sam2Unet::new(&Sam2UnetConfig { image_size, ..Sam2UnetConfig::large() }, vb)?;
                Segmenter::PromptFree(Box::new(DensePredictor::new(net, dtype, &device)))
            }
            Self::Sam2Unext => {
                let net = Sam2Unext::new(&Sam2UnextConfig { image_size, ..Sam2UnextConfig::large() }, vb)?;
                Segmenter::PromptFree(Box::new(DensePredictor::new(net, dtype, &device)))
            }
            Self::MgdSam2 => {
                let model = MgdSam2::new(&MgdSam2Config::base_plus(), vb)?.with_view_order(options.view_order);
                let mut model = MgdSam2Predictor::new(model, image_size, dtype, &device);
                if options.test_time_augmentation {
                    model = model.with_augmentation(TestTimeAugmentation::official());
                }
                Segmenter::PromptFree(Box::new(model))
            }
            Self::MpgSam2(_) => {
                candle_core::bail!("{self} segments videos, not images: see `ModelName::open_referring`")
            }
        })
    }

    /// Asks `vb`, at the root of the official state dict, for every weight of the model.
    pub fn ask_for_weights(self, vb: VarBuilder) -> candle_core::Result<()> {
        match self {
            Self::MpgSam2(size) => MpgSam2::new(&size.config(), vb).map(|_| ()),
            _ => self.build(self.image_size(), &LoadOptions::default(), vb).map(|_| ()),
        }
    }

    /// What a checkpoint may have or lack.
    fn policy(self) -> LoadPolicy {
        let policy = LoadPolicy::strict().expect(self.weights());
        match self {
            Self::MobileSam => policy.unused(Sam::MOBILE_SAM_UNUSED),
            Self::MgdSam2 => policy.unused(MgdSam2Config::base_plus().unused()),
            Self::Sam2(..) => policy.unused(Sam2ImageModel::VIDEO_PREFIXES).optional([Sam2ImageModel::OPTIONAL_PREFIX]),
            _ => policy,
        }
    }

    /// What training moves of the model, and how fast, where its authors have published a training.
    pub fn parameter_rules(self) -> Option<ParameterRules> {
        match self {
            Self::MgdSam2 => Some(MgdSam2::parameter_rules()),
            Self::Sam2Unet => Some(Sam2Unet::parameter_rules()),
            Self::Sam2Unext => Some(Sam2Unext::parameter_rules()),
            Self::MpgSam2(_) => Some(MpgSam2::parameter_rules()),
            _ => None,
        }
    }

    /// The side that a file of our own training says it has learnt at; that of official checkpoints where it says nothing.
    fn trained_size(self, checkpoint: &Checkpoint) -> usize {
        let said = checkpoint.metadata().get("image_size").and_then(|side| side.parse::<usize>().ok());
        said.filter(|side| (32..=4096).contains(side)).unwrap_or_else(|| self.image_size())
    }

    fn size_note(self, size: usize) -> Option<String> {
        (size != self.image_size()).then(|| format!("trained at {size} x {size} pixels, and used at that"))
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

    /// Loads the model from its checkpoint, strictly; the reports, one a file, say what a file has too much or too little of.
    /// `base` is the checkpoint of [`ModelName::base`] that Pi-SAM needs unless `path` holds both; others do not look at it.
    ///
    /// # Errors
    /// A file that cannot be read, or that is not of this model: the message says which one it looks like.
    pub fn open(self, path: &Path, base: Option<&Path>, options: &LoadOptions) -> Result<(Segmenter, Vec<LoadReport>)> {
        if let Self::PiSam(size) = self {
            let files = match base {
                Some(sam) => PiSamFiles::two(sam, path),
                None => PiSamFiles::Merged(path.to_path_buf()),
            };
            let size_of_input = self.trained_size(&Checkpoint::open(path)?);
            let cfg = size.config().with_image_size(size_of_input);
            let (model, mut reports) = pi_sam::load(&cfg, &files, options)?;
            if let (Some(note), Some(report)) = (self.size_note(size_of_input), reports.last_mut()) {
                report.notes.push(note);
            }
            return Ok((Segmenter::Promptable(Box::new(model)), reports));
        }
        let checkpoint = Checkpoint::open(path)?;
        let size = self.trained_size(&checkpoint);
        let build = |vb: VarBuilder<'static>| self.build(size, options, vb);
        let (model, mut report) = load_strict(&checkpoint, options.dtype, &options.device, &self.policy(), build)?;
        report.notes.extend(self.size_note(size));
        let absent = self.absent_video_parts(&checkpoint);
        if !absent.is_empty() {
            report.notes.push(format!("good for images, not for video: the file has no {}", absent.join(", ")));
        }
        Ok((model, vec![report]))
    }

    /// Loads a promptable model from its one checkpoint; see [`ModelName::open`].
    ///
    /// # Errors
    /// As there, and a model that takes no prompts.
    pub fn load(self, path: &Path, options: &LoadOptions) -> Result<(Box<dyn PromptableSegmenter>, LoadReport)> {
        let (model, reports) = self.open(path, None, options)?;
        let report = reports.into_iter().next().unwrap_or_default();
        Ok((model.promptable(self)?, report))
    }
}

impl SamSize {
    fn config(self) -> SamConfig {
        match self {
            Self::B => SamConfig::vit_b(),
            Self::L => SamConfig::vit_l(),
            Self::H => SamConfig::vit_h(),
        }
    }
}

impl MpgSam2Size {
    fn config(self) -> MpgSam2Config {
        match self {
            Self::Tiny => MpgSam2Config::tiny(),
            Self::Large => MpgSam2Config::large(),
        }
    }
}

fn sam(
    cfg: SamConfig,
    image_size: usize,
    cleanup: MaskCleanup,
    vb: VarBuilder,
) -> candle_core::Result<Box<dyn PromptableSegmenter>> {
    let (dtype, device) = (vb.dtype(), vb.device().clone());
    let model = Sam::new(&cfg.with_image_size(image_size), vb)?;
    Ok(Box::new(SamPredictor::new(model, cleanup, dtype, &device)))
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
    /// MGD-SAM2: how its views go through the encoder.
    pub view_order: ViewOrder,
    /// MGD-SAM2: the authors' passes over mirrored and scaled copies of an image, in place of one pass.
    pub test_time_augmentation: bool,
}

impl Default for LoadOptions {
    /// 32-bit floats on the CPU.
    fn default() -> Self {
        Self {
            dtype: DType::F32,
            device: Device::Cpu,
            cleanup: MaskCleanup::default(),
            view_order: ViewOrder::default(),
            test_time_augmentation: false,
        }
    }
}
