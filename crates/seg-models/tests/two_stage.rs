//! The two-stage predictor with a first stage that answers what it is told, and second stages of toy size.
#![allow(clippy::unwrap_used)] // in tests a panic is the report, in their helpers too

use candle_core::{DType, Device, Tensor};
use detail_refine::{IsNet, IsNetConfig};
use seg_data::{GrayImage, RgbImage};
use seg_golden::GeneratedWeights;
use seg_models::dis_sam::{CoarseMask, DisSamRefiner, MaskChoice, Source, Surroundings, TwoStage, View};
use seg_models::is_net::{IsNetPredictor, ProbabilityMap};
use seg_models::{Error, ImageEmbedding, Point, Prediction, PromptableSegmenter, Prompts, Result};

const SIZE: (u32, u32) = (40, 30);

/// Three masks, of which the last is the likeliest: a column, nothing, a rectangle.
struct FirstStage;

impl PromptableSegmenter for FirstStage {
    fn embed(&self, image: &RgbImage) -> Result<ImageEmbedding> {
        let image_embed = Tensor::zeros((1, 1, 1, 1), DType::F32, &Device::Cpu)?;
        Ok(ImageEmbedding::new(image_embed, image.dimensions()))
    }

    fn predict(&self, embedding: &ImageEmbedding, prompts: &Prompts) -> Result<Prediction> {
        let (w, h) = embedding.original_size;
        prompts.check(w, h)?;
        let inside = |mask: u32, x: u32, y: u32| match mask {
            0 => x == 3,
            1 => false,
            _ => (10..25).contains(&x) && (5..20).contains(&y),
        };
        let count = if prompts.multimask { 3 } else { 1 };
        let pixels = (0..count).flat_map(|m| (0..w * h).map(move |i| if inside(m, i % w, i / w) { 5f32 } else { -5. }));
        let masks =
            Tensor::from_vec(pixels.collect::<Vec<_>>(), (count as usize, h as usize, w as usize), &Device::Cpu)?;
        let iou_predictions = [0.5, 0.2, 0.9][..count as usize].to_vec();
        Ok(Prediction { low_res_masks: masks.clone(), masks, iou_predictions })
    }
}

fn toy(in_channels: usize) -> IsNet {
    let mut cfg = IsNetConfig { in_channels, stem: 4, ..IsNetConfig::is_net() };
    for stage in cfg.encoder.iter_mut().chain(&mut cfg.decoder) {
        (stage.mid, stage.out) = (4, 6);
    }
    IsNet::new(&cfg, GeneratedWeights::new("").var_builder(DType::F32, &Device::Cpu)).unwrap()
}

fn dis_sam() -> TwoStage {
    TwoStage::dis_sam(DisSamRefiner::new(toy(5), 64, DType::F32, &Device::Cpu))
}

fn sam_is_net() -> TwoStage {
    let net = IsNetPredictor::new(toy(3), 64, DType::F32, &Device::Cpu);
    TwoStage::sam_is_net(net, Surroundings { padding: 0.2, reach: 0.1 })
}

fn photo() -> RgbImage {
    RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| [(x * 6) as u8, (y * 8) as u8, ((x + y) * 3) as u8].into())
}

fn click() -> Prompts {
    Prompts::point(12., 9.)
}

