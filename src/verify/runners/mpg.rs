//! `mpg_toy_*`, `mpg_tiny_*`, `mpg_large_*`: MPG-SAM 2 whole, on a video or on single images, with all intermediate tensors.

use super::sam2_config::sam2_video_config;
use super::{Result, Run, field};
use crate::verify::weights::Weights;
use beit3_encoder::{Beit3Config, TextTokens, Tokenizer};
use candle_core::{DType, Tensor};
use seg_golden::Checker;
use seg_layers::{Observer, sine_position_map};
use seg_models::mpg_sam2::{MaskPrior, MpgSam2, MpgSam2Config};
use seg_ops::{Activation, Resize};
use serde::Deserialize;
use serde_json::Value;

/// The small BEiT-3 of the toy cases.
#[derive(Deserialize)]
struct ToyBeit3 {
    dim: usize,
    heads: usize,
    ffn: usize,
    layers: usize,
    vocab: usize,
    max_pos: usize,
}

/// The configuration of a case.
pub(super) fn config(run: &Run<'_, '_>) -> Result<MpgSam2Config> {
    const SCALE: &str = "config.mm_extractor_scale";
    let (case, json) = (run.case, &run.case.config);
    let scale: String = field(case, SCALE, &json["mm_extractor_scale"])?;
    let beit3 = match scale.as_str() {
        "base" => Beit3Config::base(),
        "large" => Beit3Config::large(),
        "toy" => {
            let toy: ToyBeit3 = field(case, "config.beit_toy", &json["beit_toy"])?;
            Beit3Config {
                embed_dim: toy.dim,
                depth: toy.layers,
                num_heads: toy.heads,
                ffn_dim: toy.ffn,
                vocab_size: toy.vocab,
                max_text_positions: toy.max_pos,
                ..Beit3Config::base()
            }
        }
        other => return Err(case.field_error(SCALE, format!("{other:?}, expected base, large or toy")).into()),
    };
    let sam2 = sam2_video_config(run)?;
    let mut config = MpgSam2Config::new(beit3, sam2.sam2);
    config.sam2.memory.attention = sam2.memory.attention;
    config.sam2.memory.bank = sam2.memory.bank;
    Ok(config)
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let case = run.case;
    let weights = Weights::of(case, "model")?;
    let model = MpgSam2::new(&config(run)?, weights.var_builder(run.device))?;
    weights.check(run.checks, &MpgSam2::UNUSED);
    // a text for each of several images, or one for all frames
    match &case.values["token_ids"] {
        Value::Array(rows) if rows.first().is_some_and(Value::is_array) => images(run, &model),
        _ => video(run, &model),
    }
}

/// Texts of `values.token_ids`.
pub(super) fn texts(run: &Run<'_, '_>) -> Result<TextTokens> {
    const FIELD: &str = "values.token_ids";
    let (case, value) = (run.case, &run.case.values["token_ids"]);
    let rows: Vec<Vec<u32>> = match value.get(0).is_some_and(Value::is_array) {
        true => field(case, FIELD, value)?,
        false => vec![field(case, FIELD, value)?],
    };
    let pad: Option<u32> = field(case, "values.pad_id", &case.values["pad_id"]).ok();
    Ok(TextTokens::padded(&rows, pad.unwrap_or(Tokenizer::UNK), run.device)?)
}

/// Frame `index` for SAM 2, or for BEiT-3, `[1, 3, H, W]`.
pub(super) fn frame(run: &Run<'_, '_>, kind: &str, index: usize) -> Result<Tensor> {
    let name = format!("input.{kind}{index}");
    let (h, w) = run.inputs().size(&name)?;
    let shift: f64 = field(run.case, &format!("inputs.{name}.shift"), &run.case.inputs[&name]["shift"])?;
    let image = run.inputs().tensor(&name, |pattern| pattern.clone().shifted(shift).image(h, w, run.device))?;
    Ok(if image.rank() == 3 { image.unsqueeze(0)? } else { image })
}

/// The first `count` frames as a batch.
pub(super) fn frames(run: &Run<'_, '_>, kind: &str, count: usize) -> Result<Tensor> {
    let frames = (0..count).map(|i| frame(run, kind, i)).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::cat(&frames, 0)?)
}

/// What a memory value that is rounded to the other of two bfloat16 numbers does to single values that are decoded from it: the official code's own
/// noise, between one thread and two.
const ROUNDING: f64 = 2.4e-4;

/// Checks what the model shows, under the case's names: `prefix` for what is not of BEiT-3 or the prior.
struct Watch<'w, 'c> {
    checks: &'w mut Checker<'c>,
    prefix: String,
    /// Whether what is seen depends on memories.
    remembers: bool,
}

