//! The predictors around the models: prompts in, masks at the image's size out.

mod common;

use candle_core::{Device, Tensor};
use common::{assert_same, list, models, picture, small_mobile_sam, small_mobile_sam_of, toy_sam2};
use seg_data::GrayImage;
use seg_data::components::components;
use seg_models::{EmbeddedImage, Error, ImageEmbedding, MaskCleanup, MaskPrompt, Point, Prompts};

fn with_mask(mask: MaskPrompt) -> Prompts {
    Prompts { mask: Some(mask), ..Prompts::point(70.0, 60.0) }
}

/// A grey image whose pixels follow from their column.
fn grey(width: u32, height: u32, value: impl Fn(u32) -> u8) -> GrayImage {
    GrayImage::from_fn(width, height, |x, _| [value(x)].into())
}

#[test]
fn a_prediction_refines_itself() {
    for (name, model) in models() {
        let embedded = EmbeddedImage::new(&*model, &picture(200, 150, 0)).unwrap();
        let first = embedded.predict(&Prompts::point(70.0, 60.0).with_multimask()).unwrap();
        let best = first.best();
        assert!(first.iou_predictions.iter().all(|&iou| iou <= first.iou_predictions[best]));
        let MaskPrompt::LowRes(logits) = first.refine(best).unwrap() else { panic!("{name}: not low-resolution") };
        assert_eq!(logits.dims(), [1, 64, 64]);
        assert_eq!(list(&logits), list(&first.low_res_masks.get(best).unwrap()));

        let refined = embedded.predict(&with_mask(first.refine(best).unwrap())).unwrap();
        let plain = embedded.predict(&Prompts::point(70.0, 60.0)).unwrap();
        assert!(list(&refined.masks) != list(&plain.masks), "{name}: the previous mask has no effect");
        let other = embedded.predict(&with_mask(first.refine((best + 1) % 3).unwrap())).unwrap();
        assert!(list(&refined.masks) != list(&other.masks), "{name}: another previous mask, the same answer");
        assert!(first.refine(3).is_err() && first.mask(3).is_err());
    }
}

/// The embedding without what a decoder has made of it beforehand.
fn bare(embedding: &ImageEmbedding) -> ImageEmbedding {
    let bare = ImageEmbedding::new(embedding.image_embed.clone(), embedding.original_size);
    match embedding.high_res_features.clone() {
        Some(features) => bare.with_high_res(features),
        None => bare,
    }
}

#[test]
fn what_is_prepared_with_an_image_changes_no_bit() {
    for (name, model) in models() {
        let embedding = model.embed(&picture(200, 150, 0)).unwrap();
        let bare = bare(&embedding);
        assert!(embedding.bytes() > bare.bytes(), "{name}: nothing is prepared");
        let click = Prompts::point(70.0, 60.0).with_multimask();
        for prompts in [click, Prompts::bbox([10., 20., 90., 100.]), Prompts::default()] {
            let (prepared, plain) = (model.predict(&embedding, &prompts), model.predict(&bare, &prompts));
            assert_same(&prepared.unwrap(), &plain.unwrap(), name);
        }
    }
}

#[test]
fn no_decoder_takes_what_another_has_prepared() {
    let embedding = small_mobile_sam().embed(&picture(200, 150, 0)).unwrap();
    let (other, click) = (small_mobile_sam_of("b"), Prompts::point(70.0, 60.0));
    let [found, expected] = [&embedding, &bare(&embedding)].map(|embedding| other.predict(embedding, &click).unwrap());
    assert_same(&found, &expected, "another decoder's");
}

#[test]
fn low_resolution_masks_of_another_size_are_refused() {
    for (name, model) in models() {
        let embedded = EmbeddedImage::new(&*model, &picture(64, 64, 0)).unwrap();
        let mask = Tensor::zeros((1, 32, 128), candle_core::DType::F32, &Device::Cpu).unwrap();
        let error = embedded.predict(&Prompts { mask: Some(MaskPrompt::LowRes(mask)), ..Prompts::default() });
        let message = error.unwrap_err().to_string();
        assert!(message.contains("[1, 32, 128]") && message.contains("[1, 64, 64]"), "{name}: {message}");
    }
}

