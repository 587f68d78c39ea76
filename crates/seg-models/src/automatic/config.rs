use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What masks are looked for, and which of them are kept.
///
/// Names and defaults are those of segment_anything/automatic_mask_generator.py.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutomaticMaskConfig {
    /// Points along each side of the image; the grid has the square of it.
    pub points_per_side: usize,
    /// Grids of one's own in place of the regular ones: of layer `i` of crops the `i`-th, points as fractions (0..1) of
    /// the crop's width and height.
    pub point_grids: Option<Vec<Vec<[f64; 2]>>>,
    /// Points that are decoded at once. The masks do not depend on it, memory does: about 25 MB a point for SAM.
    pub points_per_batch: usize,
    /// Masks of a predicted IoU up to this (0..1) are left out.
    pub pred_iou_thresh: f64,
    /// Masks of a stability score below this (0..1) are left out.
    pub stability_score_thresh: f64,
    /// How far up and down the logits' threshold is moved for the stability score.
    pub stability_score_offset: f64,
    /// Of two masks of one crop whose boxes' IoU (0..1) is above this, the one of the lower predicted IoU is left out.
    pub box_nms_thresh: f64,
    /// Layers of crops that are segmented besides the whole image: layer `i` has `4^i` crops.
    pub crop_n_layers: usize,
    /// As `box_nms_thresh`, between masks of different crops: that of the smaller crop stays.
    pub crop_nms_thresh: f64,
    /// By how much the crops of the first layer overlap, as a share of the image's shorter side.
    pub crop_overlap_ratio: f64,
    /// The grid of layer `i` has this to the power of `i` times fewer points a side.
    pub crop_n_points_downscale_factor: usize,
    /// Holes and specks of fewer pixels than this are filled and removed; 0 leaves them.
    pub min_mask_region_area: u32,
    /// Three candidate masks for each point, in place of one.
    pub multimask_output: bool,
    /// Each mask is refined once by the decoder before it is judged (SAM 2's `use_m2m`).
    pub use_m2m: bool,
}

impl AutomaticMaskConfig {
    /// SAM's defaults: 32×32 points, predicted IoU above 0.88, stability from 0.95, no crops.
    pub fn sam() -> Self {
        Self {
            points_per_side: 32,
            point_grids: None,
            points_per_batch: 8,
            pred_iou_thresh: 0.88,
            stability_score_thresh: 0.95,
            stability_score_offset: 1.0,
            box_nms_thresh: 0.7,
            crop_n_layers: 0,
            crop_nms_thresh: 0.7,
            crop_overlap_ratio: 512.0 / 1500.0,
            crop_n_points_downscale_factor: 1,
            min_mask_region_area: 0,
            multimask_output: true,
            use_m2m: false,
        }
    }

    /// SAM 2's defaults (sam2/automatic_mask_generator.py): as SAM's, but predicted IoU above 0.8.
    ///
    /// SAM 2 cleans its masks up at the decoder's resolution: give its predictor a [`crate::MaskCleanup`] in place of
    /// `min_mask_region_area` to do as the official code does.
    pub fn sam2() -> Self {
        Self { pred_iou_thresh: 0.8, ..Self::sam() }
    }

    /// Refuses what no mask can come from.
    pub fn check(&self) -> Result<()> {
        let wrong = |option, value: String, expected| Err(Error::AutomaticMasks { option, value, expected });
        let counts = [
            ("points_per_side", self.points_per_side),
            ("points_per_batch", self.points_per_batch),
            ("crop_n_points_downscale_factor", self.crop_n_points_downscale_factor),
        ];
        for (option, value) in counts {
            if value == 0 {
                return wrong(option, value.to_string(), "1 or more".to_owned());
            }
        }
        let numbers = [
            ("pred_iou_thresh", self.pred_iou_thresh),
            ("stability_score_thresh", self.stability_score_thresh),
            ("stability_score_offset", self.stability_score_offset),
            ("box_nms_thresh", self.box_nms_thresh),
            ("crop_nms_thresh", self.crop_nms_thresh),
        ];
        for (option, value) in numbers {
            if !value.is_finite() {
                return wrong(option, value.to_string(), "a finite number".to_owned());
            }
        }
        if !(0.0..1.0).contains(&self.crop_overlap_ratio) {
            return wrong("crop_overlap_ratio", self.crop_overlap_ratio.to_string(), "0 or more, below 1".to_owned());
        }
        // 4^8 crops are more than any image has use for
        const MOST_LAYERS: usize = 8;
        if self.crop_n_layers > MOST_LAYERS {
            return wrong("crop_n_layers", self.crop_n_layers.to_string(), format!("{MOST_LAYERS} at most"));
        }
        if let Some(grids) = &self.point_grids {
            let wanted = self.crop_n_layers + 1;
            if grids.len() < wanted {
                return wrong("point_grids", format!("{} grids", grids.len()), format!("{wanted}, one a layer"));
            }
            if let Some(point) = grids.iter().flatten().find(|p| p.iter().any(|v| !(0.0..=1.0).contains(v))) {
                return wrong("point_grids", format!("a point at {point:?}"), "fractions of 0 to 1".to_owned());
            }
        }
        Ok(())
    }
}

impl Default for AutomaticMaskConfig {
    fn default() -> Self {
        Self::sam()
    }
}
