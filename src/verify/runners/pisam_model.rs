//! `pisam_toy` and `pisam_vit_*`: Pi-SAM whole, with and without clicks.

use super::{Result, Run, boxes, field};
use crate::verify::weights::Weights;
use candle_core::{D, DType, Tensor};
use detail_refine::Clicks;
use seg_golden::Pattern;
use seg_layers::Unobserved;
use seg_models::normalize::{SAM_MEAN, SAM_STD, normalize};
use seg_models::pi_sam::{PiSamConfig, PiSamEncoder, PiSamFeatures, PiSamMaskDecoder};
use seg_ops::Resize;
use serde::Deserialize;
use vit_encoder::SamVitConfig;

/// `config` of a toy.
#[derive(Debug, Deserialize)]
pub(super) struct Toy {
    pub(super) img: usize,
    dim: usize,
    depth: usize,
    heads: usize,
    window: usize,
    glob: Vec<usize>,
    #[serde(default = "sixteen")]
    patch: usize,
    #[serde(default = "channels")]
    out_chans: usize,
}

fn sixteen() -> usize {
    16
}

fn channels() -> usize {
    256
}

/// `inputs.clicks`: (x, y) in 0..1.
#[derive(Debug, Default, Deserialize)]
struct GivenClicks {
    #[serde(default)]
    fg: Vec<Vec<[f32; 2]>>,
    #[serde(default)]
    bg: Vec<Vec<[f32; 2]>>,
}

/// The configuration that a case describes: a toy's sizes, or the name of a ViT.
pub(super) fn config(run: &Run<'_, '_>) -> Result<PiSamConfig> {
    let case = run.case;
    if case.config.is_object() {
        let toy: Toy = field(case, "config", &case.config)?;
        return Ok(PiSamConfig::with_encoder(SamVitConfig {
            image_size: toy.img,
            patch_size: toy.patch,
            embed_dim: toy.dim,
            depth: toy.depth,
            num_heads: toy.heads,
            window_size: toy.window,
            global_attn_indexes: toy.glob,
            out_channels: toy.out_chans,
            ..SamVitConfig::vit_b()
        }));
    }
    // the name is in the case's own and in the description
    let text = format!("{} {}", case.name, case.config);
    let sizes =
        [("vit_b", PiSamConfig::vit_b as fn() -> _), ("vit_l", PiSamConfig::vit_l), ("vit_h", PiSamConfig::vit_h)];
    match sizes.into_iter().find(|(name, _)| text.contains(name)) {
        Some((_, config)) => Ok(config()),
        None => Err(case.field_error("config", "expected the sizes of a toy, or vit_b, vit_l or vit_h").into()),
    }
}

/// The normalised images of a batch, each of its own name.
pub(super) fn images(run: &Run<'_, '_>, batch: usize, size: usize) -> Result<Tensor> {
    let make = |index: usize| -> Result<Tensor> {
        let name = format!("input.image{index}");
        match run.case.stored_input(&name, run.device) {
            Some(stored) => Ok(stored?.reshape((1, 3, size, size))?),
            None => Ok(Pattern::salted(&run.case.salt, &name).image_255(size, size, run.device)?),
        }
    };
    let images = (0..batch).map(make).collect::<Result<Vec<_>>>()?;
    Ok(normalize(&Tensor::cat(&images, 0)?, SAM_MEAN, SAM_STD)?)
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let cfg = config(run)?;
    let corners: Vec<[f32; 4]> = field(case, "inputs.boxes", &case.inputs["boxes"])?;
    let given: GivenClicks = match &case.inputs["clicks"] {
        clicks if clicks.is_object() => field(case, "inputs.clicks", clicks)?,
        _ => GivenClicks::default(),
    };

    let encoder_weights = Weights::of(case, "encoder")?;
    let encoder = PiSamEncoder::new(&cfg, encoder_weights.var_builder(device))?;
    encoder_weights.check(run.checks, &[]);
    let decoder_weights = Weights::of(case, "decoder")?;
    let decoder = PiSamMaskDecoder::new(&cfg, decoder_weights.var_builder(device))?;
    decoder_weights.check(run.checks, &PiSamMaskDecoder::UNUSED);

    let input = images(run, corners.len(), cfg.image_size())?;
    let checks = &mut *run.checks;
    let features = encoder.forward(&input, &mut |name: &str, t: &Tensor| {
        checks.tensor(name, t);
        Ok(())
    })?;
    drop(input);
    let image_pe = encoder.prompt_encoder().dense_pe()?;
    checks.tensor("image_pe", &image_pe);
    let prompts = encoder.prompt_encoder().forward(None, Some(&boxes(&corners, device)?), None)?;
    checks.tensor("sparse", &prompts.sparse_prompt_embeddings);
    checks.tensor("dense", &prompts.dense_prompt_embeddings);
    drop(encoder);

    let mut seen = |name: &str, t: &Tensor| {
        checks.tensor(&format!("plain.{name}"), t);
        Ok(())
    };
    let plain = decoder.forward(&features, &image_pe, &prompts, None, &mut seen)?;
    checks.tensor("plain.pred_masks", &plain.masks);
    checks.tensor("plain.pred_masks_large", &plain.masks_large);
    if !case.inputs["original_out_size"].is_null() {
        let size: (usize, usize) = field(case, "inputs.original_out_size", &case.inputs["original_out_size"])?;
        let resized = seg_ops::resize(&plain.masks_large.narrow(0, 0, 1)?, size, &Resize::bilinear())?;
        let resized = resized.reshape(size)?;
        checks.tensor("plain.resized_logit", &resized);
        let area = resized.gt(0f64)?.to_dtype(DType::F32)?.flatten_all()?.sum(D::Minus1)?;
        checks.tensor("plain.resized_area", &area.reshape(1)?);
    }
    // what the observer changes in the way of computing must not show
    let again = decoder.forward(&features, &image_pe, &prompts, None, &mut Unobserved)?;
    checks.tensor("plain.pred_masks_large", &again.masks_large);
    drop((plain, again));

    // clicks are for the first image
    let points = |lists: &[Vec<[f32; 2]>], foreground: bool| -> Vec<(f32, f32, bool)> {
        lists.first().into_iter().flatten().map(|&[x, y]| (x, y, foreground)).collect()
    };
    let points = [points(&given.fg, true), points(&given.bg, false)].concat();
    if !points.is_empty() {
        let first = PiSamFeatures {
            image_embeddings: features.image_embeddings.narrow(0, 0, 1)?,
            vit_features: features.vit_features.narrow(0, 0, 1)?,
            rgb_embedding: features.rgb_embedding.narrow(0, 0, 1)?,
        };
        drop(features);
        let prompts = encoder_prompts_of_first(&prompts)?;
        let clicks = Clicks::single(&points, device)?;
        let mut seen = |name: &str, t: &Tensor| {
            checks.tensor(&format!("click.{name}"), t);
            Ok(())
        };
        let clicked = decoder.forward(&first, &image_pe, &prompts, Some(&clicks), &mut seen)?;
        checks.tensor("click.pred_masks", &clicked.masks);
        checks.tensor("click.pred_masks_large", &clicked.masks_large);
    }
    Ok(())
}

fn encoder_prompts_of_first(prompts: &hr_decoders::PromptEmbeddings) -> Result<hr_decoders::PromptEmbeddings> {
    Ok(hr_decoders::PromptEmbeddings {
        sparse_prompt_embeddings: prompts.sparse_prompt_embeddings.narrow(0, 0, 1)?,
        dense_prompt_embeddings: prompts.dense_prompt_embeddings.narrow(0, 0, 1)?,
    })
}
