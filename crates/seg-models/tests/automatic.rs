//! All the masks of an image, with small models of made-up weights.
#![allow(clippy::unwrap_used)] // in helpers too, not in `#[test]` functions alone

mod common;

use candle_core::{DType, Device, Tensor};
use common::{list, models, picture};
use seg_data::RgbImage;
use seg_models::{
    AutomaticMaskConfig, AutomaticMaskGenerator, ImageEmbedding, Prediction, PromptableSegmenter, Prompts, Result,
};

/// Answers to every click with squares of 8, 24 and 60 pixels around it, of these predicted IoUs; pixels count from the
/// crop's corner. Logits are ±`sharpness`.
struct Squares {
    ious: [f32; 3],
    sharpness: f32,
}

const SQUARES: Squares = Squares { ious: [0.9, 0.95, 0.5], sharpness: 5.0 };

impl PromptableSegmenter for Squares {
    fn embed(&self, image: &RgbImage) -> Result<ImageEmbedding> {
        let image_embed = Tensor::zeros((1, 1, 1, 1), DType::F32, &Device::Cpu)?;
        Ok(ImageEmbedding::new(image_embed, image.dimensions()))
    }

    fn predict(&self, embedding: &ImageEmbedding, prompts: &Prompts) -> Result<Prediction> {
        let (width, height) = embedding.original_size;
        let click = prompts.points[0];
        let mut logits = Vec::new();
        for half in [4.0, 12.0, 30.0] {
            for y in 0..height {
                for x in 0..width {
                    let inside = (x as f32 + 0.5 - click.x).abs() < half && (y as f32 + 0.5 - click.y).abs() < half;
                    logits.push(if inside { self.sharpness } else { -self.sharpness });
                }
            }
        }
        let masks = Tensor::from_vec(logits, (3, height as usize, width as usize), &Device::Cpu)?;
        Ok(Prediction { low_res_masks: masks.clone(), masks, iou_predictions: self.ious.to_vec() })
    }
}

fn config(points_per_side: usize) -> AutomaticMaskConfig {
    AutomaticMaskConfig { points_per_side, ..AutomaticMaskConfig::sam() }
}

#[test]
fn batches_decode_as_one_by_one() {
    for (name, model) in models() {
        let embedding = model.embed(&picture(200, 150, 1)).unwrap();
        let point = |x, y| Prompts::point(x, y).with_multimask();
        // two kinds, so that there are two batches, and prompts without anything, which have no batch
        let prompts = [
            point(20., 30.),
            point(150., 100.),
            point(199., 1.),
            Prompts::default(),
            Prompts::default(),
            Prompts::bbox([10., 20., 90., 100.]),
            Prompts::bbox([60., 5., 190., 140.]),
        ];
        let together = model.predict_low_res(&embedding, &prompts).unwrap();
        assert_eq!(together.len(), prompts.len());
        for (i, (prompts, together)) in prompts.iter().zip(&together).enumerate() {
            let alone = model.predict(&embedding, prompts).unwrap();
            assert_eq!(together.iou_predictions.len(), alone.iou_predictions.len());
            let enlarged = model.enlarge(&embedding, &together.low_res_masks).unwrap();
            assert_eq!(enlarged.dims(), alone.masks.dims());
            let pairs =
                [(list(&enlarged), list(&alone.masks)), (together.iou_predictions.clone(), alone.iou_predictions)];
            for (a, b) in pairs {
                let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 1e-4, "{name}, prompt {i}: {worst}");
            }
        }
    }
}

#[test]
fn thresholds_and_duplicates() {
    let image = picture(120, 120, 0);
    // clicks at 20, 60 and 100: squares that do not touch
    let masks = AutomaticMaskGenerator::new(&SQUARES, config(3)).unwrap().generate(&image).unwrap();
    assert_eq!(masks.len(), 2 * 9); // the third is of too low an IoU
    assert!(masks.windows(2).all(|m| m[0].predicted_iou >= m[1].predicted_iou));
    let first = &masks[0];
    assert_eq!((first.point, first.area, first.bbox), ([20.0, 20.0], 24 * 24, [8, 8, 23, 23]));
    assert_eq!((first.crop_box, first.stability_score), ([0, 0, 120, 120], 1.0));
    assert_eq!(first.rle.bbox(), [8, 8, 24, 24]);
    let record = first.record();
    assert_eq!((record.area, record.point_coords, record.segmentation.size), (576, [[20.0, 20.0]], [120, 120]));

    // clicks two pixels apart: nearly the same squares
    let grid = vec![vec![[0.5, 0.5], [0.52, 0.5]]];
    let with = |box_nms_thresh| AutomaticMaskConfig { point_grids: Some(grid.clone()), box_nms_thresh, ..config(1) };
    let count = |cfg| AutomaticMaskGenerator::new(&SQUARES, cfg).unwrap().generate(&image).unwrap().len();
    assert_eq!((count(with(0.5)), count(with(0.99))), (2, 4));

    // logits that the offset flips
    let soft = Squares { sharpness: 0.5, ..SQUARES };
    let count = |cfg| AutomaticMaskGenerator::new(&soft, cfg).unwrap().generate(&image).unwrap().len();
    assert_eq!(count(config(3)), 0);
    assert_eq!(count(AutomaticMaskConfig { stability_score_offset: 0.25, ..config(3) }), 18);
    assert_eq!(count(AutomaticMaskConfig { stability_score_thresh: 0.0, pred_iou_thresh: 0.0, ..config(3) }), 27);
}