impl Watch<'_, '_> {
    /// The case's name of the model's `name`.
    fn named(&self, name: &str) -> String {
        match name {
            "vision_embed" | "text_embed" | "encoder_embedding" | "encoder_out" => format!("beit3.{name}"),
            "visual_ifi" | "vmtoken" | "mask_linear" | "mask_product_logits" | "meo_linear" => format!("prior.{name}"),
            _ => match name.strip_suffix(".out") {
                Some(layer) => format!("beit3.{layer}"),
                None => format!("{}{name}", self.prefix),
            },
        }
    }
}

impl Observer for Watch<'_, '_> {
    fn observe(&mut self, name: &str, tensor: &Tensor) -> candle_core::Result<()> {
        const SEQUENCE_FIRST: [&str; 8] = [
            "visual_ifi",
            "vmtoken",
            "patch_linear",
            "vtlfusion",
            "mmfusion",
            "objfusion",
            "obj_memory",
            "obj_memory_pos",
        ];
        let tensor = if SEQUENCE_FIRST.contains(&name) { tensor.transpose(0, 1)? } else { tensor.clone() };
        // behind the two-way transformer all tokens have a part in a value, and nothing is left to see
        let floor = if self.remembers && ["pix_feat_with_mem", "vtlfusion"].contains(&name) { ROUNDING } else { 0. };
        self.checks.tensor_above(&self.named(name), &tensor, floor);
        Ok(())
    }

    fn wants(&self, name: &str) -> bool {
        self.checks.wants(&self.named(name))
    }
}

fn check_prior(run: &mut Run<'_, '_>, prior: &MaskPrior) -> Result<()> {
    run.checks.tensor("prompt.text_hidden_fcs", &prior.sentence);
    run.checks.tensor("video.text", &prior.sentence);
    run.checks.tensor("prompt.text_feat", &prior.text);
    run.checks.tensor("prompt.text2one", &prior.sentence_scores);
    run.checks.tensor("out.sen_feat_value", &prior.sentence_scores.flatten_all()?);
    run.checks.tensor("video.mask_prompt", &prior.mask_prompts);
    run.checks.tensor("video.mask_pred", &prior.context);
    Ok(())
}

fn images(run: &mut Run<'_, '_>, model: &MpgSam2) -> Result<()> {
    let text = texts(run)?;
    let count = text.dims().0;
    let (images, look) = (frames(run, "frame", count)?, frames(run, "beit_frame", count)?);
    let mut watch = Watch { checks: run.checks, prefix: String::new(), remembers: false };
    let output = model.segment_images_with(images, &look, &text, &mut watch)?;
    check_prior(run, &output.prior)?;
    run.checks.tensor("decoder.low_res_masks", &output.low_res_masks);
    run.checks.tensor("decoder.iou", &output.iou_predictions);
    run.checks.tensor("decoder.object_score_logits", &output.object_score_logits);
    let (h, w): (usize, usize) = field(run.case, "values.target_size", &run.case.values["target_size"])?;
    let masks = seg_ops::resize(&output.low_res_masks, (h, w), &Resize::bilinear())?;
    run.checks.tensor("out.pred_masks", &masks.unsqueeze(1)?);
    Ok(())
}

fn video(run: &mut Run<'_, '_>, model: &MpgSam2) -> Result<()> {
    let count: usize = field(run.case, "values.num_frames", &run.case.values["num_frames"])?;
    let text = texts(run)?.repeated(count)?;
    let look = frames(run, "beit_frame", count)?;
    let mut watch = Watch { checks: run.checks, prefix: "frame0.".into(), remembers: false };
    let features = model.beit3().forward_observed(&look, &text, &mut watch)?;
    let prior = model.prior_generator().forward(&features, count, &mut watch)?;
    drop(features);
    let mut video = model.video_with(prior.clone(), &mut watch)?;
    check_prior(run, &prior)?;
    let mut masks = Vec::with_capacity(count);
    for t in 0..count {
        let features = model.image_model().encode_image(frame(run, "frame", t)?)?;
        if t == 0 {
            let [fpn0, fpn1] = &features.high_res_features;
            for (name, map) in [("fpn0", fpn0), ("fpn1", fpn1), ("fpn2", &features.vision_features)] {
                run.checks.tensor(&format!("image.{name}"), map);
            }
            let (_, c, h, w) = features.vision_features.dims4()?;
            run.checks.tensor("image.pos2", &sine_position_map(c, h, w, run.device)?);
            let positions = model.sam2().memory().map_positions((h, w), &features.vision_features)?;
            run.checks.tensor("maskmem_pos_enc", &positions);
        }
        // the mask tokens' look at the context is the same on every frame
        let mmfusion = format!("frame{t}.mmfusion");
        let mut watch = Watch { checks: run.checks, prefix: format!("frame{t}."), remembers: t > 0 };
        let heads = video.step_with(&features, &mut watch)?;
        let parts = [
            ("low_res_multimasks", &heads.low_res_multimasks),
            ("ious", &heads.ious),
            ("obj_ptr", &heads.obj_ptr),
            ("object_score_logits", &heads.object_score_logits),
        ];
        for (part, tensor) in parts {
            run.checks.tensor(&format!("frame{t}.{part}"), tensor);
        }
        if t > 0 && run.checks.wants(&mmfusion) {
            let tokens = video.context().mask_tokens().transpose(0, 1)?;
            run.checks.tensor(&mmfusion, &tokens);
        }
        masks.push(heads.high_res_masks);
    }
    let masks = Tensor::cat(&masks, 0)?; // [T, 1, S, S]
    check_masks(run, "out.pred_masks", &masks.unsqueeze(0)?)?;
    resized(run, &masks)
}

