//! Pi-SAM from files, as the authors save it or merged into one.

use std::path::{Path, PathBuf};

use candle_nn::VarBuilder;
use seg_checkpoints::{Checkpoint, LoadPolicy, LoadReport, load_strict};

use super::base::Difference;
use super::config::PiSamConfig;
use super::encoder::PiSamEncoder;
use super::model::PiSamMaskDecoder;
use super::predictor::PiSamPredictor;
use crate::error::Result;
use crate::registry::LoadOptions;
use crate::sam::{Sam, SamEncoderConfig};

/// Pi-SAM's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PiSamSize {
    /// On SAM's ViT-B.
    B,
    /// On SAM's ViT-L.
    L,
    /// On SAM's ViT-H.
    H,
    /// On MobileSAM's TinyViT.
    Mobile,
}

impl PiSamSize {
    /// The sizes of its parts.
    pub fn config(self) -> PiSamConfig {
        match self {
            Self::B => PiSamConfig::vit_b(),
            Self::L => PiSamConfig::vit_l(),
            Self::H => PiSamConfig::vit_h(),
            Self::Mobile => PiSamConfig::mobile(),
        }
    }
}

/// Where Pi-SAM's weights are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PiSamFiles {
    /// SAM's own file, and the decoder that the authors saved.
    Two {
        /// `sam_vit_b_01ec64.pth` and its like. It may also hold `rgb_embed`, which then wins over the seed.
        sam: PathBuf,
        /// The decoder's state dict, without prefix. What it has from SAM (`transformer`, `iou_token`, `mask_tokens`, `output_upscaling`) may be left out:
        /// then SAM's file gives it. `rgb_embed` may be here, too.
        decoder: PathBuf,
    },
    /// Both state dicts in one file, the decoder's keys without prefix.
    Merged(PathBuf),
}

impl PiSamFiles {
    /// SAM's file and the decoder's.
    pub fn two(sam: impl AsRef<Path>, decoder: impl AsRef<Path>) -> Self {
        Self::Two { sam: sam.as_ref().to_path_buf(), decoder: decoder.as_ref().to_path_buf() }
    }
}

/// Keys that tell whether a decoder has its Precise Interactor, and whether a file has the pixel embedding.
const INTERACTOR_KEY: &str = "interact_2.out_cov.weight";
const RGB_KEY: &str = "rgb_embed.0.weight";

/// Loads Pi-SAM, strictly; the reports, one a file, say what a file has too much or too little of, and where the pixel embedding comes from. A decoder that
/// was saved without its Precise Interactor loads too, and then refuses clicks.
///
/// # Errors
/// A file that cannot be read, or that is not of this model and size.
pub fn load(cfg: &PiSamConfig, files: &PiSamFiles, options: &LoadOptions) -> Result<(PiSamPredictor, Vec<LoadReport>)> {
    let (dtype, device) = (options.dtype, &options.device);
    let fitting = |file: &Checkpoint| {
        let cfg = cfg.clone();
        if file.get(INTERACTOR_KEY).is_some() { cfg } else { cfg.without_interactor() }
    };
    let note = |report: &mut LoadReport, file: &Checkpoint| {
        if file.get(RGB_KEY).is_none() {
            let seed = cfg.rgb_embed_seed;
            report.notes.push(format!("no rgb_embed in the file: made from torch's seed {seed}"));
        }
    };
    // MobileSAM's file has a classifier, too
    let of_encoder = match cfg.image_encoder {
        SamEncoderConfig::TinyVit(_) => {
            LoadPolicy::strict().unused(PiSamEncoder::UNUSED).unused(Sam::MOBILE_SAM_UNUSED)
        }
        SamEncoderConfig::Vit(_) => LoadPolicy::strict().unused(PiSamEncoder::UNUSED),
    };
    let (encoder, decoder, reports) = match files {
        PiSamFiles::Two { sam, decoder } => {
            let (sam, decoder) = (Checkpoint::open(sam)?, Checkpoint::open(decoder)?);
            // pixels may be embedded by what stands beside the decoder
            let embedded = if decoder.get(RGB_KEY).is_some() { &decoder } else { &sam };
            let build = |vb: VarBuilder<'static>| {
                let rgb = embedded.var_builder(dtype, device);
                PiSamEncoder::with_pixels(cfg, vb, rgb)
            };
            let (encoder, mut of_sam) = load_strict(&sam, dtype, device, &of_encoder.unused(["rgb_embed."]), build)?;
            note(&mut of_sam, embedded);
            let policy = LoadPolicy::strict().unused(PiSamMaskDecoder::UNUSED).unused(["rgb_embed."]);
            let build = |vb: VarBuilder<'static>| {
                let on_sam = Difference { sam, decoder: decoder.clone() };
                PiSamMaskDecoder::new(&fitting(&decoder), on_sam.var_builder(vb, dtype, device))
            };
            let (decoder, of_decoder) = load_strict(&decoder, dtype, device, &policy, build)?;
            (encoder, decoder, vec![of_sam, of_decoder])
        }
        PiSamFiles::Merged(path) => {
            let file = Checkpoint::open(path)?;
            let policy = of_encoder.unused(PiSamMaskDecoder::UNUSED);
            let build = |vb: VarBuilder<'static>| {
                Ok((PiSamEncoder::new(cfg, vb.clone())?, PiSamMaskDecoder::new(&fitting(&file), vb)?))
            };
            let ((encoder, decoder), mut report) = load_strict(&file, dtype, device, &policy, build)?;
            note(&mut report, &file);
            (encoder, decoder, vec![report])
        }
    };
    Ok((PiSamPredictor::new(encoder, decoder, dtype, device)?, reports))
}