#[test]
fn crops_have_their_own_grids_and_no_cut_masks() {
    let image = picture(200, 160, 0);
    let cfg = AutomaticMaskConfig { crop_n_layers: 1, crop_nms_thresh: 1.0, ..config(4) };
    let masks = AutomaticMaskGenerator::new(&SQUARES, cfg.clone()).unwrap().generate(&image).unwrap();
    let whole = |m: &&seg_models::AutomaticMask| m.crop_box == [0, 0, 200, 160];
    let (of_image, of_crops): (Vec<_>, Vec<_>) = masks.iter().partition(whole);
    assert_eq!(of_image.len(), 2 * 16);
    // the smaller crops' masks come first
    assert!(!whole(&&masks[0]) && whole(&masks.last().unwrap()));
    assert!(of_crops.len() > 16 && of_crops.len() < 4 * 2 * 16, "{}", of_crops.len());
    for mask in of_crops {
        let [x, y, width, height] = mask.crop_box;
        let [left, top, w, h] = mask.bbox;
        let (right, bottom) = (left + w, top + h);
        assert!(x == 0 || left > x + 20, "{mask:?}");
        assert!(y == 0 || top > y + 20, "{mask:?}");
        assert!(x + width == 200 || right + 20 < x + width, "{mask:?}");
        assert!(y + height == 160 || bottom + 20 < y + height, "{mask:?}");
        // the square is where the click is, in pixels of the image
        let middle = [f64::from(left) + f64::from(w + 1) / 2.0, f64::from(top) + f64::from(h + 1) / 2.0];
        if left > 0 && top > 0 && right < 199 && bottom < 159 {
            assert!((0..2).all(|i| (middle[i] - mask.point[i]).abs() <= 0.5), "{mask:?}");
        }
    }
    // two grids a layer apart are needed
    let error = AutomaticMaskGenerator::new(&SQUARES, AutomaticMaskConfig { point_grids: Some(vec![vec![]]), ..cfg });
    assert!(error.err().unwrap().to_string().contains("point_grids is 1 grids, expected 2"));
}

#[test]
fn small_regions_are_cleaned() {
    let image = picture(120, 120, 0);
    let cfg = AutomaticMaskConfig { min_mask_region_area: 100, ..config(3) };
    let masks = AutomaticMaskGenerator::new(&SQUARES, cfg).unwrap().generate(&image).unwrap();
    // squares of 64 pixels are all that there is of their masks: they stay, behind those that needed nothing
    assert_eq!(masks.iter().map(|m| m.area).collect::<Vec<_>>(), [[576; 9], [64; 9]].concat());
}

/// With real decoders: everything runs, and the size of the batches makes no difference.
#[test]
fn real_decoders() {
    for (name, model) in models() {
        for use_m2m in [false, true] {
            let image = picture(150, 110, 2);
            let run = |points_per_batch| {
                let cfg = AutomaticMaskConfig {
                    points_per_batch,
                    pred_iou_thresh: 0.0,
                    stability_score_thresh: 0.0,
                    crop_n_layers: 1,
                    use_m2m,
                    ..config(2)
                };
                AutomaticMaskGenerator::new(&*model, cfg).unwrap().generate(&image).unwrap()
            };
            let (small, large) = (run(2), run(64));
            assert!(!small.is_empty(), "{name}");
            assert_eq!(small.len(), large.len(), "{name}");
            for (a, b) in small.iter().zip(&large) {
                assert_eq!((a.point, a.crop_box), (b.point, b.crop_box), "{name}");
                assert!(a.area.abs_diff(b.area) <= 2 && (a.predicted_iou - b.predicted_iou).abs() < 1e-4, "{name}");
            }
        }
    }
}

#[test]
fn refusals() {
    let error = |cfg| AutomaticMaskGenerator::new(&SQUARES, cfg).err().unwrap().to_string();
    assert_eq!(error(config(0)), "automatic masks: points_per_side is 0, expected 1 or more");
    assert!(error(AutomaticMaskConfig { crop_overlap_ratio: 1.5, ..config(1) }).contains("crop_overlap_ratio is 1.5"));
    assert!(error(AutomaticMaskConfig { box_nms_thresh: f64::NAN, ..config(1) }).contains("a finite number"));
    let generator = AutomaticMaskGenerator::new(&SQUARES, config(1)).unwrap();
    assert!(generator.generate(&RgbImage::new(0, 5)).unwrap_err().to_string().contains("0x5"));
}

#[test]
fn who_waits_is_told_and_may_stop() {
    let image = picture(64, 48, 1);
    let generator = AutomaticMaskGenerator::new(&SQUARES, config(4)).unwrap();
    let all = generator.generate(&image).unwrap();
    let embedding = SQUARES.embed(&image).unwrap();
    let mut told = Vec::new();
    let watched = generator.generate_watched(&image, Some(&embedding), &mut |done, of| {
        told.push((done, of));
        true
    });
    assert_eq!(watched.unwrap().unwrap(), all);
    assert_eq!(told, [(8, 16), (16, 16)]);
    assert_eq!(generator.generate_watched(&image, None, &mut |_, _| false).unwrap(), None);
}
