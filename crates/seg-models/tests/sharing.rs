//! One model, many prompts, many threads.

mod common;

use common::{assert_same, models, picture};
use seg_models::{EmbeddedImage, MaskPrompt, Point, Prediction, Prompts};

fn prompts(width: u32, height: u32) -> Vec<Prompts> {
    let (w, h) = (width as f32, height as f32);
    let background = Point { x: 0.9 * w, y: 0.1 * h, positive: false };
    let mut two = Prompts::point(0.4 * w, 0.5 * h);
    two.points.push(background);
    let mut corrected = Prompts::bbox([0.1 * w, 0.2 * h, 0.7 * w, 0.8 * h]);
    corrected.points.push(background);
    let mut left = seg_data::GrayImage::new(width, height);
    left.enumerate_pixels_mut().filter(|(x, ..)| *x < width / 2).for_each(|(.., p)| p.0 = [255]);
    vec![
        Prompts::point(0.4 * w, 0.5 * h).with_multimask(),
        two,
        Prompts::bbox([0.1 * w, 0.2 * h, 0.7 * w, 0.8 * h]),
        corrected,
        Prompts { mask: Some(MaskPrompt::Image(left)), ..Prompts::default() },
        Prompts::default(),
    ]
}

#[test]
fn one_encoding_answers_like_many() {
    for (name, model) in models() {
        let image = picture(200, 150, 1);
        let shared = EmbeddedImage::new(&*model, &image).unwrap();
        for (i, prompts) in prompts(200, 150).iter().enumerate() {
            let alone = model.predict(&model.embed(&image).unwrap(), prompts).unwrap();
            let masks = if prompts.multimask { 3 } else { 1 };
            assert_eq!(alone.masks.dims(), [masks, 150, 200]);
            assert_eq!((alone.low_res_masks.dims(), alone.iou_predictions.len()), (&[masks, 64, 64][..], masks));
            assert_same(&shared.predict(prompts).unwrap(), &alone, &format!("{name}, prompt {i}"));
        }
    }
}

#[test]
fn threads_share_a_model() {
    for (name, model) in models() {
        let run = |seed: u32| -> Vec<Prediction> {
            let (width, height) = (120 + 40 * seed, 90);
            let embedded = EmbeddedImage::new(&*model, &picture(width, height, seed)).unwrap();
            prompts(width, height).iter().map(|prompts| embedded.predict(prompts).unwrap()).collect()
        };
        let serial: Vec<_> = (0..4).map(run).collect();
        let parallel: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || run(seed))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (seed, (serial, parallel)) in serial.iter().zip(&parallel).enumerate() {
            for (i, (a, b)) in serial.iter().zip(parallel).enumerate() {
                assert_same(a, b, &format!("{name}, thread {seed}, prompt {i}"));
            }
        }
    }
}

#[test]
fn threads_share_an_image() {
    for (name, model) in models() {
        let embedded = EmbeddedImage::new(&*model, &picture(160, 160, 3)).unwrap();
        let prompts = prompts(160, 160);
        let serial: Vec<_> = prompts.iter().map(|p| embedded.predict(p).unwrap()).collect();
        std::thread::scope(|scope| {
            for (p, expected) in prompts.iter().zip(&serial) {
                let embedded = &embedded;
                scope.spawn(move || assert_same(&embedded.predict(p).unwrap(), expected, name));
            }
        });
    }
}
