//! All the masks of an image, without prompts: a grid of clicks, whose masks are judged, and duplicates left out.
//!
//! For any [`PromptableSegmenter`]. Follows segment_anything/automatic_mask_generator.py and
//! sam2/automatic_mask_generator.py, which differ in their defaults and in [`AutomaticMaskConfig::use_m2m`].

mod config;
mod grid;
mod regions;
mod select;

use rayon::prelude::*;
use seg_data::rle::CocoRle;
use seg_data::{RgbImage, Rle};
use serde::{Deserialize, Serialize};

pub use config::AutomaticMaskConfig;
pub use grid::{Crop, crops, point_grid, point_grids};

use crate::error::{Error, Result};
use crate::promptable::{ImageEmbedding, LowResPrediction, MASK_THRESHOLD, MaskPrompt, PromptableSegmenter, Prompts};
use select::{Judged, PixelBox};

/// A mask that nobody asked for by name.
#[derive(Clone, Debug, PartialEq)]
pub struct AutomaticMask {
    /// The mask, of the image's size.
    pub rle: Rle,
    /// Pixels inside.
    pub area: u64,
    /// Left, top, and the distances to the last column and row that have pixels inside: as the official code counts,
    /// one less than [`Rle::bbox`], which has their number.
    pub bbox: [u32; 4],
    /// The model's own estimate of the mask's IoU.
    pub predicted_iou: f32,
    /// IoU (0..1) of the masks at a higher and a lower threshold.
    pub stability_score: f32,
    /// The click that the mask comes from, x and y in pixels of the image.
    pub point: [f64; 2],
    /// The part of the image that was looked at: left, top, width, height.
    pub crop_box: [u32; 4],
}

/// An [`AutomaticMask`] as the official code writes it to JSON, and as SA-1B has its annotations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AutomaticMaskRecord {
    /// The mask in COCO's compressed form.
    pub segmentation: CocoRle,
    /// Pixels inside.
    pub area: u64,
    /// See [`AutomaticMask::bbox`].
    pub bbox: [u32; 4],
    /// See [`AutomaticMask::predicted_iou`].
    pub predicted_iou: f32,
    /// The one click, x and y.
    pub point_coords: [[f64; 2]; 1],
    /// See [`AutomaticMask::stability_score`].
    pub stability_score: f32,
    /// See [`AutomaticMask::crop_box`].
    pub crop_box: [u32; 4],
}

impl AutomaticMask {
    /// For JSON.
    pub fn record(&self) -> AutomaticMaskRecord {
        AutomaticMaskRecord {
            segmentation: self.rle.to_coco(),
            area: self.area,
            bbox: self.bbox,
            predicted_iou: self.predicted_iou,
            point_coords: [self.point],
            stability_score: self.stability_score,
            crop_box: self.crop_box,
        }
    }
}

/// A mask on its way.
struct Candidate {
    rle: Rle,
    bbox: PixelBox,
    predicted_iou: f32,
    stability_score: f32,
    point: [f64; 2],
    crop: Crop,
}

/// Finds all masks of images with one model.
#[derive(Clone)]
pub struct AutomaticMaskGenerator<'a> {
    model: &'a dyn PromptableSegmenter,
    cfg: AutomaticMaskConfig,
    grids: Vec<Vec<[f64; 2]>>,
}

impl<'a> AutomaticMaskGenerator<'a> {
    /// A generator on `model`.
    ///
    /// # Errors
    /// If `cfg` cannot give masks, see [`AutomaticMaskConfig::check`].
    pub fn new(model: &'a dyn PromptableSegmenter, cfg: AutomaticMaskConfig) -> Result<Self> {
        cfg.check()?;
        let grids = cfg
            .point_grids
            .clone()
            .unwrap_or_else(|| point_grids(cfg.points_per_side, cfg.crop_n_layers, cfg.crop_n_points_downscale_factor));
        Ok(Self { model, cfg, grids })
    }

    /// The masks of `image`: without crops those of the highest predicted IoU first, with crops those of the smallest.
    ///
    /// # Errors
    /// If the image is empty or the model fails.
    pub fn generate(&self, image: &RgbImage) -> Result<Vec<AutomaticMask>> {
        Ok(self.generate_watched(image, None, &mut |_, _| true)?.unwrap_or_default())
    }