/// The same mask as an image and as logits.
#[test]
fn a_mask_image_is_logits_of_ten() {
    let half = |width: u32, height: u32| grey(width, height, |x| if x < width / 2 { 255 } else { 0 });
    let logits: Vec<f32> = (0..64 * 64).map(|i| if i % 64 < 32 { 10.0 } else { -10.0 }).collect();
    let logits = Tensor::from_vec(logits, (1, 64, 64), &Device::Cpu).unwrap();
    for (name, model) in models() {
        // a square image fills the input of both models; 64x64 is the mask prompt's own size
        let embedded = EmbeddedImage::new(&*model, &picture(128, 128, 0)).unwrap();
        let as_image = embedded.predict(&with_mask(MaskPrompt::Image(half(64, 64)))).unwrap();
        let as_logits = embedded.predict(&with_mask(MaskPrompt::LowRes(logits.clone()))).unwrap();
        assert_same(&as_image, &as_logits, name);
        // 127 is outside, 128 is inside
        let soft = grey(64, 64, |x| if x < 32 { 128 } else { 127 });
        assert_same(&embedded.predict(&with_mask(MaskPrompt::Image(soft))).unwrap(), &as_logits, name);
        let refused = embedded.predict(&with_mask(MaskPrompt::Image(half(64, 128))));
        assert!(matches!(refused, Err(Error::MaskShape { mask: (64, 128), image: (128, 128) })), "{name}");
    }
}

/// SAM pads a wide image below: what lies there is outside the mask.
#[test]
fn a_mask_image_of_a_wide_photo_is_padded_with_outside() {
    let model = small_mobile_sam();
    let embedded = EmbeddedImage::new(&*model, &picture(256, 128, 0)).unwrap();
    let all = embedded.predict(&with_mask(MaskPrompt::Image(grey(256, 128, |_| 255)))).unwrap();
    let logits: Vec<f32> = (0..64 * 64).map(|i| if i / 64 < 32 { 10.0 } else { -10.0 }).collect();
    let logits = Tensor::from_vec(logits, (1, 64, 64), &Device::Cpu).unwrap();
    assert_same(&all, &embedded.predict(&with_mask(MaskPrompt::LowRes(logits))).unwrap(), "padding");
}

/// An image of the low-resolution mask's own size, so that its pixels are the mask's.
#[test]
fn clean_up_changes_small_areas_alone() {
    let image = picture(64, 64, 2);
    let prompts = Prompts::point(25.0, 30.0).with_multimask();
    let answer = |max_hole_area, max_sprinkle_area| {
        let model = toy_sam2(MaskCleanup { max_hole_area, max_sprinkle_area });
        EmbeddedImage::new(&model, &image).unwrap().predict(&prompts).unwrap()
    };
    let raw = answer(0, 0);
    let (mut holes_filled, mut sprinkles_removed) = (0, 0);
    // areas around those that the made-up weights give, small and large
    for area in [1, 8, 64, 1024, 4096] {
        let (filled, removed) = (answer(area, 0), answer(0, area));
        assert!(list(&filled.low_res_masks) == list(&raw.low_res_masks), "what a refinement starts from stays");
        for mask in 0..3 {
            let [raw, filled, removed] = [&raw, &filled, &removed].map(|p| p.mask(mask).unwrap());
            let inside: Vec<u8> = raw.iter().map(|&v| u8::from(v > 0.0)).collect();
            let outside: Vec<u8> = inside.iter().map(|v| 1 - v).collect();
            let (specks, holes) = (components(&inside, 64, 64).unwrap(), components(&outside, 64, 64).unwrap());
            let area_of = |c: &seg_data::components::Components, i: usize| match c.labels[i] {
                0 => u32::MAX,
                label => c.areas[label as usize - 1],
            };
            for i in 0..raw.len() {
                let hole = area_of(&holes, i) <= area;
                let speck = area_of(&specks, i) <= area;
                assert_eq!(filled[i], if hole { 10.0 } else { raw[i] }, "area {area}, mask {mask}, pixel {i}");
                assert_eq!(removed[i], if speck { -10.0 } else { raw[i] }, "area {area}, mask {mask}, pixel {i}");
                holes_filled += usize::from(hole);
                sprinkles_removed += usize::from(speck);
            }
        }
    }
    assert!(holes_filled > 0 && sprinkles_removed > 0, "{holes_filled} {sprinkles_removed}");
}

