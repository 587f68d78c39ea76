//! An image's masks and what is told about them.

use std::path::{Path, PathBuf};

use seg_data::{GrayImage, Rle, render};
use seg_models::dis_sam::Refinement;
use seg_models::is_net::ProbabilityMap;
use seg_models::promptable::MASK_THRESHOLD;
use seg_models::registry::ModelName;
use seg_models::{Prediction, Prompts};
use serde::Serialize;

use super::SegmentArgs;
use super::stages::{self, StagesRecord};

/// Probability above which a pixel counts as inside where only yes or no can be said.
const INSIDE: f32 = 0.5;

/// What a model was asked.
pub struct Asked<'a> {
    pub image: &'a Path,
    /// Width and height in pixels.
    pub size: (u32, u32),
    pub args: &'a SegmentArgs,
    pub prompts: &'a Prompts,
}

/// An image's masks, best first, with what is told about them.
pub struct Segmented {
    /// 255 inside, 0 outside; of models that give probabilities these, 0..255.
    pub masks: Vec<GrayImage>,
    /// What the second of two stages started from.
    pub coarse: Option<GrayImage>,
    /// What the user must know about how they came about.
    pub notes: Vec<String>,
    /// What is told of two stages in the line for a person.
    told: Option<String>,
    /// What goes into the JSON.
    pub record: Record,
    pub drawn_prompts: render::Prompts,
}

/// The JSON of an image.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    image: String,
    width: u32,
    height: u32,
    model: String,
    prompts: PromptRecord,
    /// Best first.
    masks: Vec<MaskRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coarse: Option<CoarseRecord>,
}

#[derive(Clone, Debug, Serialize)]
struct PromptRecord {
    /// `[x, y, label]`, corrections included.
    points: Vec<[f32; 3]>,
    r#box: Option<[f32; 4]>,
    mask: Option<String>,
    multimask: bool,
}

#[derive(Clone, Debug, Serialize)]
struct MaskRecord {
    /// Position among the model's outputs.
    index: usize,
    /// Null where the model does not judge itself.
    predicted_iou: Option<f32>,
    /// Pixels inside.
    area: u64,
    /// Share of the image inside, 0..1.
    area_share: f64,
    /// Left, top, width, height.
    bbox: [u32; 4],
    /// COCO's compressed run lengths.
    rle: seg_data::rle::CocoRle,
}

/// The first of two stages.
#[derive(Clone, Debug, Serialize)]
struct CoarseRecord {
    /// The model; null for a mask that was given.
    model: Option<String>,
    predicted_iou: Option<f32>,
    /// Left, top, width, height.
    bbox: [u32; 4],
    /// Intersection over union with the exact mask.
    agreement: f64,
    /// What `sam+isnet` thought of its stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    stages: Option<StagesRecord>,
}

impl MaskRecord {
    fn new(index: usize, predicted_iou: Option<f32>, inside: &GrayImage) -> anyhow::Result<Self> {
        let (width, height) = inside.dimensions();
        let rle = Rle::encode(inside.as_raw(), width, height)?;
        Ok(Self {
            index,
            predicted_iou,
            area: rle.area(),
            area_share: rle.area() as f64 / (f64::from(width) * f64::from(height)),
            bbox: rle.bbox(),
            rle: rle.to_coco(),
        })
    }
}

impl Segmented {
    /// Thresholds the prediction and ranks its masks by predicted IoU.
    pub fn of_prediction(asked: &Asked<'_>, prediction: &Prediction) -> anyhow::Result<Self> {
        let judges = !matches!(asked.args.model, ModelName::PiSam(_));
        let ious = &prediction.iou_predictions;
        if let Some(bad) = ious.iter().find(|iou| judges && !iou.is_finite()) {
            anyhow::bail!("the model predicted an IoU of {bad}: its weights or number type do not fit");
        }
        let mut ranking: Vec<usize> = (0..ious.len()).collect();
        ranking.sort_by(|&a, &b| ious[b].total_cmp(&ious[a]));
        let mut masks = Vec::with_capacity(ranking.len());
        let mut records = Vec::with_capacity(ranking.len());
        for &index in &ranking {
            let logits = prediction.mask(index)?;
            check_finite(&logits)?;
            let mask = seg_data::mask::from_logits(&logits, asked.size.0, asked.size.1, MASK_THRESHOLD)?;
            records.push(MaskRecord::new(index, judges.then(|| ious[index]), &mask)?);
            masks.push(mask);
        }
        Ok(Self::new(asked, masks, records))
    }

