//! `sam1_decoder`: SAM's prompt encoder and mask decoder on generated image embeddings.

use super::{Result, Run, boxes, field, points};
use crate::verify::weights::Weights;
use candle_core::{D, Tensor};
use hr_decoders::{MaskDecoder, MaskDecoderConfig, PromptEncoder, PromptEncoderConfig};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A prompt of `inputs.prompts`, in pixels of the network's input.
#[derive(Debug, Deserialize)]
struct Prompt {
    points: Option<Vec<Vec<[f32; 2]>>>,
    labels: Option<Vec<Vec<i64>>>,
    boxes: Option<Vec<[f32; 4]>>,
    #[serde(default)]
    mask: bool,
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let embeddings = run.inputs().described("input.image_embeddings")?; // [1, 256, 64, 64]
    let image_size = 16 * embeddings.dim(D::Minus1)?;
    let weights = Weights::of(case, "sam_without_encoder")?;
    let vb = weights.var_builder(device);
    let prompt_encoder = PromptEncoder::new(&PromptEncoderConfig::new(image_size), vb.pp("prompt_encoder"))?;
    let mask_decoder = MaskDecoder::new(&MaskDecoderConfig::sam(), vb.pp("mask_decoder"))?;
    weights.check(run.checks, &[]);

    let image_pe = prompt_encoder.dense_pe()?;
    run.checks.tensor("dense_pe", &image_pe);
    let prompts: BTreeMap<String, Prompt> = field(case, "inputs.prompts", &case.inputs["prompts"])?;
    let mask = match prompts.values().any(|p| p.mask) {
        true => Some(run.inputs().described("input.mask_prompt")?),
        false => None,
    };
    for (name, prompt) in &prompts {
        let clicks = match (&prompt.points, &prompt.labels) {
            (Some(coords), Some(labels)) => Some(points(coords, labels, device)?),
            _ => None,
        };
        let corners = prompt.boxes.as_deref().map(|b| boxes(b, device)).transpose()?;
        let embedded =
            prompt_encoder.forward(clicks.as_ref(), corners.as_ref(), mask.as_ref().filter(|_| prompt.mask))?;
        let decoded = mask_decoder.predict_masks(&embeddings, &image_pe, &embedded, None)?;
        let mut check = |what: &str, tensor: &Tensor| run.checks.tensor(&format!("{name}.{what}"), tensor);
        check("sparse", &embedded.sparse_prompt_embeddings);
        check("dense", &embedded.dense_prompt_embeddings);
        check("hs", &decoded.tokens);
        check("src", &decoded.image_tokens);
        check("upscaled", &decoded.upscaled_embedding);
        for (kind, multimask) in [("multi", true), ("single", false)] {
            let chosen = mask_decoder.select(&decoded, multimask)?;
            check(&format!("masks.{kind}"), &chosen.masks);
            check(&format!("iou.{kind}"), &chosen.iou_predictions);
        }
    }
    Ok(())
}
