//! The runners: one a kind of case.

mod beit3;
mod dissam_pipeline;
mod dissam_swd_optim;
mod dissam_train;
mod isnet;
mod mgd;
mod mgd_metrics;
mod mgd_train;
mod mobilesam;
mod mobilesam_blocks;
mod mpg;
mod mpg_jf;
mod mpg_losses;
mod mpg_preproc;
mod mpg_spm_toy;
mod mpg_train;
mod pisam_clicksim;
mod pisam_deform;
mod pisam_losses;
mod pisam_metrics;
mod pisam_model;
mod pisam_rgb_embed_seed;
mod pisam_train_toy;
mod prompts;
mod sam1_decoder;
mod sam1_model;
mod sam1_predict;
mod sam1_prepost;
mod sam1_toy;
mod sam1_vit;
mod sam2_config;
mod sam2_enc;
mod sam2_img;
mod sam2_interp;
mod sam2_mem_unit;
mod sam2_train_loss;
mod sam2_video;
mod unet;
mod unet_family;
mod unext;

use super::error::VerifyError;
use super::inputs::{Inputs, field, fill_spec, labels_shape, scalar};
use candle_core::Device;
use prompts::{boxes, points};
use seg_golden::{Case, Checker};

type Result<T> = std::result::Result<T, VerifyError>;

/// What a runner works with.
pub(super) struct Run<'r, 'c> {
    pub(super) case: &'c Case,
    pub(super) device: &'r Device,
    pub(super) checks: &'r mut Checker<'c>,
}

impl<'c> Run<'_, 'c> {
    fn inputs(&self) -> Inputs<'_> {
        Inputs { case: self.case, device: self.device }
    }
}

type Runner = fn(&mut Run<'_, '_>) -> Result<()>;

/// Kind and runner. A case takes the longest kind that its name begins with.
const RUNNERS: &[(&str, Runner)] = &[
    ("beit3", beit3::run),
    ("dissam", isnet::run),
    ("dissam_pipeline", dissam_pipeline::run),
    ("dissam_swd_optim", dissam_swd_optim::run),
    ("dissam_train", dissam_train::run),
    ("isnet", isnet::run),
    ("isnet_gtencoder", isnet::gt_encoder),
    ("isnet_rsu_blocks", isnet::blocks),
    ("mgd", mgd::run),
    ("mgd_metrics", mgd_metrics::run),
    ("mobilesam", mobilesam::run),
    ("mpg_jf", mpg_jf::run),
    ("mpg_large", mpg::run),
    ("mpg_losses", mpg_losses::run),
    ("mpg_preproc", mpg_preproc::run),
    ("mpg_spm_toy", mpg_spm_toy::run),
    ("mpg_tiny", mpg::run),
    ("mpg_toy", mpg::run),
    ("mpg_toy_train", mpg_train::run),
    ("pisam_clicksim", pisam_clicksim::run),
    ("pisam_deform", pisam_deform::run),
    ("pisam_losses", pisam_losses::run),
    ("pisam_metrics", pisam_metrics::run),
    ("pisam_rgb_embed_seed", pisam_rgb_embed_seed::run),
    ("pisam_toy", pisam_model::run),
    ("pisam_train_toy", pisam_train_toy::run),
    ("pisam_vit", pisam_model::run),
    ("sam1_decoder", sam1_decoder::run),
    ("sam1_inputs", |run| Ok(seg_golden::check_generators(run.checks)?)),
    ("sam1_predict", sam1_predict::run),
    ("sam1_prepost", sam1_prepost::run),
    ("sam1_toy", sam1_toy::run),
    ("sam1_vit", sam1_vit::run),
    ("sam2_enc", sam2_enc::run),
    ("sam2_img", sam2_img::run),
    ("sam2_interp_unit", sam2_interp::run),
    ("sam2_mem_unit", sam2_mem_unit::run),
    ("sam2_train_loss", sam2_train_loss::run),
    ("sam2_video", sam2_video::run),
    ("unet", unet::run),
    ("unext", unext::run),
];

/// The runner of a case called `name`.
pub(super) fn find(name: &str) -> Option<Runner> {
    let fits = |kind: &str| name.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
    RUNNERS.iter().filter(|(kind, _)| fits(kind)).max_by_key(|(kind, _)| kind.len()).map(|(_, run)| *run)
}

/// The kinds that have a runner.
pub(super) fn kinds() -> Vec<&'static str> {
    RUNNERS.iter().map(|(kind, _)| *kind).collect()
}
