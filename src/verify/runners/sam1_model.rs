//! What the cases of SAM whole have in common: its sizes by name, its encoder under observation, prompts in the frame of
//! the network's input.

use super::{Result, Run, boxes, field, points};
use candle_core::Tensor;
use hr_decoders::{MaskDecoder, PromptEncoder};
use seg_golden::{Case, Checker};
use seg_layers::Observer;
use seg_models::sam::{Sam, SamConfig};
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

/// The sizes that `config`, such as `vit_b` or `vit_b, SamPredictor`, names.
pub(super) fn named_config(case: &Case) -> Result<SamConfig> {
    let text: String = field(case, "config", &case.config)?;
    match text.split(',').next().unwrap_or_default().trim() {
        "vit_b" => Ok(SamConfig::vit_b()),
        "vit_l" => Ok(SamConfig::vit_l()),
        "vit_h" => Ok(SamConfig::vit_h()),
        "vit_t" => Ok(SamConfig::mobile_sam()),
        other => {
            let problem = format!("{other:?}, expected vit_b, vit_l, vit_h or vit_t");
            Err(case.field_error("config", problem).into())
        }
    }
}

/// Checks what it is shown, and wants what the case stores.
pub(super) struct Watch<'w, 'c>(pub(super) &'w mut Checker<'c>);

impl Observer for Watch<'_, '_> {
    fn observe(&mut self, name: &str, tensor: &Tensor) -> candle_core::Result<()> {
        self.0.tensor(name, tensor);
        Ok(())
    }

    fn wants(&self, name: &str) -> bool {
        self.0.wants(name)
    }
}

/// `input.image`, normalised.
pub(super) fn input_image(run: &Run<'_, '_>, sam: &Sam) -> Result<Tensor> {
    let (h, w) = run.inputs().size_or("input.image", (sam.image_size(), sam.image_size()))?;
    run.inputs().tensor("input.image", |p| p.sam_image(h, w, run.device))
}

/// The embeddings of `input.image`, every stored map on the way checked.
pub(super) fn watched_embeddings(run: &mut Run<'_, '_>, sam: &Sam) -> Result<Tensor> {
    let image = input_image(run, sam)?;
    Ok(sam.image_encoder().forward_with(image, &mut Watch(run.checks))?)
}

/// The masks of the boxes `inputs.<name>`, if the case has any.
pub(super) fn check_boxes(run: &mut Run<'_, '_>, name: &str, sam: &Sam, embeddings: &Tensor) -> Result<()> {
    let value = &run.case.inputs[name];
    if value.is_null() {
        return Ok(());
    }
    let corners: Vec<[f32; 4]> = field(run.case, &format!("inputs.{name}"), value)?;
    let prompts = sam.prompt_encoder().forward(None, Some(&boxes(&corners, run.device)?), None)?;
    for (kind, multimask) in [("multi", true), ("single", false)] {
        let output = sam.decode(embeddings, &prompts, multimask)?;
        run.checks.tensor(&format!("box.masks.{kind}"), &output.masks);
        run.checks.tensor(&format!("box.iou.{kind}"), &output.iou_predictions);
    }
    Ok(())
}

/// Everything that the decoder makes of each of `inputs.prompts`.
pub(super) fn check_prompts(
    run: &mut Run<'_, '_>,
    prompt_encoder: &PromptEncoder,
    mask_decoder: &MaskDecoder,
    embeddings: &Tensor,
) -> Result<()> {
    let (case, device) = (run.case, run.device);
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
        let decoded = mask_decoder.predict_masks(embeddings, &image_pe, &embedded, None)?;
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
