//! Sessions of the video predictor: what they keep, and what they refuse.
#![allow(clippy::unwrap_used)]

mod common;

use candle_core::{DType, Device};
use common::{list, picture};
use hiera_encoder::HieraConfig;
use seg_data::GrayImage;
use seg_golden::GeneratedWeights;
use seg_models::sam2::video::{
    Direction, FrameMasks, Retention, Sam2VideoConfig, Sam2VideoModel, Sam2VideoPredictor, SessionOptions,
    TrackingConfig, VideoFrame, VideoSession,
};
use seg_models::sam2::{Sam2Config, Sam2Version};
use seg_models::{Error, MaskPrompt, Prompts};
use std::collections::BTreeMap;

use Direction::{Backward, Forward};

fn predictor(tracking: TrackingConfig) -> Sam2VideoPredictor {
    let trunk =
        HieraConfig { embed_dim: 8, stages: vec![1, 1, 1, 1], global_att_blocks: vec![], ..HieraConfig::tiny() };
    let sam2 = Sam2Config { image_size: 64, ..Sam2Config::new(Sam2Version::V2_1, trunk) };
    let cfg = Sam2VideoConfig { tracking, ..Sam2VideoConfig::new(sam2) };
    // under this salt the object is there on most frames
    let vb = GeneratedWeights::new("p1").var_builder(DType::F32, &Device::Cpu);
    Sam2VideoPredictor::new(Sam2VideoModel::new(&cfg, vb).unwrap(), DType::F32, &Device::Cpu)
}

fn frames(predictor: &Sam2VideoPredictor, count: u32) -> Vec<VideoFrame> {
    (0..count).map(|t| predictor.encode(&picture(80, 60, t)).unwrap()).collect()
}

fn session(predictor: &Sam2VideoPredictor, retention: Retention) -> VideoSession<'_> {
    predictor.session(SessionOptions { retention, ..SessionOptions::default() })
}

/// Equal to the last bit.
#[track_caller]
fn assert_same(a: &FrameMasks, b: &FrameMasks) {
    assert_eq!((a.frame, a.size, a.masks.len()), (b.frame, b.size, b.masks.len()));
    for (a_mask, b_mask) in a.masks.iter().zip(&b.masks) {
        assert_eq!((a_mask.object, a_mask.object_score), (b_mask.object, b_mask.object_score), "frame {}", a.frame);
        assert!(list(&a_mask.logits) == list(&b_mask.logits), "frame {}, object {}", a.frame, a_mask.object);
    }
}

#[test]
fn a_bounded_memory_gives_the_same_masks() {
    let predictor = predictor(TrackingConfig::default());
    let frames = frames(&predictor, 40);
    let mut sessions = [Retention::Reach, Retention::Everything].map(|r| session(&predictor, r));
    for session in &mut sessions {
        session.prompt(8, &frames[8], 1, &Prompts::point(30., 30.)).unwrap();
        session.prompt(30, &frames[30], 1, &Prompts::bbox([10., 10., 50., 40.])).unwrap();
        session.prompt(22, &frames[22], 2, &Prompts::point(60., 20.)).unwrap();
        assert_eq!(session.first_prompted_frame(), Some(8));
    }
    for (t, direction) in (8..40).map(|t| (t, Forward)).chain((0..8).rev().map(|t| (t, Backward))) {
        let [a, b] = sessions.each_mut().map(|session| session.track(t, &frames[t], direction).unwrap());
        assert_same(&a, &b);
    }
    let maps = |session: &VideoSession<'_>| {
        session.bank(2).unwrap().tracked().values().filter(|memory| memory.maskmem_features.is_some()).count()
    };
    assert_eq!(maps(&sessions[1]), 39);
    assert!(maps(&sessions[0]) < 39);
}

#[test]
fn objects_come_and_go() {
    let predictor = predictor(TrackingConfig::default());
    let frames = frames(&predictor, 6);
    let mut alone = session(&predictor, Retention::Reach);
    let mut crowd = session(&predictor, Retention::Reach);
    for session in [&mut alone, &mut crowd] {
        session.prompt(0, &frames[0], 7, &Prompts::point(30., 30.)).unwrap();
    }
    let mut seen = Vec::new();
    for (t, frame) in frames.iter().enumerate() {
        if t == 2 {
            crowd.prompt(2, frame, 3, &Prompts::point(60., 20.)).unwrap();
        }
        if t == 5 {
            assert!(crowd.remove_object(3) && !crowd.remove_object(3));
        }
        let (one, many) = (alone.track(t, frame, Forward).unwrap(), crowd.track(t, frame, Forward).unwrap());
        seen.push(many.masks.len());
        assert_same(&one, &FrameMasks { masks: vec![many.masks[0].clone()], ..many });
    }
    assert_eq!(seen, [1, 1, 2, 2, 2, 1]);
    assert_eq!(crowd.objects(), [7]);
}

