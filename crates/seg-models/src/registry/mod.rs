//! Models by name: which there are, and how each is loaded from its checkpoints.

mod architecture;
mod name;
mod referring;
mod video;

use std::path::Path;

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use detail_refine::IsNet;
use seg_checkpoints::{Checkpoint, LoadPolicy, LoadReport, ParameterRules, load_strict};

use crate::dense::DensePredictor;
use crate::dis_sam::{DisSamRefiner, MaskChoice, Surroundings, TwoStage, View};
use crate::error::{Error, Result};
use crate::is_net::IsNetPredictor;
use crate::mgd_sam2::{MgdSam2, MgdSam2Predictor, TestTimeAugmentation, ViewOrder};
use crate::mpg_sam2::{MpgSam2, MpgSam2Config};
use crate::pi_sam::{self, PiSamEncoder, PiSamFiles, PiSamMaskDecoder, PiSamPredictor};
use crate::prompt_free::PromptFreeSegmenter;
use crate::promptable::{MaskCleanup, PromptableSegmenter};
use crate::sam::{Sam, SamConfig, SamPredictor};
use crate::sam2::{Sam2ImageModel, Sam2ImagePredictor, Sam2Version};
use crate::sam2_unet::Sam2Unet;
use crate::sam2_unext::Sam2Unext;

pub use architecture::{Architecture, DichotomousSizes};
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
    /// Builds the model as it is published on weights from anywhere, for a square input of `image_size` pixels ([`ModelName::image_size`] in
    /// official checkpoints). `vb` is at the root of the official state dict; Pi-SAM's two are one.
    ///
    /// Of the options type and device do not count: they are the builder's.
    pub fn build(self, image_size: usize, options: &LoadOptions, vb: VarBuilder) -> candle_core::Result<Segmenter> {
        self.build_of(self.architecture(image_size), options, vb)
    }

    /// [`ModelName::build`] of other sizes.
    fn build_of(self, made: Architecture, options: &LoadOptions, vb: VarBuilder) -> candle_core::Result<Segmenter> {
        let cleanup = options.cleanup;
        let (dtype, device) = (vb.dtype(), vb.device().clone());
        let image_size = made.image_size();
        Ok(match made {
            Architecture::Sam(cfg) => {
                let model = Sam::new(&cfg, vb)?;
                Segmenter::Promptable(Box::new(SamPredictor::new(model, cleanup, dtype, &device)))
            }
            Architecture::Sam2(cfg) => {
                let model = Sam2ImageModel::new(&cfg.sam2, vb)?;
                Segmenter::Promptable(Box::new(Sam2ImagePredictor::new(model, cleanup, dtype, &device)))
            }
            Architecture::PiSam(cfg) => {
                let (encoder, decoder) = (PiSamEncoder::new(&cfg, vb.clone())?, PiSamMaskDecoder::new(&cfg, vb)?);
                let model = PiSamPredictor::new(encoder, decoder, dtype, &device).map_err(candle_core::Error::wrap)?;
                Segmenter::Promptable(Box::new(model))
            }
            Architecture::IsNet(cfg) => {
                let net = IsNetPredictor::new(IsNet::new(&cfg.net, vb)?, image_size, dtype, &device);
                match self {
                    Self::SamIsNet => Segmenter::TwoStage(TwoStage::sam_is_net(net, Surroundings::default())),
                    _ => Segmenter::PromptFree(Box::new(net)),
                }
            }
            Architecture::DisSam(cfg) => {
                let net = IsNet::new(&cfg.net, vb)?;
                let two = TwoStage::dis_sam(DisSamRefiner::new(net, image_size, dtype, &device));
                Segmenter::TwoStage(match self {
                    // it has learnt from all candidates, and from the user's boxes
                    Self::DisSamSmall => {
                        two.with_choice(MaskChoice::Best).with_view(View::Near(Surroundings::default()))
                    }
                    _ => two,
                })
            }
            Architecture::Sam2Unet(cfg) => {
                Segmenter::PromptFree(Box::new(DensePredictor::new(Sam2Unet::new(&cfg, vb)?, dtype, &device)))
            }
            Architecture::Sam2Unext(cfg) => {
                Segmenter::PromptFree(Box::new(DensePredictor::new(Sam2Unext::new(&cfg, vb)?, dtype, &device)))
            }
            Architecture::MgdSam2(cfg) => {
                let model = MgdSam2::new(&cfg, vb)?.with_view_order(options.view_order);
                let mut model = MgdSam2Predictor::new(model, image_size, dtype, &device);
                if options.test_time_augmentation {
                    model = model.with_augmentation(TestTimeAugmentation::official());
                }
                Segmenter::PromptFree(Box::new(model))
            }
            Architecture::MpgSam2(_) => {
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

    /// What a checkpoint may have or lack; `said`: whether it says itself what it is made of.
    fn policy(self, made: &Architecture, said: bool) -> LoadPolicy {
        let policy = self.expectation(said);
        match made {
            Architecture::Sam(_) if made.is_mobile() => policy.unused(Sam::MOBILE_SAM_UNUSED),
            Architecture::MgdSam2(cfg) => policy.unused(cfg.unused()),
            Architecture::Sam2(_) => {
                policy.unused(Sam2ImageModel::VIDEO_PREFIXES).optional([Sam2ImageModel::OPTIONAL_PREFIX])
            }
            _ => policy,
        }
    }

    /// Nothing may be missing or in excess: of the published model, or of one that the file says itself and whose sizes are then believed no
    /// further than its tensors bear them out.
    fn expectation(self, said: bool) -> LoadPolicy {
        match said {
            true => LoadPolicy::strict().ends_at_first_misfit(),
            false => LoadPolicy::strict().expect(self.network()),
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

    /// Parts of the official checkpoint that this file has nothing of, and that only video needs.
    fn absent_video_parts(made: &Architecture, checkpoint: &Checkpoint) -> Vec<&'static str> {
        let Architecture::Sam2(cfg) = made else { return Vec::new() };
        let version = cfg.sam2.version;
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
        let checkpoint = Checkpoint::open(path)?;
        let (made, said) = self.made_of(&checkpoint)?;
        let note = self.size_notes(&made);
        if let Architecture::PiSam(cfg) = &made {
            let files = match base {
                Some(sam) => PiSamFiles::two(sam, path),
                None => PiSamFiles::Merged(path.to_path_buf()),
            };
            let (model, mut reports) = pi_sam::load(cfg, &files, options)?;
            if let Some(report) = reports.last_mut() {
                report.notes.extend(note);
            }
            return Ok((Segmenter::Promptable(Box::new(model)), reports));
        }
        let policy = self.policy(&made, said);
        let absent = Self::absent_video_parts(&made, &checkpoint);
        let build = |vb: VarBuilder<'static>| self.build_of(made, options, vb);
        let (model, mut report) = load_strict(&checkpoint, options.dtype, &options.device, &policy, build)?;
        report.notes.extend(note);
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
