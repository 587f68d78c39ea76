//! `mobilesam_*`: MobileSAM whole, or its encoder's pieces.

use super::sam1_model::{check_boxes, input_image, watched_embeddings};
use super::{Result, Run, field, mobilesam_blocks};
use crate::verify::weights::Weights;
use candle_core::{DType, Tensor};
use seg_models::sam::{Sam, SamConfig, SamPredictor};
use seg_models::{MaskCleanup, Point, PromptableSegmenter, Prompts};

/// A case with the whole model lists its keys under this name; one of pieces lists a module for each piece.
const WHOLE: &str = "sam";
/// The official builder reads the checkpoint after the biases were gathered, so that they count as zeros until `eval()` is
/// called once more; the outputs of that state have this prefix.
const STALE: &str = "stale_zero_bias.image_embeddings";

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    if !run.case.modules().any(|m| m == WHOLE) && run.case.modules().next().is_some() {
        return mobilesam_blocks::run(run);
    }
    let (case, device) = (run.case, run.device);
    let config = SamConfig::mobile_sam();
    let weights = Weights::of(case, WHOLE)?;
    let sam = Sam::new(&config, weights.var_builder(device))?;
    weights.check(run.checks, &Sam::MOBILE_SAM_UNUSED);

    let embeddings = watched_embeddings(run, &sam)?;
    check_boxes(run, "box", &sam, &embeddings)?;
    drop(embeddings);

    if !case.inputs["predict points"].is_null() {
        predict(run, sam)?;
    }
    if run.checks.wants(STALE) {
        let weights = Weights::with(case, WHOLE, |rule| rule.zeroed(".attention_biases"))?;
        let sam = Sam::new(&config, weights.var_builder(device))?;
        run.checks.tensor(STALE, &sam.encode_image(input_image(run, &sam)?)?);
    }
    Ok(())
}

/// The predictor on a photo with clicks.
fn predict(run: &mut Run<'_, '_>, sam: Sam) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let photo = run.inputs().photo("input.u8", None)?;
    let coords: Vec<[f32; 2]> = field(case, "inputs.predict points", &case.inputs["predict points"])?;
    let labels: Vec<i64> = field(case, "inputs.predict labels", &case.inputs["predict labels"])?;
    let points = coords.iter().zip(&labels).map(|(&[x, y], &label)| Point { x, y, positive: label == 1 }).collect();

    let predictor = SamPredictor::new(sam, MaskCleanup::default(), DType::F32, device);
    let embedding = predictor.embed(&photo)?;
    run.checks.tensor("predict.features", &embedding.image_embed);
    let prediction = predictor.predict(&embedding, &Prompts { points, multimask: true, ..Prompts::default() })?;
    run.checks.tensor("predict.logits", &prediction.masks);
    run.checks.tensor("predict.low_res", &prediction.low_res_masks);
    let scores = prediction.iou_predictions;
    run.checks.tensor("predict.scores", &Tensor::new(scores.as_slice(), device)?);
    Ok(())
}