    /// A probability map: written as it is, and above one half inside where yes or no is asked for.
    pub fn of_probability(asked: &Asked<'_>, map: &ProbabilityMap) -> anyhow::Result<Self> {
        check_finite(map.values())?;
        let record = MaskRecord::new(0, None, &map.mask(INSIDE)?)?;
        Ok(Self::new(asked, vec![map.to_image()?], vec![record]))
    }

    /// Both stages.
    pub fn of_refinement(asked: &Asked<'_>, refined: Refinement) -> anyhow::Result<Self> {
        let mut segmented = Self::of_probability(asked, &refined.probability)?;
        let [x0, y0, x1, y1] = refined.coarse.bbox;
        let first = asked.args.first_stage().filter(|_| asked.args.mask.is_none()).map(|name| name.to_string());
        segmented.told = Some(stages::told(&refined));
        segmented.notes.extend(stages::disagreement(&refined, first.as_deref()));
        segmented.record.coarse = Some(CoarseRecord {
            model: first,
            predicted_iou: refined.coarse.predicted_iou,
            bbox: [x0, y0, x1 - x0, y1 - y0],
            agreement: refined.agreement(),
            stages: StagesRecord::new(&refined),
        });
        segmented.coarse = Some(refined.coarse.mask);
        Ok(segmented)
    }

    fn new(asked: &Asked<'_>, masks: Vec<GrayImage>, records: Vec<MaskRecord>) -> Self {
        let &Asked { image, size: (width, height), args, prompts } = asked;
        let record = Record {
            image: image.display().to_string(),
            width,
            height,
            model: args.model.to_string(),
            prompts: PromptRecord {
                points: prompts.points.iter().map(|p| [p.x, p.y, f32::from(u8::from(p.positive))]).collect(),
                r#box: prompts.bbox,
                mask: args.mask.as_ref().map(|path| path.display().to_string()),
                multimask: prompts.multimask,
            },
            masks: records,
            coarse: None,
        };
        let drawn_prompts = render::Prompts {
            points: prompts.points.iter().map(|p| (p.x, p.y, p.positive)).collect(),
            boxes: prompts.bbox.into_iter().collect(),
        };
        Self { masks, coarse: None, notes: Vec::new(), told: None, record, drawn_prompts }
    }

    /// One line for a person.
    pub fn line(&self, written: &[PathBuf]) -> String {
        let record = &self.record;
        let ending = |ending: &str| written.iter().find(|path| path.to_string_lossy().ends_with(ending));
        let shown = ending("compare.png").or_else(|| ending("overlay.png")).or(written.first());
        let shown = shown.map_or(String::new(), |path| format!("  ->  {}", path.display()));
        let (iou, share) = record.masks.first().map_or((None, 0.0), |mask| (mask.predicted_iou, mask.area_share));
        let judged = match (iou, &self.told) {
            (Some(iou), _) => format!("predicted IoU {iou:.3}, "),
            (None, Some(told)) => format!("{told}, "),
            (None, None) => String::new(),
        };
        format!("{}: {judged}{:.1} % of the image{shown}", record.image, 100.0 * share)
    }

    /// One line for a program: the record with the files written.
    pub fn json(&self, written: &[PathBuf]) -> anyhow::Result<String> {
        let mut value = serde_json::to_value(&self.record)?;
        let files: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
        value["files"] = files.into();
        Ok(value.to_string())
    }
}

/// A model whose numbers overflow gives no mask.
fn check_finite(values: &[f32]) -> anyhow::Result<()> {
    match values.iter().find(|value| !value.is_finite()) {
        Some(bad) => anyhow::bail!("the model gave a mask with the value {bad}: its weights or number type do not fit"),
        None => Ok(()),
    }
}
