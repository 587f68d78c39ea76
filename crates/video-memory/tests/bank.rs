//! What a frame looks at, and that nothing it needs is dropped.
#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor};
use video_memory::{Direction, MemoryBank, MemoryBankConfig, MemoryFrame, Retention, VideoMemoryConfig};

use Direction::{Backward, Forward};

fn cfg() -> MemoryBankConfig {
    VideoMemoryConfig::sam2_1().bank
}

/// A frame whose tensors hold its number.
fn frame(number: usize) -> MemoryFrame {
    let tensor = Tensor::full(number as f32, (1, 1), &Device::Cpu).unwrap();
    MemoryFrame {
        maskmem_features: Some(tensor.clone()),
        obj_ptr: tensor.clone(),
        object_score_logits: tensor.clone(),
        pred_masks: Some(tensor),
    }
}

fn number(tensor: &Tensor) -> usize {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0] as usize
}

/// Maps as (slot, frame), pointers as (distance, frame), and the span.
type Looked = (Vec<(usize, usize)>, Vec<(i64, usize)>, usize);

fn looked(bank: &MemoryBank, at: usize, direction: Direction, frames: Option<usize>) -> Looked {
    let selection = bank.select(at, direction, frames);
    let maps = selection.maps.iter().map(|m| (m.slot, number(m.maskmem_features))).collect();
    let pointers = selection.pointers.iter().map(|p| (p.distance, number(p.obj_ptr))).collect();
    (maps, pointers, selection.pointer_span)
}

#[test]
fn slots_and_distances() {
    let mut bank = MemoryBank::new(&cfg(), Retention::Everything);
    bank.insert_conditioning(0, frame(0));
    bank.insert_conditioning(25, frame(25));
    (1..20).for_each(|t| bank.insert_tracked(t, frame(t)));
    let (maps, pointers, span) = looked(&bank, 20, Forward, None);
    let recent = [(5, 14), (4, 15), (3, 16), (2, 17), (1, 18), (0, 19)];
    assert_eq!(maps, [&[(6, 0), (6, 25)][..], &recent].concat());
    // the pointer of frame 25 lies in the future
    assert_eq!(pointers[..3], [(20, 0), (1, 19), (2, 18)]);
    assert_eq!((pointers.len(), pointers[15], span), (16, (15, 5), 15));

    let (maps, pointers, _) = looked(&bank, 12, Backward, Some(30));
    let recent = [(5, 18), (4, 17), (3, 16), (2, 15), (1, 14), (0, 13)];
    assert_eq!(maps, [&[(6, 0), (6, 25)][..], &recent].concat());
    assert_eq!(pointers[..3], [(13, 25), (1, 13), (2, 14)]);
}

#[test]
fn a_short_video_has_short_distances() {
    let mut bank = MemoryBank::new(&cfg(), Retention::Reach);
    bank.insert_conditioning(0, frame(0));
    (1..4).for_each(|t| bank.insert_tracked(t, frame(t)));
    let (_, pointers, span) = looked(&bank, 4, Forward, Some(5));
    assert_eq!((pointers, span), (vec![(4, 0), (1, 3), (2, 2), (3, 1)], 4));
    let (_, pointers, span) = looked(&bank, 4, Forward, Some(3));
    assert_eq!((pointers, span), (vec![(4, 0)], 2), "nothing behind the end of the video");
}

#[test]
fn only_the_nearest_conditioning_frames() {
    let limited = MemoryBankConfig { max_cond_frames_in_attn: Some(2), ..cfg() };
    let mut bank = MemoryBank::new(&limited, Retention::Reach);
    [0, 10, 14, 40].into_iter().for_each(|t| bank.insert_conditioning(t, frame(t)));
    let (maps, pointers, _) = looked(&bank, 15, Forward, None);
    // frame 10 was not chosen, but is among the last six
    assert_eq!(maps, [(6, 14), (6, 40), (4, 10)]);
    assert_eq!(pointers, [(1, 14), (5, 10), (15, 0)]);
}

#[test]
fn strides() {
    let strided = MemoryBankConfig { memory_temporal_stride: 5, ..cfg() };
    let mut bank = MemoryBank::new(&strided, Retention::Reach);
    bank.insert_conditioning(0, frame(0));
    (1..33).for_each(|t| bank.insert_tracked(t, frame(t)));
    let (maps, ..) = looked(&bank, 33, Forward, None);
    assert_eq!(maps, [(6, 0), (5, 10), (4, 15), (3, 20), (2, 25), (1, 30), (0, 32)]);
    assert_eq!(strided.map_reach(), 26);
}

#[test]
fn nothing_that_is_needed_is_dropped() {
    for stride in [1, 4] {
        let cfg = MemoryBankConfig { memory_temporal_stride: stride, ..cfg() };
        let mut banks = [Retention::Reach, Retention::Everything].map(|r| MemoryBank::new(&cfg, r));
        let prompted = [30, 33, 90];
        for bank in &mut banks {
            prompted.into_iter().for_each(|t| bank.insert_conditioning(t, frame(t)));
        }
        let mut most = 0;
        // to the end, back from the first prompts, then on from where the first pass stopped
        let order = (30..150).map(|t| (t, Forward)).chain((0..30).rev().map(|t| (t, Backward)));
        for (t, direction) in order.filter(|(t, _)| !prompted.contains(t)) {
            let [kept, all] = &banks;
            assert_eq!(
                looked(kept, t, direction, Some(150)),
                looked(all, t, direction, Some(150)),
                "{t}, stride {stride}"
            );
            banks.iter_mut().for_each(|bank| bank.insert_tracked(t, frame(t)));
            most = most.max(banks[0].tracked().len());
        }
        let reach = cfg.map_reach().max(cfg.pointer_reach());
        assert!(most <= (2 * reach + 1) * (prompted.len() + 1), "{most} frames kept");
        assert_eq!(banks[1].tracked().len(), 147);
    }
}

#[test]
fn maps_go_before_pointers() {
    let mut bank = MemoryBank::new(&cfg(), Retention::Reach);
    bank.insert_conditioning(0, frame(0));
    (1..100).for_each(|t| bank.insert_tracked(t, frame(t)));
    let with_maps: Vec<usize> =
        bank.tracked().iter().filter(|(_, m)| m.maskmem_features.is_some()).map(|(t, _)| *t).collect();
    assert_eq!(with_maps, [(1..7).collect::<Vec<_>>(), (93..100).collect()].concat());
    assert_eq!(bank.tracked().len(), 15 + 16);
    assert!(bank.get(95).unwrap().pred_masks.is_some() && bank.get(90).unwrap().pred_masks.is_none());
}

#[test]
fn prompts_taken_back() {
    let mut bank = MemoryBank::new(&cfg(), Retention::Reach);
    bank.insert_conditioning(3, frame(3));
    bank.correct(3, frame(4));
    assert_eq!(number(&bank.get(3).unwrap().obj_ptr), 3, "a correction does not change a conditioning frame");
    assert!(bank.downgrade(3) && !bank.downgrade(3));
    assert!(bank.conditioning().is_empty() && bank.tracked().contains_key(&3));
}
