//! `beit3`: BEiT-3's encoder with all intermediate tensors; images alone and text alone.

use super::sam1_model::Watch;
use super::{Result, Run, field};
use crate::verify::weights::Weights;
use beit3_encoder::{Beit3, Beit3Config, TextTokens, Tokenizer};
use candle_core::Tensor;
use serde::Deserialize;

/// torchscale's names of the sizes.
#[derive(Deserialize)]
struct EncoderConfig {
    encoder_embed_dim: usize,
    encoder_attention_heads: usize,
    encoder_ffn_embed_dim: usize,
    encoder_layers: usize,
    max_source_positions: usize,
    vocab_size: usize,
    img_size: usize,
    patch_size: usize,
    layernorm_eps: f64,
}

impl From<EncoderConfig> for Beit3Config {
    fn from(cfg: EncoderConfig) -> Self {
        Self {
            image_size: cfg.img_size,
            patch_size: cfg.patch_size,
            embed_dim: cfg.encoder_embed_dim,
            depth: cfg.encoder_layers,
            num_heads: cfg.encoder_attention_heads,
            ffn_dim: cfg.encoder_ffn_embed_dim,
            vocab_size: cfg.vocab_size,
            max_text_positions: cfg.max_source_positions,
            layer_norm_eps: cfg.layernorm_eps,
        }
    }
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let case = run.case;
    let cfg: EncoderConfig = field(case, "config.encoder_config", &case.config["encoder_config"])?;
    let cfg = Beit3Config::from(cfg);
    let weights = Weights::of(case, "model")?;
    let encoder = Beit3::new(&cfg, weights.var_builder(run.device))?;
    weights.check(run.checks, &Beit3::UNUSED);

    let rows: Vec<Vec<u32>> = field(case, "values.token_ids_padded", &case.values["token_ids_padded"])?;
    let text = TextTokens::padded(&rows, Tokenizer::UNK, run.device)?;
    check_padding(run, &text)?;
    let images = (0..rows.len()).map(|i| image(run, i)).collect::<Result<Vec<_>>>()?;
    let images = Tensor::cat(&images, 0)?;
    encoder.forward_observed(&images, &text, &mut Watch(run.checks))?;
    if run.checks.wants("vision_only.encoder_out") {
        run.checks.tensor("vision_only.encoder_out", &encoder.encode_images(&images)?);
    }
    if run.checks.wants("text_only.encoder_out") {
        run.checks.tensor("text_only.encoder_out", &encoder.encode_text(&text)?);
    }
    Ok(())
}

/// Frame `index` of the film of which the images are, moved as the JSON says.
fn image(run: &Run<'_, '_>, index: usize) -> Result<Tensor> {
    let name = format!("input.beit_frame{index}");
    let (h, w) = run.inputs().size(&name)?;
    let shift: f64 = field(run.case, &format!("inputs.{name}.shift"), &run.case.inputs[&name]["shift"])?;
    run.inputs().tensor(&name, |pattern| pattern.clone().shifted(shift).image(h, w, run.device))
}

fn check_padding(run: &mut Run<'_, '_>, text: &TextTokens) -> Result<()> {
    const FIELD: &str = "padding_mask(1=masked)";
    let expected: Vec<Vec<u8>> = field(run.case, &format!("values.{FIELD}"), &run.case.values[FIELD])?;
    let (b, l) = text.dims();
    let found = text.padding().map_or(Ok(vec![vec![0; l]; b]), Tensor::to_vec2)?;
    run.checks.fact("padding mask", found == expected, format!("{found:?}, expected {expected:?}"));
    Ok(())
}
