//! `unet_*`: SAM2-UNet, inference and a training step.

use super::sam2_config::hiera_config;
use super::unet_family::{Step, TrainedNet, images, is_training, observed, training};
use super::{Result, Run};
use crate::verify::weights::Weights;
use candle_core::Tensor;
use candle_nn::VarBuilder;
use seg_models::sam2_unet::{Sam2Unet, Sam2UnetConfig};
use seg_train::losses::StructureLoss;
use seg_train::sam2_unet::{Recipe, unet_loss};

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let config = Sam2UnetConfig::on(hiera_config(run.case)?);
    if is_training(run.case) {
        return training(run, &Training(config));
    }
    let weights = Weights::of(run.case, "model")?;
    let net = Sam2Unet::new(&config, weights.var_builder(run.device))?;
    weights.check(run.checks, &[]);
    let images = images(run)?;
    let output = net.forward_with(&images, false, &mut observed(run.checks, "encoder"))?;
    for (name, logits) in [("out", &output.out), ("out1", &output.out1), ("out2", &output.out2)] {
        run.checks.tensor(name, logits);
    }
    Ok(())
}

struct Training(Sam2UnetConfig);

impl TrainedNet for Training {
    type Net = Sam2Unet;

    fn rules(&self) -> seg_checkpoints::ParameterRules {
        Sam2Unet::parameter_rules()
    }

    fn recipe(&self) -> Recipe {
        Recipe::SAM2_UNET
    }

    fn build(&self, vb: VarBuilder<'static>) -> candle_core::Result<Sam2Unet> {
        Sam2Unet::new(&self.0, vb)
    }

    fn step(&self, net: &Sam2Unet, images: &Tensor, mask: &Tensor, train: bool) -> Result<Step> {
        let output = net.forward_t(images, train)?;
        let terms = unet_loss(StructureLoss::default(), &output, mask)?;
        let parts = terms.outputs.into_iter().enumerate().map(|(i, loss)| (format!("loss{i}"), loss));
        Ok(Step { out: output.out, parts: parts.collect(), loss: terms.total })
    }
}