    /// [`Self::generate`] for a caller who waits. `embedding`: the whole image's, where it is there already. `tell` is told how many clicks of how many have
    /// their masks, of all crops together, and says whether to go on: none when it did not.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn generate_watched(
        &self,
        image: &RgbImage,
        embedding: Option<&ImageEmbedding>,
        tell: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Option<Vec<AutomaticMask>>> {
        let size @ (width, height) = image.dimensions();
        if width == 0 || height == 0 {
            return Err(Error::EmptyImage { width, height });
        }
        let crops = crops(size, self.cfg.crop_n_layers, self.cfg.crop_overlap_ratio);
        let clicks = |crop: &Crop| self.grids.get(crop.layer).map_or(0, Vec::len);
        let (mut done, of) = (0, crops.iter().map(clicks).sum());
        let mut found = Vec::new();
        for crop in &crops {
            let mut tell = |clicks: usize| {
                done += clicks;
                tell(done, of)
            };
            match self.masks_of(image, crop, embedding, &mut tell)? {
                Some(masks) => found.extend(masks),
                None => return Ok(None),
            }
        }
        if crops.len() > 1 {
            let score = |c: &Candidate| 1.0 / (c.crop.size().0 as f32 * c.crop.size().1 as f32);
            found = without_duplicates(found, score, self.cfg.crop_nms_thresh);
        }
        if self.cfg.min_mask_region_area > 1 {
            found = self.without_small_regions(found, size)?;
        }
        Ok(Some(found.into_iter().map(Candidate::finish).collect()))
    }