fn error<T>(result: Result<T>) -> String {
    let text = result.map(drop).unwrap_err().to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[test]
fn the_choice_among_the_masks() {
    let coarse = |two_stage: TwoStage| two_stage.predict(&FirstStage, &photo(), &click()).unwrap().coarse;
    let first = coarse(dis_sam()); // the authors take the first of three
    assert_eq!((first.bbox, first.predicted_iou), ([3, 0, 4, 30], Some(0.5)));
    assert_eq!(coarse(sam_is_net()).bbox, [10, 5, 25, 20]);
    assert_eq!(coarse(dis_sam().with_choice(MaskChoice::Best)).predicted_iou, Some(0.9));
    assert_eq!(coarse(sam_is_net().with_choice(MaskChoice::Single)).bbox, [3, 0, 4, 30]);
}

#[test]
fn a_probability_for_every_pixel_and_nothing_far_from_the_object() {
    let whole = dis_sam().predict(&FirstStage, &photo(), &click()).unwrap().probability;
    assert_eq!((whole.size(), whole.values().len()), (SIZE, 1200));
    let extremes = whole.values().iter().fold((1f32, 0f32), |(low, high), &v| (low.min(v), high.max(v)));
    assert_eq!(extremes, (0., 1.));

    let near = sam_is_net().predict(&FirstStage, &photo(), &click()).unwrap();
    // reach 0.1 of 15 pixels: full to 1.5 pixels from the mask, nothing from 3 on
    for (i, &p) in near.probability.values().iter().enumerate() {
        let (x, y) = (i as u32 % SIZE.0, i as u32 / SIZE.0);
        if !(8..27).contains(&x) || !(3..22).contains(&y) {
            assert_eq!(p, 0., "({x}, {y})");
        }
    }
    assert!(near.probability.values().iter().any(|&p| p > 0.));
    assert!((0. ..=1.).contains(&near.agreement()));
}

#[test]
fn a_second_stage_that_looks_from_near_sees_the_surroundings_of_the_users_box() {
    let near = dis_sam().with_view(View::Near(Surroundings { padding: 0.2, reach: 0.1 })).with_choice(MaskChoice::Best);
    let answer = |bbox| {
        let prompts = Prompts { bbox, ..click() };
        near.predict(&FirstStage, &photo(), &prompts).unwrap().probability
    };
    // a box of 10 pixels with 2 around it; without one that of the coarse mask, 15 pixels with 3 around it
    for (bbox, [x0, y0, x1, y1]) in [(Some([12., 6., 22., 14.]), [10, 4, 24, 16]), (None, [7, 2, 28, 23])] {
        let map = answer(bbox);
        assert_eq!(map.size(), SIZE);
        let at = |i: usize| (i as u32 % SIZE.0, i as u32 / SIZE.0);
        let inside = |i: usize| (x0..x1).contains(&at(i).0) && (y0..y1).contains(&at(i).1);
        let (within, beyond): (Vec<_>, Vec<_>) = map.values().iter().enumerate().partition(|&(i, _)| inside(i));
        assert!(beyond.iter().all(|&(_, &p)| p == 0.), "{bbox:?}");
        assert!(within.iter().any(|&(_, &p)| p == 1.), "{bbox:?}");
    }
    // half of the image and more is looked at as a whole
    let whole = [1., 1., 38., 29.];
    let refiner = DisSamRefiner::new(toy(5), 64, DType::F32, &Device::Cpu);
    let mask = CoarseMask::predict(&FirstStage, &FirstStage.embed(&photo()).unwrap(), &click(), MaskChoice::Best)
        .unwrap()
        .mask;
    let map = refiner.refine_near(&photo(), &mask, whole, &Surroundings::default()).unwrap();
    assert_eq!(map, answer(Some(whole)));
    assert_ne!(map, refiner.refine(&photo(), &mask).unwrap()); // which is shown the mask's own box
    let small = GrayImage::new(4, 4);
    assert!(error(refiner.refine_near(&photo(), &small, whole, &Surroundings::default())).contains("4x4"));
}

/// Answers with these masks and predicted IoUs, whatever it is asked.
struct Answers(Vec<(Vec<bool>, f32)>);

impl PromptableSegmenter for Answers {
    fn embed(&self, image: &RgbImage) -> Result<ImageEmbedding> {
        FirstStage.embed(image)
    }

    fn predict(&self, _: &ImageEmbedding, _: &Prompts) -> Result<Prediction> {
        let logits = self.0.iter().flat_map(|(mask, _)| mask.iter().map(|&inside| if inside { 5f32 } else { -5. }));
        let shape = (self.0.len(), SIZE.1 as usize, SIZE.0 as usize);
        let masks = Tensor::from_vec(logits.collect::<Vec<_>>(), shape, &Device::Cpu)?;
        let iou_predictions = self.0.iter().map(|(_, iou)| *iou).collect();
        Ok(Prediction { low_res_masks: masks.clone(), masks, iou_predictions })
    }
}

#[test]
fn the_candidate_that_the_second_stage_sees() {
    let net = IsNetPredictor::new(toy(3), 64, DType::F32, &Device::Cpu);
    let seen: Vec<bool> = net.predict(&photo()).unwrap().values().iter().map(|&p| p > 0.5).collect();
    let not: Vec<bool> = seen.iter().map(|&inside| !inside).collect();
    let inside: Vec<u32> = (0..SIZE.0 * SIZE.1).filter(|&i| seen[i as usize]).collect();
    assert!(inside.len() > 100 && inside.len() < 1100, "the toy sees something, and not all: {}", inside.len());
    let whole = Prompts::bbox([0., 0., SIZE.0 as f32, SIZE.1 as f32]);
    let column: Vec<bool> = (0..SIZE.0 * SIZE.1).map(|i| i % SIZE.0 == 3).collect();

    // the likeliest are the surroundings
    let model = Answers(vec![(column, 0.5), (not.clone(), 0.98), (seen.clone(), 0.7)]);
    let refined = sam_is_net().predict(&model, &photo(), &whole).unwrap();
    let verdict = refined.verdict.unwrap();
    assert_eq!((refined.coarse.candidate, refined.coarse.predicted_iou), (Some(2), Some(0.7)));
    assert_eq!((verdict.source, verdict.agreement, verdict.passed_over), (Source::Both, 1., Some(0.)));
    assert!(refined.agreement() > 0.95, "{}", refined.agreement());
    // the same where the caller wants the likeliest: what the second stage sees is something else
    let best = sam_is_net().with_choice(MaskChoice::Best).predict(&model, &photo(), &whole).unwrap();
    assert_eq!((best.coarse.candidate, best.verdict.unwrap().source), (Some(1), Source::FirstStage));

    // only the surroundings: the second stage in the box
    let refined = sam_is_net().predict(&Answers(vec![(not, 0.98)]), &photo(), &whole).unwrap();
    let verdict = refined.verdict.unwrap();
    assert_eq!((verdict.source, verdict.agreement, verdict.passed_over), (Source::SecondStage, 0., None));
    for (&inside, &p) in seen.iter().zip(refined.probability.values()) {
        assert_eq!(inside, p > 0.5);
    }
    assert!(dis_sam().predict(&model, &photo(), &whole).unwrap().verdict.is_none());
}

#[test]
fn a_click_on_a_part_of_what_the_second_stage_sees() {
    let net = IsNetPredictor::new(toy(3), 64, DType::F32, &Device::Cpu);
    let seen: Vec<u8> = net.predict(&photo()).unwrap().values().iter().map(|&p| u8::from(p > 0.5)).collect();
    let parts = seg_data::components::components(&seen, SIZE.0, SIZE.1).unwrap();
    let largest = parts.largest().unwrap();
    let object: Vec<bool> = parts.labels.iter().map(|&label| label == largest).collect();
    let inside: Vec<u32> = (0..SIZE.0 * SIZE.1).filter(|&i| object[i as usize]).collect();
    let at = |i: u32| Point { x: (i % SIZE.0) as f32 + 0.5, y: (i / SIZE.0) as f32 + 0.5, positive: true };
    let (first, last) = (at(inside[0]), at(inside[inside.len() - 1]));
    // the likeliest is one pixel of it
    let pixel: Vec<bool> = (0..SIZE.0 * SIZE.1).map(|i| i == inside[0]).collect();
    let model = Answers(vec![(object, 0.7), (pixel, 0.98)]);

    let ask = |points: Vec<Point>| {
        let prompts = Prompts { points, ..Prompts::default() };
        sam_is_net().predict(&model, &photo(), &prompts).unwrap()
    };
    let refined = ask(vec![first, last]);
    let verdict = refined.verdict.unwrap();
    let all = seen.iter().filter(|&&inside| inside != 0).count();
    let source = if inside.len() * 10 >= all * 9 { Source::OneObject } else { Source::Both };
    assert_eq!((refined.coarse.candidate, verdict.source, verdict.agreement), (Some(0), source, 1.));
    assert!(verdict.passed_over.unwrap() < 0.75);
    // not where a click says that the rest does not belong to it
    let refined = ask(vec![first, Point { positive: false, ..last }]);
    assert_eq!((refined.coarse.candidate, refined.verdict.unwrap().passed_over), (Some(1), None));
}

#[test]
fn a_mask_from_elsewhere() {
    let mask = GrayImage::from_fn(SIZE.0, SIZE.1, |x, _| [if x < 7 { 200 } else { 100 }].into());
    for two_stage in [dis_sam(), sam_is_net()] {
        let refined = two_stage.refine_mask(&photo(), &mask).unwrap();
        assert_eq!((refined.coarse.bbox, refined.coarse.predicted_iou), ([0, 0, 7, 30], None));
        let same = two_stage.refine(&photo(), CoarseMask::from_image(&mask).unwrap()).unwrap();
        assert_eq!(refined.probability, same.probability);
    }
}

#[test]
fn what_cannot_be_is_refused() {
    for two_stage in [dis_sam(), sam_is_net()] {
        let predict = |prompts: Prompts| error(two_stage.predict(&FirstStage, &photo(), &prompts));
        assert!(predict(Prompts::default()).contains("there is no prompt"));
        assert!(predict(Prompts::bbox([5., 5., 41., 10.])).contains("leaves the image"));
        assert!(predict(Prompts::bbox([5., 5., 5., 10.])).contains("is empty"));
        assert!(predict(Prompts::point(-1., 3.)).contains("outside the image"));
        let wrong = error(two_stage.refine_mask(&photo(), &GrayImage::from_pixel(30, 40, [255].into())));
        assert!(wrong.contains("the mask is 30x40 pixels, expected the size of the image, 40x30"), "{wrong}");
        let empty = error(two_stage.refine_mask(&photo(), &GrayImage::new(40, 30)));
        assert!(empty.contains("the mask is empty"), "{empty}");
    }
    let embedding = FirstStage.embed(&photo()).unwrap();
    let nothing = |prompts: &Prompts| -> Result<Prediction> {
        let mut prediction = FirstStage.predict(&embedding, prompts)?;
        prediction.masks = (prediction.masks * 0.)?;
        Ok(prediction)
    };
    struct Blind<F>(F);
    impl<F: Fn(&Prompts) -> Result<Prediction> + Send + Sync> PromptableSegmenter for Blind<F> {
        fn embed(&self, image: &RgbImage) -> Result<ImageEmbedding> {
            FirstStage.embed(image)
        }
        fn predict(&self, _: &ImageEmbedding, prompts: &Prompts) -> Result<Prediction> {
            (self.0)(prompts)
        }
    }
    assert!(error(dis_sam().predict(&Blind(nothing), &photo(), &click())).contains("the coarse mask is empty"));
    assert!(matches!(ProbabilityMap::new(vec![0.; 5], (2, 3)), Err(Error::MapLength { len: 5, size: (2, 3) })));
}

#[test]
fn checkpoints_of_the_other_form_are_named() {
    let cfg = |in_channels| IsNetConfig { in_channels, ..IsNetConfig::is_net() };
    let dir = tempfile::tempdir().unwrap();
    let path = |channels: usize| {
        let weights = GeneratedWeights::new("");
        IsNet::new(&cfg(channels), weights.var_builder(DType::F32, &Device::Cpu)).unwrap();
        // shapes are all that matters: zeros, and few of them in memory at a time
        let zeros = |n: seg_golden::NamedShape| (n.name, Tensor::zeros(n.shape, DType::U8, &Device::Cpu).unwrap());
        let tensors = weights.requested().into_iter().map(zeros).collect();
        let path = dir.path().join(format!("{channels}.safetensors"));
        seg_checkpoints::write_safetensors(&path, &tensors, &Default::default()).unwrap();
        path
    };
    let text = error(DisSamRefiner::load(&path(3), &Default::default()));
    assert!(text.contains("looks like is-net (IS-Net), expected dis-sam") && text.contains("conv_in.weight"), "{text}");
    let text = error(IsNetPredictor::load(&path(5), &Default::default()));
    assert!(text.contains("looks like dis-sam (DIS-SAM's IS-Net), expected is-net"), "{text}");
}
