//! `sam2_img`: SAM 2 on one image, from the encoder to the predictor.

use super::sam2_config::sam2_video_config;
use super::{Result, Run, boxes, field, points};
use crate::verify::weights::Weights;
use candle_core::{DType, Tensor};
use seg_models::sam2::video::Sam2VideoModel;
use seg_models::sam2::{ObjectPointerHead, Sam2ImageFeatures, Sam2ImageModel, Sam2ImagePredictor, SamHeadsOutput};
use seg_models::{MaskCleanup, MaskPrompt, Point, PromptableSegmenter, Prompts};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The prompt that the heads are run on, and the one whose two points are also given as a box.
const HEADS_PROMPT: &str = "A_point_multi";
const BOX_PROMPT: &str = "C_box_single";

/// A prompt of `values.prompts`, in pixels of the network's input.
#[derive(Debug, Deserialize)]
struct Prompt {
    coords: Option<Vec<Vec<[f32; 2]>>>,
    labels: Option<Vec<Vec<i64>>>,
    #[serde(default)]
    mask: bool,
    #[serde(default)]
    multimask_output: bool,
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let config = sam2_video_config(run)?;
    let weights = Weights::of(case, "model")?;
    let whole = Sam2VideoModel::new(&config, weights.var_builder(device))?;
    weights.check(run.checks, &[]);
    let (model, heads) = (whole.image_model().clone(), whole.heads());

    let size = config.sam2.image_size;
    let (h, w) = run.inputs().size_or("input.image", (size, size))?;
    let image = run.inputs().tensor("input.image", |p| p.image(h, w, device))?;
    let features = model.encode_image(image)?;
    run.checks.tensor("high_res_s0", &features.high_res_features[0]);
    run.checks.tensor("high_res_s1", &features.high_res_features[1]);
    run.checks.tensor("image_embed", &features.image_embed);

    let prompts: BTreeMap<String, Prompt> = match &case.values["prompts"] {
        Value::Null => BTreeMap::new(),
        prompts => field(case, "values.prompts", prompts)?,
    };
    decode_prompts(run, &model, &features, &prompts)?;
    run_heads(run, &model, heads, &features, &prompts)?;
    drop(features);
    if case.values["predictor"].is_object() {
        predict(run, Sam2ImagePredictor::new(model, MaskCleanup::default(), DType::F32, device))?;
    }
    Ok(())
}

/// Prompt encoder and mask decoder on each prompt.
fn decode_prompts(
    run: &mut Run<'_, '_>,
    model: &Sam2ImageModel,
    features: &Sam2ImageFeatures,
    prompts: &BTreeMap<String, Prompt>,
) -> Result<()> {
    let device = run.device;
    let image_pe = model.prompt_encoder().dense_pe()?;
    run.checks.tensor("dense_pe", &image_pe);
    let (h, w) = run.inputs().size_or("input.mask", model.prompt_encoder().config().mask_input_size())?;
    let mask = run.inputs().tensor("input.mask", |p| p.mask_logits(h, w, device))?;
    for (name, prompt) in prompts {
        let clicks = prompt.clicks(run)?;
        let embedded = model.prompt_encoder().forward(clicks.as_ref(), None, prompt.mask.then_some(&mask))?;
        let high_res = Some(&features.high_res_features);
        let decoder = model.mask_decoder();
        let decoded = decoder.predict_masks(&features.image_embed, &image_pe, &embedded, high_res)?;
        let chosen = decoder.select(&decoded, prompt.multimask_output)?;
        let mut check = |what: &str, tensor: &Tensor| run.checks.tensor(&format!("{name}.{what}"), tensor);
        check("sparse", &embedded.sparse_prompt_embeddings);
        check("dense", &embedded.dense_prompt_embeddings);
        check("all4_masks", &decoded.masks);
        check("all4_iou", &decoded.iou_predictions);
        check("mask_tokens_out", &decoded.mask_tokens);
        check("object_score_logits", &decoded.object_score_logits);
        check("low_res_masks", &chosen.masks);
        check("iou", &chosen.iou_predictions);
        check("sam_tokens_out", &chosen.sam_tokens);
    }
    let corners = prompts.get(BOX_PROMPT).and_then(|p| p.coords.as_ref()).map(|c| c.concat());
    if let Some([[x0, y0], [x1, y1]]) = corners.as_deref() {
        let corners = boxes(&[[*x0, *y0, *x1, *y1]], device)?;
        let embedded = model.prompt_encoder().forward(None, Some(&corners), None)?;
        run.checks.tensor("I_boxes_arg.sparse", &embedded.sparse_prompt_embeddings);
    }
    Ok(())
}