#[test]
fn a_restored_session_goes_on_alike() {
    let predictor = predictor(TrackingConfig::default());
    let frames = frames(&predictor, 24);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.safetensors");
    let mut whole = session(&predictor, Retention::Reach);
    whole.prompt(2, &frames[2], 1, &Prompts::point(30., 30.)).unwrap();
    whole.prompt(20, &frames[20], 9, &Prompts::point(60., 20.)).unwrap();
    for (t, frame) in frames.iter().enumerate().take(20).skip(2) {
        whole.track(t, frame, Forward).unwrap();
    }
    let notes = BTreeMap::from([("why".to_owned(), "a test".to_owned())]);
    whole.save(&path, &notes).unwrap();
    let (mut restored, read) = predictor.restore(&path, SessionOptions::default()).unwrap();
    assert_eq!((read, restored.objects()), (notes, vec![1, 9]));
    for (t, direction) in (20..24).map(|t| (t, Forward)).chain([(1, Backward), (0, Backward)]) {
        assert_same(
            &whole.track(t, &frames[t], direction).unwrap(),
            &restored.track(t, &frames[t], direction).unwrap(),
        );
    }
    // a click on a tracked frame is a correction in both
    let click = Prompts::point(10., 10.);
    let [a, b] = [&mut whole, &mut restored].map(|s| s.prompt(22, &frames[22], 1, &click).unwrap());
    assert!(list(&a.logits) == list(&b.logits));
}

#[test]
fn other_files_are_no_sessions() {
    let predictor = predictor(TrackingConfig::default());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.safetensors");
    let tensors = BTreeMap::from([("x".to_owned(), candle_core::Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap())]);
    seg_checkpoints::write_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
    let message = predictor.restore(&path, SessionOptions::default()).unwrap_err().to_string();
    assert!(message.contains("other.safetensors") && message.contains("`objects`"), "{message}");

    let tensors = BTreeMap::from([(
        "1.conditioning.0.obj_ptr".to_owned(),
        candle_core::Tensor::zeros((1, 9), DType::F32, &Device::Cpu).unwrap(),
    )]);
    let metadata = BTreeMap::from([("objects".to_owned(), "1".to_owned())]);
    seg_checkpoints::write_safetensors(&path, &tensors, &metadata).unwrap();
    let message = predictor.restore(&path, SessionOptions::default()).unwrap_err().to_string();
    assert!(message.contains("[1, 9]") && message.contains("[1, 256]"), "{message}");
}

#[test]
fn corrections() {
    for becomes_conditioning in [false, true] {
        let predictor = predictor(TrackingConfig {
            add_all_frames_to_correct_as_cond: becomes_conditioning,
            ..TrackingConfig::default()
        });
        let frames = frames(&predictor, 4);
        let mut session = session(&predictor, Retention::Reach);
        session.prompt(0, &frames[0], 1, &Prompts::point(30., 30.)).unwrap();
        let before: Vec<_> = (0..4).map(|t| session.track(t, &frames[t], Forward).unwrap()).collect();
        let corrected = session.prompt(2, &frames[2], 1, &Prompts::point(70., 50.)).unwrap();
        assert!(list(&corrected.logits) != list(&before[2].masks[0].logits));
        let again: Vec<_> = (0..4).map(|t| session.track(t, &frames[t], Forward).unwrap()).collect();
        // without the option the pass from the start forgets the correction, as in the official code
        let kept = list(&again[2].masks[0].logits) == list(&corrected.logits);
        let forgotten = list(&again[2].masks[0].logits) == list(&before[2].masks[0].logits);
        assert_eq!((kept, forgotten), (becomes_conditioning, !becomes_conditioning));
        if becomes_conditioning {
            assert!(session.clear_prompts(2, 1) && !session.clear_prompts(2, 1));
            assert_eq!(session.bank(1).unwrap().conditioning().len(), 1);
        }
    }
}

#[test]
fn frames_of_different_sizes() {
    let predictor = predictor(TrackingConfig::default());
    let mut session = session(&predictor, Retention::Reach);
    for (t, (width, height)) in [(80, 60), (31, 97), (200, 40)].into_iter().enumerate() {
        let frame = predictor.encode(&picture(width, height, t as u32)).unwrap();
        if t == 0 {
            session.prompt(0, &frame, 1, &Prompts::point(30., 30.)).unwrap();
        }
        let masks = session.track(t, &frame, Forward).unwrap();
        assert_eq!(masks.masks[0].logits.dims(), [height as usize, width as usize]);
        assert_eq!(masks.without_overlap().unwrap()[0].1.dimensions(), (width, height));
    }
}

#[test]
fn what_cannot_be_tracked_is_refused() {
    let predictor = predictor(TrackingConfig::default());
    let frame = predictor.encode(&picture(80, 60, 0)).unwrap();
    let mut session = session(&predictor, Retention::Reach);
    assert!(matches!(session.track(0, &frame, Forward), Err(Error::NoObjects)));
    assert!(matches!(session.prompt(0, &frame, 1, &Prompts::default()), Err(Error::NoPrompt)));
    assert!(matches!(session.prompt(0, &frame, 1, &Prompts::point(81., 3.)), Err(Error::PointOutside { .. })));
    let mask = |w, h| Some(MaskPrompt::Image(GrayImage::new(w, h)));
    let both = Prompts { mask: mask(80, 60), ..Prompts::point(3., 3.) };
    assert!(matches!(session.prompt(0, &frame, 1, &both), Err(Error::VideoMaskPrompt { .. })));
    let square = Prompts { mask: mask(60, 60), ..Prompts::default() };
    assert!(matches!(session.prompt(0, &frame, 1, &square), Err(Error::MaskShape { .. })));
    assert!(session.objects().is_empty(), "a refused prompt adds no object");
}