#[test]
fn prompts_outside_the_image_are_refused() {
    for (name, model) in models() {
        let embedded = EmbeddedImage::new(&*model, &picture(100, 50, 0)).unwrap();
        for (x, y) in [(-1.5, 10.0), (101.5, 10.0), (10.0, 51.5), (10.0, -1.0), (f32::NAN, 1.0), (1.0, f32::INFINITY)] {
            for positive in [true, false] {
                let mut prompts = Prompts::point(50.0, 25.0);
                prompts.points.push(Point { x, y, positive });
                let refused = embedded.predict(&prompts);
                assert!(matches!(refused, Err(Error::PointOutside { width: 100, height: 50, .. })), "{name} {x} {y}");
            }
        }
        for corners in [[-1., 0., 10., 10.], [0., 0., 101., 10.], [0., 0., 10., 51.], [0., f32::NAN, 10., 10.]] {
            let refused = embedded.predict(&Prompts::bbox(corners));
            assert!(matches!(refused, Err(Error::BoxOutside { .. })), "{name} {corners:?}");
        }
        for corners in [[10., 10., 10., 20.], [20., 10., 10., 20.], [10., 30., 20., 20.]] {
            let refused = embedded.predict(&Prompts::bbox(corners));
            assert!(matches!(refused, Err(Error::EmptyBox { .. })), "{name} {corners:?}");
        }
        // the edges themselves belong to the image
        embedded.predict(&Prompts::point(100.0, 50.0)).unwrap();
        embedded.predict(&Prompts::bbox([0.0, 0.0, 100.0, 50.0])).unwrap();
    }
}

#[test]
fn images_of_any_shape() {
    for (name, model) in models() {
        for (width, height) in [(1, 1), (3000, 2), (2, 3000), (1, 700), (257, 255)] {
            let image = picture(width, height, 0);
            let embedded = EmbeddedImage::new(&*model, &image).unwrap();
            let (w, h) = (width as f32, height as f32);
            let mask = MaskPrompt::Image(grey(width, height, |_| 255));
            let all = [
                Prompts::point(0.5 * w, 0.5 * h).with_multimask(),
                Prompts::bbox([0.0, 0.0, w, h]),
                Prompts { mask: Some(mask), ..Prompts::default() },
            ];
            for prompts in all {
                let prediction = embedded.predict(&prompts).unwrap();
                let masks = prediction.iou_predictions.len();
                assert_eq!(prediction.masks.dims(), [masks, height as usize, width as usize], "{name}");
                assert!(list(&prediction.masks).iter().all(|v| v.is_finite()), "{name} {width}x{height}");
            }
        }
        let empty = seg_data::RgbImage::new(0, 5);
        assert!(matches!(model.embed(&empty), Err(Error::EmptyImage { width: 0, height: 5 })), "{name}");
    }
}

#[test]
fn an_embedding_of_another_model_is_refused() {
    let [(_, sam2), (_, mobile_sam)] = models();
    let image = picture(64, 64, 0);
    let prompts = Prompts::point(3.0, 3.0);
    let message = sam2.predict(&mobile_sam.embed(&image).unwrap(), &prompts).unwrap_err().to_string();
    assert!(message.contains("not of SAM 2"), "{message}");
    let message = mobile_sam.predict(&sam2.embed(&image).unwrap(), &prompts).unwrap_err().to_string();
    assert!(message.contains("not of SAM"), "{message}");
}