/// The logits of all frames, `[1, T, 1, H, W]`: each within its tolerance, and each frame as a whole much closer, which it would not be if memories were
/// not rounded to bfloat16.
fn check_masks(run: &mut Run<'_, '_>, name: &str, masks: &Tensor) -> Result<()> {
    /// Of the frame's deviation: the official code's own noise, between one thread and two, is 1e-6 on the first frame and up to 5e-5 on others.
    const RMS: [f64; 2] = [2e-5, 1e-4];
    let Some(stride) = run.case.output(name).map(|output| output.stride.max(1)) else { return Ok(()) };
    let frames = masks.dim(1)?;
    let pixels = masks.elem_count() / frames.max(1);
    let values = masks.flatten_all()?.to_vec1::<f32>()?;
    let stored = run.case.stored_values(name).unwrap_or_default();
    let mut samples = vec![Vec::new(); frames];
    for (place, &reference) in (0..).step_by(stride).zip(stored) {
        let Some(value) = values.get(place) else { break };
        samples[place / pixels.max(1)].push((f64::from(*value), reference));
    }
    for (t, pairs) in samples.iter().enumerate() {
        let mean = |f: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(f).sum::<f64>() / pairs.len().max(1) as f64;
        let rms = mean(&|(value, reference)| (value - reference).powi(2)).sqrt();
        let centre = mean(&|(_, reference)| *reference);
        let deviation = mean(&|(_, reference)| (reference - centre).powi(2)).sqrt();
        let most = RMS[usize::from(t > 0)] * deviation;
        let problem = format!("RMS error {rms:.2e}, expected {most:.2e}");
        run.checks.fact(&format!("{name}: frame {t} as a whole"), rms <= most, problem);
    }
    run.checks.tensor(name, masks);
    Ok(())
}

/// The outputs `out.resized_<h>x<w>_logits` and `…_mask`.
fn resized(run: &mut Run<'_, '_>, masks: &Tensor) -> Result<()> {
    let sizes: Vec<(usize, usize)> = run.case.output_names().filter_map(resized_size).collect();
    for (h, w) in sizes {
        let logits = seg_ops::resize(masks, (h, w), &Resize::bilinear())?.squeeze(1)?; // [T, h, w]
        run.checks.tensor(&format!("out.resized_{h}x{w}_logits"), &logits);
        check_inside(run, &format!("out.resized_{h}x{w}_mask"), &logits)?;
    }
    Ok(())
}

/// Which pixels are inside. Those whose logits rounding may move across 0 count as equal.
fn check_inside(run: &mut Run<'_, '_>, name: &str, logits: &Tensor) -> Result<()> {
    let Some(stride) = run.case.output(name).map(|output| output.stride.max(1)) else { return Ok(()) };
    let inside = seg_ops::activate(logits, Activation::Sigmoid)?.gt(0.5)?.to_dtype(DType::F32)?;
    let mut values = inside.flatten_all()?.to_vec1::<f32>()?;
    let near = logits.abs()?.lt(ROUNDING)?.flatten_all()?.to_vec1::<u8>()?;
    let stored = run.case.stored_values(name).unwrap_or_default();
    let sampled = values.iter_mut().zip(near).step_by(stride).zip(stored);
    for ((value, near), &reference) in sampled {
        if near == 1 {
            *value = reference as f32;
        }
    }
    run.checks.tensor(name, &Tensor::from_vec(values, logits.shape(), logits.device())?);
    Ok(())
}

fn resized_size(name: &str) -> Option<(usize, usize)> {
    let (h, w) = name.strip_prefix("out.resized_")?.strip_suffix("_logits")?.split_once('x')?;
    Some((h.parse().ok()?, w.parse().ok()?))
}
