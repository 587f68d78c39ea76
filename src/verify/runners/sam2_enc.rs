//! `sam2_enc`: SAM 2's image encoder with all its intermediate maps.

use super::sam2_config::hiera_config;
use super::{Result, Run, field};
use crate::verify::weights::Weights;
use hiera_encoder::{ImageEncoder, ImageEncoderConfig};

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let config = encoder_config(run)?;
    let weights = Weights::of(run.case, "model")?;
    let prefix: String = field(run.case, "config.fill_prefix", &run.case.config["fill_prefix"])?;
    let vb = weights.var_builder(run.device).pp(prefix.trim_end_matches('.'));
    let encoder = ImageEncoder::new(&config, vb)?;
    weights.check(run.checks, &[]);
    let (h, w) = run.inputs().size("input.image")?;
    let image = run.inputs().tensor("input.image", |p| p.image(h, w, run.device))?;
    encoder.forward_with(image, &(), &mut |name: &str, tensor: &_| {
        run.checks.tensor(name, tensor);
        Ok(())
    })?;
    Ok(())
}

/// The sizes in `config`.
fn encoder_config(run: &Run<'_, '_>) -> Result<ImageEncoderConfig> {
    let config = &run.case.config;
    Ok(ImageEncoderConfig {
        trunk: hiera_config(run.case)?,
        d_model: field(run.case, "config.d_model", &config["d_model"])?,
        fpn_top_down_levels: field(run.case, "config.fpn_top_down_levels", &config["fpn_top_down_levels"])?,
        fpn_interp: field(run.case, "config.fpn_interp", &config["fpn_interp"])?,
        scalp: field(run.case, "config.scalp", &config["scalp"])?,
    })
}
