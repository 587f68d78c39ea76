//! `hrseg segment --everything`: all masks of each image.

use clap::Args;
use seg_data::rle::CocoRle;
use seg_models::registry::ModelName;
use seg_models::{AutomaticMaskConfig, MaskCleanup};
use serde_json::{Value, json};

use super::args::Format;
use super::run_file::OfImage;
use super::together;
use crate::pipeline::everything::{EverythingRecord, LabelledRecord, defaults};

/// Everything in the picture: how it is looked for.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Everything in the picture")]
pub struct EverythingArgs {
    /// All objects of each image, without prompts: a grid of clicks, whose masks are judged, and duplicates left out (SAM, MobileSAM, SAM 2)
    #[arg(long, conflicts_with_all = ["points", "bbox", "mask", "refine", "multimask", "stage_one", "stage_one_weights"])]
    pub everything: bool,

    /// Clicks along each side of the image [default: 32]
    #[arg(long, value_name = "N", requires = "everything")]
    points_per_side: Option<usize>,

    /// Clicks decoded at once: memory, no other masks [default: 8]
    #[arg(long, value_name = "N", requires = "everything")]
    points_per_batch: Option<usize>,

    /// Masks of a predicted IoU up to this are left out [default: 0.88; SAM 2: 0.8]
    #[arg(long, value_name = "IOU", requires = "everything", allow_negative_numbers = true)]
    pred_iou_thresh: Option<f64>,

    /// Masks whose stability score (the IoU of the mask at a higher and a lower threshold) is below this are left out [default: 0.95]
    #[arg(long, value_name = "SCORE", requires = "everything", allow_negative_numbers = true)]
    stability_score_thresh: Option<f64>,

    /// How far up and down the threshold is moved for the stability score, in logits [default: 1]
    #[arg(long, value_name = "LOGITS", requires = "everything", allow_negative_numbers = true)]
    stability_score_offset: Option<f64>,

    /// Of two masks whose boxes' IoU is above this, one stays [default: 0.7]
    #[arg(long, value_name = "IOU", requires = "everything", allow_negative_numbers = true)]
    box_nms_thresh: Option<f64>,

    /// Layers of crops that are looked at besides the whole image, for what is small: layer i has 4^i crops [default: 0]
    #[arg(long, value_name = "N", requires = "everything")]
    crop_n_layers: Option<usize>,

    /// The same as --box-nms-thresh for masks of different crops [default: 0.7]
    #[arg(long, value_name = "IOU", requires = "everything", allow_negative_numbers = true)]
    crop_nms_thresh: Option<f64>,

    /// How far crops of the first layer overlap, as a share of the image's shorter side [default: 0.341]
    #[arg(long, value_name = "SHARE", requires = "everything", allow_negative_numbers = true)]
    crop_overlap_ratio: Option<f64>,

    /// Layer i of crops has clicks fewer by this to the power of i along each side [default: 1]
    #[arg(long, value_name = "N", requires = "everything")]
    crop_n_points_downscale_factor: Option<usize>,

    /// Holes and specks of fewer pixels are filled and removed (SAM 2: of its 256x256 mask) [default: 0]
    #[arg(long, value_name = "AREA", requires = "everything")]
    min_mask_region_area: Option<u32>,

    /// Each mask is refined once by the decoder before it is judged, as SAM 2's code offers
    #[arg(long, requires = "everything")]
    use_m2m: bool,
}

impl EverythingArgs {
    /// The settings for `model`, where everything is asked for.
    ///
    /// # Errors
    /// One line that says what to give instead.
    pub fn settings(&self, model: ModelName) -> Result<Option<AutomaticMaskConfig>, String> {
        if !self.everything {
            return Ok(None);
        }
        let official = defaults(model)
            .ok_or_else(|| format!("{model} does not look for everything, expected SAM, MobileSAM or SAM 2"))?;
        // SAM 2 cleans up at its decoder's resolution
        let own = cleans_itself(model);
        let settings = AutomaticMaskConfig {
            points_per_side: self.points_per_side.unwrap_or(official.points_per_side),
            points_per_batch: self.points_per_batch.unwrap_or(official.points_per_batch),
            pred_iou_thresh: self.pred_iou_thresh.unwrap_or(official.pred_iou_thresh),
            stability_score_thresh: self.stability_score_thresh.unwrap_or(official.stability_score_thresh),
            stability_score_offset: self.stability_score_offset.unwrap_or(official.stability_score_offset),
            box_nms_thresh: self.box_nms_thresh.unwrap_or(official.box_nms_thresh),
            crop_n_layers: self.crop_n_layers.unwrap_or(official.crop_n_layers),
            crop_nms_thresh: self.crop_nms_thresh.unwrap_or(official.crop_nms_thresh),
            crop_overlap_ratio: self.crop_overlap_ratio.unwrap_or(official.crop_overlap_ratio),
            crop_n_points_downscale_factor: self
                .crop_n_points_downscale_factor
                .unwrap_or(official.crop_n_points_downscale_factor),
            min_mask_region_area: self.min_mask_region_area.filter(|_| !own).unwrap_or(0),
            use_m2m: self.use_m2m,
            ..official
        };
        settings.check().map_err(|error| error.to_string())?;
        Ok(Some(settings))
    }

    /// What the model itself is to clean up, where it does.
    pub fn cleanup(&self, model: ModelName) -> Option<MaskCleanup> {
        let area = self.min_mask_region_area.filter(|_| cleans_itself(model))?;
        Some(MaskCleanup { max_hole_area: area, max_sprinkle_area: area })
    }
}

fn cleans_itself(model: ModelName) -> bool {
    matches!(model, ModelName::Sam2(..))
}

/// Refuses formats of which none is written.
///
/// # Errors
/// Then.
pub fn check(formats: &[Format]) -> Result<(), String> {
    match together::FILES.iter().any(|(format, _)| formats.contains(format)) {
        true => Ok(()),
        false => Err("--everything writes mask, overlay and rle: none of them is in --format".into()),
    }
}

/// One line for a person.
pub fn line(record: &EverythingRecord, shown: &str) -> String {
    let masks = if record.masks.len() == 1 { "mask" } else { "masks" };
    format!("{}: {} {masks}{shown}", record.image, record.masks.len())
}

impl OfImage for EverythingRecord {
    const OPTION: &str = "--everything";

    fn image(&self) -> (Option<u64>, &str, (u32, u32)) {
        (None, &self.image, (self.width, self.height))
    }

    fn objects(&self) -> impl Iterator<Item = (u64, &CocoRle, Value)> {
        self.masks.iter().map(|LabelledRecord { label, mask }| {
            let more = json!({
                "score": mask.predicted_iou, "stability_score": mask.stability_score, "label": label,
                "point_coords": mask.point_coords, "crop_box": mask.crop_box,
            });
            (1, &mask.segmentation, more)
        })
    }
}
