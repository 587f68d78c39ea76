//! `sam1_predict`: SAM's predictor on a photo, prompts in the photo's pixels.

use super::{Result, Run, field, sam1_model::named_config};
use crate::verify::weights::Weights;
use candle_core::{D, DType, Tensor};
use seg_models::sam::{ResizeLongestSide, Sam, SamPredictor};
use seg_models::{MaskCleanup, MaskPrompt, Point, PromptableSegmenter, Prompts};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What the case calls the prompts.
const PROMPTS: &str = "prompts (original pixel frame)";

/// Arguments of the official `SamPredictor.predict`.
#[derive(Debug, Deserialize)]
struct Arguments {
    point_coords: Option<Vec<[f32; 2]>>,
    point_labels: Option<Vec<i64>>,
    #[serde(rename = "box")]
    bbox: Option<[f32; 4]>,
    /// The mask's shape: which mask it is, `inputs.<name>.mask_input` says.
    mask_input: Option<Value>,
    multimask_output: bool,
}

pub(super) fn run(run: &mut Run<'_, '_>) -> Result<()> {
    let (case, device) = (run.case, run.device);
    let weights = Weights::of(case, "sam")?;
    let sam = Sam::new(&named_config(case)?, weights.var_builder(device))?;
    weights.check(run.checks, &[]);

    let photo = run.inputs().photo("input.u8", None)?;
    let frame = ResizeLongestSide::new(photo.dimensions(), sam.image_size())?;
    let (width, height) = frame.resized();
    let resized = frame.resize(&photo)?.into_raw();
    let resized = Tensor::from_vec(resized, (height as usize, width as usize, 3), device)?;
    run.checks.tensor("resized_u8", &resized);
    for (name, (width, height)) in [("input_size", frame.resized()), ("original_size", photo.dimensions())] {
        if let Some(expected) = case.values.get(name) {
            let expected: (u32, u32) = field(case, &format!("values.{name}"), expected)?;
            let problem = format!("{height} x {width}, expected {expected:?}");
            run.checks.fact(name, (height, width) == expected, problem);
        }
    }

    let predictor = SamPredictor::new(sam, MaskCleanup::default(), DType::F32, device);
    let embedding = predictor.embed(&photo)?;
    run.checks.tensor("features", &embedding.image_embed);
    let prompts: BTreeMap<String, Arguments> = field(case, &format!("inputs.{PROMPTS}"), &case.inputs[PROMPTS])?;
    // those that refine another's mask come last
    let (refinements, first): (Vec<_>, Vec<_>) = prompts.iter().partition(|(_, a)| a.mask_input.is_some());
    let mut low_res = BTreeMap::new();
    for (name, arguments) in first.into_iter().chain(refinements) {
        let mask = match &arguments.mask_input {
            Some(_) => Some(MaskPrompt::LowRes(refined_mask(run, name, &low_res)?)),
            None => None,
        };
        let prediction = predictor.predict(&embedding, &arguments.prompts(mask))?;
        let mut check = |what: &str, tensor: &Tensor| run.checks.tensor(&format!("{name}.{what}"), tensor);
        check("logits", &prediction.masks);
        check("scores", &Tensor::new(prediction.iou_predictions.as_slice(), device)?);
        check("low_res", &prediction.low_res_masks);
        let inside = prediction.masks.gt(0f64)?.to_dtype(DType::F32)?;
        check("area", &inside.flatten_from(1)?.sum(D::Minus1)?);
        low_res.insert(name.as_str(), prediction.low_res_masks);
    }
    Ok(())
}

impl Arguments {
    /// Labels without points are passed over, as the official predictor does.
    fn prompts(&self, mask: Option<MaskPrompt>) -> Prompts {
        let coords = self.point_coords.iter().flatten();
        let points = coords
            .zip(self.point_labels.iter().flatten())
            .map(|(&[x, y], &label)| Point { x, y, positive: label == 1 })
            .collect();
        Prompts { points, bbox: self.bbox, mask, multimask: self.multimask_output }
    }
}

/// The mask that `inputs.<name>.mask_input` describes as `low_res[:1] of case 'box'`.
fn refined_mask(run: &Run<'_, '_>, name: &str, low_res: &BTreeMap<&str, Tensor>) -> Result<Tensor> {
    let key = format!("{name}.mask_input");
    let text: String = field(run.case, &format!("inputs.{key}"), &run.case.inputs[&key])?;
    let source = text.split('\'').nth(1).and_then(|source| low_res.get(source));
    match source {
        Some(masks) if text.starts_with("low_res[:1]") => Ok(masks.narrow(0, 0, 1)?),
        _ => {
            let problem = format!("{text:?}, expected such as \"low_res[:1] of case 'box'\"");
            Err(run.case.field_error(&format!("inputs.{key}"), problem).into())
        }
    }
}