    /// The masks of one crop, in pixels of the image; none when the caller does not want to go on. `tell` is told how many more clicks are done.
    fn masks_of(
        &self,
        image: &RgbImage,
        crop: &Crop,
        whole: Option<&ImageEmbedding>,
        tell: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Option<Vec<Candidate>>> {
        let (width, height) = crop.size();
        let embedding = match (whole, (width, height) == image.dimensions()) {
            (Some(embedding), true) => embedding.clone(),
            (None, true) => self.model.embed(image)?,
            (_, false) => {
                let part = image::imageops::crop_imm(image, crop.x0, crop.y0, width, height).to_image();
                self.model.embed(&part)?
            }
        };
        let grid = self.grids.get(crop.layer).map_or(&[][..], Vec::as_slice);
        let points: Vec<[f64; 2]> = grid.iter().map(|[x, y]| [x * f64::from(width), y * f64::from(height)]).collect();
        let mut found = Vec::new();
        for points in points.chunks(self.cfg.points_per_batch) {
            let judged = self
                .decode(&embedding, points)?
                .par_iter()
                .filter_map(|decoded| self.judge(&embedding, decoded, crop, image.dimensions()).transpose())
                .collect::<Result<Vec<_>>>()?;
            found.extend(judged);
            if !tell(points.len()) {
                return Ok(None);
            }
        }
        Ok(Some(without_duplicates(found, |c| c.predicted_iou, self.cfg.box_nms_thresh)))
    }

    /// The masks of a batch of clicks, in pixels of the crop, whose predicted IoU is high enough.
    fn decode(&self, embedding: &ImageEmbedding, points: &[[f64; 2]]) -> Result<Vec<Decoded>> {
        let click =
            |&[x, y]: &[f64; 2]| Prompts { multimask: self.cfg.multimask_output, ..Prompts::point(x as f32, y as f32) };
        let prompts: Vec<Prompts> = points.iter().map(click).collect();
        let mut decoded = split(&self.model.predict_low_res(embedding, &prompts)?, points)?;
        if self.cfg.use_m2m {
            let refined = |d: &Decoded| {
                // the logits of an earlier answer are bounded before they become a prompt
                let mask = d.logits.clamp(-32f32, 32f32)?;
                let clicks = Prompts::point(d.point[0] as f32, d.point[1] as f32);
                Ok(Prompts { mask: Some(MaskPrompt::LowRes(mask)), ..clicks })
            };
            let prompts = decoded.iter().map(refined).collect::<Result<Vec<_>>>()?;
            let points: Vec<[f64; 2]> = decoded.iter().map(|d| d.point).collect();
            decoded.clear();
            let size = self.cfg.points_per_batch;
            for (prompts, points) in prompts.chunks(size).zip(points.chunks(size)) {
                decoded.extend(split(&self.model.predict_low_res(embedding, prompts)?, points)?);
            }
        }
        let threshold = self.cfg.pred_iou_thresh as f32;
        decoded.retain(|d| threshold <= 0.0 || d.predicted_iou > threshold);
        Ok(decoded)
    }

    /// A mask at the size of the crop, if it is stable and does not end where the crop does.
    fn judge(
        &self,
        embedding: &ImageEmbedding,
        decoded: &Decoded,
        crop: &Crop,
        image: (u32, u32),
    ) -> Result<Option<Candidate>> {
        let logits = self.model.enlarge(embedding, &decoded.logits)?.flatten_all()?.to_vec1::<f32>()?;
        let Judged { mask, stability_score } =
            select::judge(&logits, MASK_THRESHOLD, self.cfg.stability_score_offset as f32);
        let threshold = self.cfg.stability_score_thresh as f32;
        if threshold > 0.0 && stability_score < threshold {
            return Ok(None);
        }
        let bbox = PixelBox::around(&mask, crop.size())?.shifted(crop.x0, crop.y0);
        if select::near_crop_edge(bbox, crop, image) {
            return Ok(None);
        }
        let [x, y] = decoded.point;
        Ok(Some(Candidate {
            rle: if crop.size() == image {
                Rle::encode(&mask, image.0, image.1)?
            } else {
                Rle::encode(&uncropped(&mask, crop, image), image.0, image.1)?
            },
            bbox,
            predicted_iou: decoded.predicted_iou,
            stability_score,
            point: [x + f64::from(crop.x0), y + f64::from(crop.y0)],
            crop: *crop,
        }))
    }

    /// Small holes and specks taken away, and the duplicates that this makes.
    fn without_small_regions(&self, found: Vec<Candidate>, size: (u32, u32)) -> Result<Vec<Candidate>> {
        let clean = |mut candidate: Candidate| {
            let mut mask = candidate.rle.decode();
            let changed = regions::remove_small_regions(&mut mask, size, self.cfg.min_mask_region_area)?;
            if changed {
                candidate.rle = Rle::encode(&mask, size.0, size.1)?;
                candidate.bbox = PixelBox::around(&mask, size)?;
            }
            // masks that needed no cleaning are preferred
            Ok((candidate, if changed { 0.0 } else { 1.0 }))
        };
        let (found, scores): (Vec<_>, Vec<f32>) =
            found.into_par_iter().map(clean).collect::<Result<Vec<_>>>()?.into_iter().unzip();
        Ok(keep(found, &scores, self.cfg.box_nms_thresh.max(self.cfg.crop_nms_thresh)))
    }
}

/// A mask at the decoder's size.
struct Decoded {
    /// `[1, 4h, 4w]`.
    logits: candle_core::Tensor,
    predicted_iou: f32,
    point: [f64; 2],
}

/// The masks of all predictions, one after the other.
fn split(predictions: &[LowResPrediction], points: &[[f64; 2]]) -> Result<Vec<Decoded>> {
    let mut masks = Vec::new();
    for (prediction, &point) in predictions.iter().zip(points) {
        for (i, &predicted_iou) in prediction.iou_predictions.iter().enumerate() {
            masks.push(Decoded { logits: prediction.low_res_masks.narrow(0, i, 1)?, predicted_iou, point });
        }
    }
    Ok(masks)
}

/// A crop's mask in the image.
fn uncropped(mask: &[u8], crop: &Crop, (width, height): (u32, u32)) -> Vec<u8> {
    let (width, crop_width) = (width as usize, crop.size().0 as usize);
    let mut whole = vec![0; width * height as usize];
    for (y, row) in mask.chunks_exact(crop_width).enumerate() {
        let at = (crop.y0 as usize + y) * width + crop.x0 as usize;
        whole[at..at + crop_width].copy_from_slice(row);
    }
    whole
}

fn without_duplicates(found: Vec<Candidate>, score: impl Fn(&Candidate) -> f32, threshold: f64) -> Vec<Candidate> {
    let scores: Vec<f32> = found.iter().map(score).collect();
    keep(found, &scores, threshold)
}

fn keep(found: Vec<Candidate>, scores: &[f32], threshold: f64) -> Vec<Candidate> {
    let boxes: Vec<PixelBox> = found.iter().map(|c| c.bbox).collect();
    let mut found: Vec<Option<Candidate>> = found.into_iter().map(Some).collect();
    select::nms(&boxes, scores, threshold).into_iter().filter_map(|i| found[i].take()).collect()
}

impl Candidate {
    fn finish(self) -> AutomaticMask {
        AutomaticMask {
            area: self.rle.area(),
            bbox: self.bbox.xywh(),
            rle: self.rle,
            predicted_iou: self.predicted_iou,
            stability_score: self.stability_score,
            point: self.point,
            crop_box: self.crop.xywh(),
        }
    }
}
