//! `unext_*`: SAM2-UNeXT, inference and a training step.

use super::sam2_config::hiera_config;
use super::unet_family::{Step, TrainedNet, images, is_training, observed, training};
use super::{Result, Run, field};
use crate::verify::weights::Weights;
use candle_core::Tensor;
use candle_nn::VarBuilder;
use seg_golden::Case;
use seg_models::sam2_unext::{Sam2Unext, Sam2UnextConfig};
use seg_train::losses::StructureLoss;
use seg_train::sam2_unet::Recipe;
use serde::Deserialize;
use vit_encoder::DinoV2Config;

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let config = config(run.case)?;
    if is_training(run.case) {
        return training(run, &Training(config));
    }
    let weights = Weights::of(run.case, "model")?;
    let net = Sam2Unext::new(&config, weights.var_builder(run.device))?;
    weights.check(run.checks, &[]);
    let images = images(run)?;
    let out = net.forward_with(&images, false, &mut observed(run.checks, "sam"))?;
    run.checks.tensor("out", &out);
    Ok(())
}

/// What a toy case says of DINOv2. `init_values` is where timm's layer scale starts; the fill rule overwrites it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dino {
    embed_dim: usize,
    depth: usize,
    num_heads: usize,
    patch_size: usize,
    #[serde(rename = "init_values")]
    _init_values: f64,
}

fn config(case: &Case) -> Result<Sam2UnextConfig> {
    const FIELD: &str = "config.dino";
    let (trunk, dino) = (hiera_config(case)?, &case.config["dino"]);
    if let Some(name) = dino.as_str() {
        let known = [
            ("vit_small_patch14_dinov2", DinoV2Config::vit_s()),
            ("vit_base_patch14_dinov2", DinoV2Config::vit_b()),
            ("vit_large_patch14_dinov2", DinoV2Config::vit_l()),
            ("vit_giant_patch14_dinov2", DinoV2Config::vit_g()),
        ];
        let (model, size) = name.split_once('@').map_or((name, None), |(model, size)| (model, Some(size)));
        let wrong = || case.field_error(FIELD, format!("{name:?}, expected such as \"{} @448\"", known[2].0));
        let (_, dino) = known.iter().find(|(known, _)| *known == model.trim()).ok_or_else(wrong)?;
        let mut config = Sam2UnextConfig::on(trunk, dino.clone());
        if let Some(size) = size {
            config.dino.image_size = size.trim().parse().map_err(|_| wrong())?;
        }
        return Ok(config);
    }
    let Dino { embed_dim, depth, num_heads, patch_size, .. } = field(case, FIELD, dino)?;
    let mut config =
        Sam2UnextConfig::on(trunk, DinoV2Config { embed_dim, depth, num_heads, patch_size, ..DinoV2Config::vit_l() });
    config.dino.image_size = field(case, "config.dino_size", &case.config["dino_size"])?;
    config.channels = field(case, "config.width", &case.config["width"])?;
    Ok(config)
}

struct Training(Sam2UnextConfig);

impl TrainedNet for Training {
    type Net = Sam2Unext;

    fn rules(&self) -> seg_checkpoints::ParameterRules {
        Sam2Unext::parameter_rules()
    }

    fn recipe(&self) -> Recipe {
        Recipe::SAM2_UNEXT
    }

    fn build(&self, vb: VarBuilder<'static>) -> candle_core::Result<Sam2Unext> {
        Sam2Unext::new(&self.0, vb)
    }

    fn step(&self, net: &Sam2Unext, images: &Tensor, mask: &Tensor, train: bool) -> Result<Step> {
        let out = net.forward_t(images, train)?;
        let loss = StructureLoss::default().forward(&out, mask)?;
        Ok(Step { out, parts: Vec::new(), loss })
    }
}