impl Prompt {
    fn clicks(&self, run: &Run<'_, '_>) -> Result<Option<hr_decoders::PointPrompts>> {
        match (&self.coords, &self.labels) {
            (Some(coords), Some(labels)) => Ok(Some(points(coords, labels, run.device)?)),
            _ => Ok(None),
        }
    }
}

/// The heads that video builds on: masks gated by the object score, pointers, and a mask taken as the answer.
fn run_heads(
    run: &mut Run<'_, '_>,
    model: &Sam2ImageModel,
    heads: &ObjectPointerHead,
    features: &Sam2ImageFeatures,
    prompts: &BTreeMap<String, Prompt>,
) -> Result<()> {
    let (embed, high_res) = (&features.image_embed, &features.high_res_features);
    if let Some(prompt) = prompts.get(HEADS_PROMPT) {
        let clicks = prompt.clicks(run)?;
        let multimask = prompt.multimask_output;
        check_heads(run, "heads", &heads.forward_sam_heads(model, embed, high_res, clicks.as_ref(), None, multimask)?);
    }
    let (h, w) = run.inputs().size_or("input.mask_full", (model.image_size(), model.image_size()))?;
    let mask = run.inputs().tensor("input.mask_full", |p| p.mask(h, w, 0.6, run.device))?;
    check_heads(run, "mask_as_output", &heads.use_mask_as_output(model, embed, high_res, &mask)?);
    Ok(())
}

fn check_heads(run: &mut Run<'_, '_>, name: &str, output: &SamHeadsOutput) {
    let mut check = |what: &str, tensor: &Tensor| run.checks.tensor(&format!("{name}.{what}"), tensor);
    check("low_res_multimasks", &output.low_res_multimasks);
    check("ious", &output.ious);
    check("low_res_masks", &output.low_res_masks);
    check("high_res_masks", &output.high_res_masks);
    check("obj_ptr", &output.obj_ptr);
    check("object_score_logits", &output.object_score_logits);
}

/// `values.predictor`: clicks and a box in pixels of the photo.
#[derive(Debug, Deserialize)]
struct PredictorPrompt {
    points: Vec<[f32; 2]>,
    labels: Vec<i64>,
    #[serde(rename = "box")]
    corners: Option<[f32; 4]>,
}

/// The predictor on a photo: all masks first, then one mask refined from the first of those.
fn predict(run: &mut Run<'_, '_>, predictor: Sam2ImagePredictor) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let prompt: PredictorPrompt = field(case, "values.predictor", &case.values["predictor"])?;
    let photo = run.inputs().photo("input.photo", None)?;
    run.checks.tensor("predictor.preprocessed", &predictor.preprocess(&photo)?.squeeze(0)?);
    let to_input = |&[x, y]: &[f32; 2]| <[f32; 2]>::from(predictor.to_input(photo.dimensions(), x, y));
    let coords: Vec<f32> = prompt.points.iter().flat_map(to_input).collect();
    run.checks.tensor("predictor.coords", &Tensor::from_vec(coords, (1, prompt.points.len(), 2), device)?);
    if let Some([x0, y0, x1, y1]) = prompt.corners {
        let corners = [to_input(&[x0, y0]), to_input(&[x1, y1])].concat();
        run.checks.tensor("predictor.box", &Tensor::from_vec(corners, (1, 2, 2), device)?);
    }

    let embedding = predictor.embed(&photo)?;
    run.checks.tensor("predictor.image_embed", &embedding.image_embed);
    let clicks = prompt.points.iter().zip(&prompt.labels);
    let first = Prompts {
        points: clicks.map(|(&[x, y], &label)| Point { x, y, positive: label == 1 }).collect(),
        bbox: prompt.corners,
        mask: None,
        multimask: true,
    };
    let prediction = predictor.predict(&embedding, &first)?;
    run.checks.tensor("predictor.masks_logits", &prediction.masks);
    run.checks.tensor("predictor.iou", &Tensor::new(prediction.iou_predictions.as_slice(), device)?);
    run.checks.tensor("predictor.low_res", &prediction.low_res_masks);

    let low_res = prediction.low_res_masks.narrow(0, 0, 1)?;
    let second = Prompts { mask: Some(MaskPrompt::LowRes(low_res)), multimask: false, ..first };
    let refined = predictor.predict(&embedding, &second)?;
    run.checks.tensor("predictor.masks_bool_second", &refined.masks.gt(0f64)?.to_dtype(DType::F32)?);
    Ok(())
}
